package recovery

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"time"

	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// Bypass is a code that an administrator makes for somebody who lost their second step: 80 random bits, one
// use, minutes long. It replaces the second step and shows nothing (S11, S12).
type Bypass struct{ Pepper Pepper }

var (
	_ mfa.Maker     = Bypass{}
	_ mfa.Countable = Bypass{}
)

// pass is a bypass as it is stored; without a hash it is used up.
type pass struct {
	Salt  string    `json:"salt,omitempty"`
	Hash  string    `json:"hash,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

func (Bypass) Method() mfa.Method { return policy.AdminBypass }

// Bypass makes one.
func (f Bypass) Bypass(ctx context.Context, until time.Time) (string, mfa.Enrollment, error) {
	salt, b := make([]byte, 16), make([]byte, 10)
	rand.Read(salt)
	rand.Read(b)
	text := letters.EncodeToString(b)
	p := pass{Salt: hex.EncodeToString(salt), Until: until.UTC()}
	var err error
	if p.Hash, err = (Factor{f.Pepper}).hash(ctx, p.Salt, text); err != nil {
		return "", mfa.Enrollment{}, err
	}
	public, err := json.Marshal(p)
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:], mfa.Enrollment{Public: public}, err
}

// Left is one until it was used or is over.
func (Bypass) Left(e mfa.Enrollment, now time.Time) int {
	if p, ok := open(e, now); ok && p.Hash != "" {
		return 1
	}
	return 0
}

func open(e mfa.Enrollment, now time.Time) (pass, bool) {
	var p pass
	err := json.Unmarshal(e.Public, &p)
	return p, err == nil && p.Hash != "" && now.Before(p.Until)
}

func (Bypass) Ask(_ context.Context, c *mfa.Ceremony) (templates.Page, error) {
	return templates.BypassPage{StepFrame: c.Frame}, nil
}

// Answer takes the code, once.
func (f Bypass) Answer(ctx context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Passed, error) {
	text := plain(answer.Get("code"))
	for _, e := range c.Enrollments {
		p, ok := open(e, c.Now)
		if !ok {
			continue
		}
		hash, err := (Factor{f.Pepper}).hash(ctx, p.Salt, text)
		if err != nil {
			return mfa.Passed{}, err
		}
		if subtle.ConstantTimeCompare([]byte(hash), []byte(p.Hash)) != 1 {
			continue
		}
		return mfa.Passed{Enrollment: e.ID, Use: func(e *mfa.Enrollment) error {
			if now, ok := open(*e, c.Now); !ok || now.Hash != p.Hash {
				return mfa.ErrReplay
			}
			e.Public = json.RawMessage("{}")
			return nil
		}}, nil
	}
	return mfa.Passed{}, mfa.ErrWrong
}
