package directory

import (
	"context"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrNotArchived = fault.New(fault.Conflict, "directory.not_archived", "Secrets are destroyed for archived organizations alone. Archive it first; while it is archived nobody signs in to it.")
	ErrNotTop      = fault.New(fault.Invalid, "directory.not_top_level", "Secrets are kept for a top-level organization and all below it. Name the top-level one.")
	ErrNotMeant    = fault.New(fault.Invalid, "directory.not_confirmed", "The confirmation is not this organization's handle. Nothing was destroyed.")
)

// DataKeys keeps the keys under which the secrets of each top-level organization's tree are sealed (S24).
type DataKeys interface {
	// DestroyDataKey makes them unreadable for ever. It joins the transaction in ctx.
	DestroyDataKey(ctx context.Context, org OrgID) error
}

// DestroySecrets makes the secrets of an archived top-level organization, and of all below it, unreadable
// for ever, in the database and in no backup: whoever restores one brings them back. confirm is the
// organization's handle, typed by who asks.
func (s *Service) DestroySecrets(ctx context.Context, a Actor, keys DataKeys, org OrgID, confirm string) error {
	if err := Allow(a, org, ManageKeys); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		chain, err := s.OrgChain(ctx, org)
		if err != nil {
			return err
		}
		switch o := chain.Org(); {
		case o.Parent != "":
			return ErrNotTop.Because(o.Handle)
		case o.Status != Archived:
			return ErrNotArchived.Because(string(o.Status))
		case o.Handle != confirm:
			return ErrNotMeant.Because(confirm)
		}
		if err := keys.DestroyDataKey(ctx, org); err != nil {
			return err
		}
		return s.record(ctx, a, org, audit.SecretsDestroyed, orgRef(org), nil)
	})
}
