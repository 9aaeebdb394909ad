package flows

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/themes"
)

// Themes keeps what each organization set of its look; reading one that set nothing gives the zero
// Theme. The document is stored as it is and merged with its ancestors' when shown.
type Themes interface {
	Theme(ctx context.Context, org directory.OrgID) (themes.Theme, error)
	PutTheme(ctx context.Context, org directory.OrgID, t themes.Theme) error
}

// ThemeService holds the use cases of organizations' looks. All fields are required.
type ThemeService struct {
	Themes
	Tx    directory.Tx
	Audit audit.Recorder
	Now   func() time.Time
}

// SetTheme changes what an organization sets of its look. change may run twice.
func (s *ThemeService) SetTheme(ctx context.Context, a directory.Actor, org directory.OrgID, change func(*themes.Theme) error) error {
	if err := directory.Allow(a, org, directory.ManageSignIn); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		t, err := s.Theme(ctx, org)
		if err != nil {
			return err
		}
		if err := change(&t); err != nil {
			return err
		}
		if err := t.Validate(); err != nil {
			return err
		}
		if err := s.PutTheme(ctx, org, t); err != nil {
			return err
		}
		now := s.Now()
		return s.Audit.Record(ctx, audit.Entry{ID: string(directory.NewEntryID(now)), At: now, Org: string(org), Actor: a.Ref(),
			Action: audit.ThemeChanged, Target: audit.Ref{Kind: "org", ID: string(org)}})
	})
}
