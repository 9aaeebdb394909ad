package upstream

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
)

const (
	maxName    = 100
	maxPrivate = 16
	// MaxSkew is the most that a provider's clock may be off. Beyond it a captured answer lives too long.
	MaxSkew = 10 * time.Minute
)

// Service holds this room's use cases. All fields are required.
type Service struct {
	Connections
	Protocols Protocols
	// Revocations takes the order to end what was opened by a connection that is switched off.
	Revocations directory.Revocations
	Tx          directory.Tx
	Audit       audit.Recorder
	Now         func() time.Time
}

// Create makes a connection of org and returns it as it was stored. It starts as a draft unless its
// Status says otherwise.
func (s *Service) Create(ctx context.Context, actor directory.Actor, org directory.OrgID, c Connection) (Connection, error) {
	if err := directory.Allow(actor, org, directory.ManageSignIn); err != nil {
		return Connection{}, err
	}
	c.Org = org
	if c.ID == "" {
		c.ID = directory.NewConnectionID(s.Now())
	}
	if c.Status == "" {
		c.Status = Draft
	}
	c, err := s.check(actor, Connection{}, c)
	if err != nil {
		return Connection{}, err
	}
	entry := s.entry(actor, c, audit.ConnectionCreated, map[string]string{"type": string(c.Type)})
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.CreateConnection(ctx, org, c); err != nil {
			return err
		}
		return s.Audit.Record(ctx, entry)
	})
	return c, err
}

// Checked is the connection as it would be stored by the actor in place of before, or what is wrong with it.
func (s *Service) Checked(actor directory.Actor, before, c Connection) (Connection, error) {
	if c.Status == "" {
		c.Status = Draft
	}
	return s.check(actor, before, c)
}

// Update changes a connection. change may run twice; what it must not touch (whose it is, and once it
// was switched on whom it trusts) is put right or refused with ErrImmutable. Switching it off ends what people
// opened by it.
func (s *Service) Update(ctx context.Context, actor directory.Actor, org directory.OrgID, id directory.ConnectionID, change func(*Connection) error) error {
	if err := directory.Allow(actor, org, directory.ManageSignIn); err != nil {
		return err
	}
	entry := s.entry(actor, Connection{ID: id, Org: org}, audit.ConnectionChanged, nil)
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		off := false
		err := s.UpdateConnection(ctx, org, id, func(c *Connection) error {
			before := *c
			if err := s.apply(actor, c, change); err != nil {
				return err
			}
			off = before.Status == Active && c.Status != Active
			entry.Detail = map[string]string{"fields": strings.Join(changed(before, *c), ", ")}
			return nil
		})
		if err != nil {
			return err
		}
		if off {
			if err := s.Revocations.Revoke(ctx, org, directory.RevocationOf(directory.RevokeConnection, org, string(id), directory.EndedConnection, entry.At)); err != nil {
				return err
			}
		}
		return s.Audit.Record(ctx, entry)
	})
}

func (s *Service) apply(actor directory.Actor, c *Connection, change func(*Connection) error) error {
	before := *c
	if err := change(c); err != nil {
		return err
	}
	c.ID, c.Org, c.Realm, c.Version = before.ID, before.Org, before.Realm, before.Version
	after, err := s.check(actor, before, *c)
	if err != nil {
		return err
	}
	if err := s.keepsTrust(before, after); err != nil {
		return err
	}
	after.ProofsAfter = before.ProofsAfter
	if before.Status == Active && after.Status != Active {
		after.ProofsAfter = s.Now()
	}
	*c = after
	return nil
}

// keepsTrust refuses to change whom the connection trusts to say who somebody is (S4). The store refuses
// another Issuer or Type once there are identities; the subject's source stands in the protocol's
// settings, which the store does not read, so it is fixed from the first time that people could sign in.
func (s *Service) keepsTrust(before, after Connection) error {
	if before.Status == Draft {
		return nil
	}
	if after.Status == Draft {
		return ErrImmutable.Because("a connection that was switched on becomes no draft again")
	}
	if before.Type != after.Type || s.pins(before) != s.pins(after) {
		return ErrImmutable.Because("the source of the subject would change")
	}
	return nil
}

