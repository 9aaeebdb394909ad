package directory

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// ErrPasswordMoved: the password was changed in the meantime.
var ErrPasswordMoved = fault.New(fault.Conflict, "directory.password_moved", "The password was changed in the meantime.")

// Password is how a person's password is kept: its hash, and nothing that gives it back.
type Password struct {
	ID     PasswordID
	Hash   string // as room password makes and reads it
	Set    time.Time
	Source PasswordSource
}

// PasswordSource says how a password came to be. Stored, never renamed.
type PasswordSource string

const (
	Chosen   PasswordSource = "chosen"   // by the person, who had proved the one before
	Mailed   PasswordSource = "mailed"   // by whoever had the mailbox: a reset, or the first one
	Imported PasswordSource = "imported" // with the account, from another system
)

// Passwords keeps the passwords of people in their home organization.
type Passwords interface {
	// PasswordOf gives the current one; the zero Password when the person has none, or is not at home there.
	PasswordOf(ctx context.Context, home OrgID, person PersonID) (Password, error)
	// EarlierPasswords gives the hashes of at most n that came before the current one, the newest first.
	EarlierPasswords(ctx context.Context, home OrgID, person PersonID, n int) ([]string, error)
	// PutPassword makes p the current one. keep is how many earlier ones stay, the former current one
	// included. ErrPersonNotFound when the person is not at home in home.
	PutPassword(ctx context.Context, home OrgID, person PersonID, p Password, keep int) error
	// RehashPassword puts another hash of the same password in its place; ErrPasswordMoved when id is not the
	// current one any more.
	RehashPassword(ctx context.Context, home OrgID, person PersonID, id PasswordID, hash string) error
}

// Accounts finds people before an organization is known.
type Accounts interface {
	// PeopleByIdentifier lists whom an identifier means in the realm: one at most where identifiers are unique
	// in it, one in each tree or organization otherwise. It gives three at most: two are several.
	PeopleByIdentifier(ctx context.Context, realm RealmID, kind, value string) ([]Person, error)
}

// NewPassword is what SetPassword is asked for.
type NewPassword struct {
	Hash   string
	Source PasswordSource
	// Keep is how many earlier ones stay to be compared with.
	Keep int
	// After, when it is set, must be the current one still: what was shown rests on it. "" is none.
	After *PasswordID
	// Address is the mailbox that was proved by it, for Mailed; "" otherwise.
	Address string
}

// SetPassword gives a person at home in home a password. It is an act of account control: whoever may
// manage people there may import one, and the engine may what the person asked for. All sessions, remembered
// devices and tokens of before are over, whatever the source (S27).
func (s *Service) SetPassword(ctx context.Context, a Actor, home OrgID, id PersonID, in NewPassword) error {
	if err := allowPeople(a, home); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		now := s.Now()
		if in.After != nil {
			was, err := s.PasswordOf(ctx, home, id)
			if err != nil {
				return err
			}
			if was.ID != *in.After {
				return ErrPasswordMoved
			}
		}
		if err := s.PutPassword(ctx, home, id, Password{ID: NewPasswordID(now), Hash: in.Hash, Set: now, Source: in.Source}, in.Keep); err != nil {
			return err
		}
		err := s.UpdatePerson(ctx, home, id, func(p *Person) error {
			if p.Home != home {
				return ErrPersonNotFound
			}
			p.SessionsAfter = now
			if in.Source == Mailed && p.Email == in.Address && p.EmailProved.IsZero() {
				p.EmailProved = now
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := s.order(ctx, RevokePerson, home, string(id), EndedPassword); err != nil {
			return err
		}
		return s.record(ctx, a, home, audit.PasswordSet, personRef(id), map[string]string{"source": string(in.Source)})
	})
}

// ProveMailbox notes that a person at home in home has the mailbox of their address.
func (s *Service) ProveMailbox(ctx context.Context, a Actor, home OrgID, id PersonID, address string) error {
	if err := Allow(a, home, JoinByLogin); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		proved := false
		err := s.UpdatePerson(ctx, home, id, func(p *Person) error {
			proved = p.Home == home && p.Email == address && p.EmailProved.IsZero()
			if proved {
				p.EmailProved = s.Now()
			}
			return nil
		})
		if err != nil || !proved {
			return err
		}
		return s.record(ctx, a, home, audit.MailboxProved, personRef(id), nil)
	})
}