func (s *Service) pins(c Connection) string {
	if p := s.Protocols[c.Type]; p.Pins != nil {
		return p.Pins(c)
	}
	return ""
}

func (s *Service) check(actor directory.Actor, before, c Connection) (Connection, error) {
	protocol, ok := s.Protocols[c.Type]
	if !ok {
		return Connection{}, ErrConfig.Because("unknown connection type")
	}
	if err := checkFrame(c); err != nil {
		return Connection{}, err
	}
	// Opening the network is the operator's decision, per connection (S23).
	if actor.Kind != directory.Operator && !slices.Equal(before.Private, c.Private) {
		return Connection{}, directory.ErrDenied.Because("only the operator opens private targets")
	}
	if c.Logout == "" {
		c.Logout = LogoutLocal
	}
	if c.Logout != LogoutLocal && !protocol.SignsOut {
		return Connection{}, ErrNoSignOut
	}
	return protocol.Check(c)
}

// checkFrame judges what all protocols have in common.
func checkFrame(c Connection) error {
	if n := utf8.RuneCountInString(c.Name); n == 0 || n > maxName || !Plain(c.Name) {
		return ErrConfig.Because("the name is empty or too long")
	}
	if !slices.Contains([]Status{Draft, Active, Disabled}, c.Status) {
		return ErrConfig.Because("unknown status")
	}
	if !slices.Contains([]JIT{"", JITOff, JITCreate}, c.JIT) {
		return ErrConfig.Because("unknown rule for people without an account")
	}
	if !slices.Contains([]LogoutChoice{"", LogoutLocal, LogoutAsk, LogoutUpstream}, c.Logout) {
		return ErrConfig.Because("unknown choice for logging out")
	}
	if c.Skew < 0 || c.Skew > MaxSkew {
		return ErrConfig.Because("the clock may be off by ten minutes at most")
	}
	return checkPrivate(c.Private)
}

func checkPrivate(targets []string) error {
	if len(targets) > maxPrivate {
		return ErrConfig.Because("too many private targets")
	}
	for _, t := range targets {
		host, port, err := net.SplitHostPort(t)
		n, perr := strconv.Atoi(port)
		if err != nil || perr != nil || n < 1 || n > 65535 || !ldh(host) || strings.ToLower(t) != t {
			return ErrConfig.Because("a private target is host:port in lower case")
		}
	}
	return nil
}

// changed names the fields that differ, for the record. Values stay out of it: some are secret.
func changed(a, b Connection) []string {
	var out []string
	for name, same := range map[string]bool{
		"name": a.Name == b.Name, "status": a.Status == b.Status, "issuer": a.Issuer == b.Issuer,
		"config": bytes.Equal(a.Config, b.Config), "guests": a.Guests == b.Guests, "mfa": slices.Equal(a.MFA, b.MFA), "secret": bytes.Equal(a.Secret, b.Secret),
		"offered": a.Offered == b.Offered, "jit": a.JIT == b.JIT, "authoritative": a.Authoritative == b.Authoritative,
		"private": slices.Equal(a.Private, b.Private), "skew": a.Skew == b.Skew, "logout": a.Logout == b.Logout,
	} {
		if !same {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (s *Service) entry(actor directory.Actor, c Connection, act audit.Action, detail map[string]string) audit.Entry {
	now := s.Now()
	return audit.Entry{
		ID: string(directory.NewEntryID(now)), At: now, Org: string(c.Org), Actor: actor.Ref(), Action: act,
		Target: audit.Ref{Kind: "connection", ID: string(c.ID)}, Detail: detail,
	}
}
