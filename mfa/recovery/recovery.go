// Package recovery is the codes that somebody keeps for the day when nothing else works: ten, each good
// once. One replaces a second step and proves nothing more (S11, S12).
package recovery

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// Count is how many codes a set has.
const Count = 10

// Pepper hashes a value that could be guessed, with the row it stands in, so that whoever has the database
// alone cannot guess it (S24).
type Pepper func(ctx context.Context, table, row string, value []byte) ([sha256.Size]byte, error)

// Factor asks for one of the codes.
type Factor struct{ Pepper Pepper }

var (
	_ mfa.Enroller  = Factor{}
	_ mfa.Countable = Factor{}
)

func (Factor) Method() mfa.Method { return policy.RecoveryCode }

// kept is a set as it is stored: what is left of it.
type kept struct {
	Salt  string   `json:"salt"`
	Codes []string `json:"codes"`
}

// Left is how many codes of a set were not used.
func (Factor) Left(e mfa.Enrollment, _ time.Time) int {
	var k kept
	_ = json.Unmarshal(e.Public, &k) // what cannot be read has none
	return len(k.Codes)
}

var letters = base32.NewEncoding("abcdefghjkmnpqrstuvwxyz023456789").WithPadding(base32.NoPadding)

// Make gives a new set: what to show once, and what to keep.
func (f Factor) Make(ctx context.Context) (codes []string, public json.RawMessage, err error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	k := kept{Salt: hex.EncodeToString(salt)}
	for range Count {
		b := make([]byte, 8) // 12 letters of 5 bits
		rand.Read(b)
		text := letters.EncodeToString(b)[:12]
		hash, err := f.hash(ctx, k.Salt, text)
		if err != nil {
			return nil, nil, err
		}
		codes, k.Codes = append(codes, text[:4]+"-"+text[4:8]+"-"+text[8:]), append(k.Codes, hash)
	}
	public, err = json.Marshal(k)
	return codes, public, err
}

func (f Factor) hash(ctx context.Context, salt, text string) (string, error) {
	h, err := f.Pepper(ctx, "factors", salt, []byte(text))
	return hex.EncodeToString(h[:]), err
}

func (f Factor) Ask(_ context.Context, c *mfa.Ceremony) (templates.Page, error) {
	page := templates.RecoveryPage{StepFrame: c.Frame, Total: Count}
	for _, e := range c.Enrollments {
		page.Remaining += f.Left(e, c.Now)
	}
	return page, nil
}

// fresh is a set on its way to its owner: the codes are nowhere else once they were kept.
type fresh struct {
	Codes  []string        `json:"c"`
	Public json.RawMessage `json:"p"`
}

// Offer shows a new set, the same one until its owner says that it is kept.
func (f Factor) Offer(ctx context.Context, c *mfa.Ceremony) (templates.Page, error) {
	var set fresh
	if !c.Kept(&set) {
		var err error
		if set.Codes, set.Public, err = f.Make(ctx); err != nil {
			return nil, err
		}
		if err := c.Keep(set); err != nil {
			return nil, err
		}
	}
	return templates.RecoveryCodesPage{StepFrame: c.Frame, Codes: set.Codes}, nil
}

// Enroll stores the set that was shown, in place of the one before. It shows nothing of anybody.
func (Factor) Enroll(_ context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Enrollment, mfa.Passed, error) {
	var set fresh
	if !c.Kept(&set) {
		return mfa.Enrollment{}, mfa.Passed{}, mfa.ErrOver
	}
	if answer.Get("kept") != "1" {
		return mfa.Enrollment{}, mfa.Passed{}, mfa.ErrAgain
	}
	return mfa.Enrollment{Public: set.Public}, mfa.Passed{}, nil
}

// Answer takes a code out of the set it is in.
func (f Factor) Answer(ctx context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Passed, error) {
	text := plain(answer.Get("code"))
	for _, e := range c.Enrollments {
		var k kept
		if json.Unmarshal(e.Public, &k) != nil {
			continue
		}
		hash, err := f.hash(ctx, k.Salt, text)
		if err != nil {
			return mfa.Passed{}, err
		}
		if k.without(hash) {
			return mfa.Passed{Enrollment: e.ID, Use: func(e *mfa.Enrollment) error { return spend(e, hash) }}, nil
		}
	}
	return mfa.Passed{}, mfa.ErrWrong
}

// spend takes a code out of the set as it is stored now.
func spend(e *mfa.Enrollment, hash string) error {
	var k kept
	if err := json.Unmarshal(e.Public, &k); err != nil {
		return err
	}
	if !k.without(hash) {
		return mfa.ErrReplay
	}
	public, err := json.Marshal(k)
	e.Public = public
	return err
}

func (k *kept) without(hash string) bool {
	for i, h := range k.Codes {
		if subtle.ConstantTimeCompare([]byte(h), []byte(hash)) == 1 {
			k.Codes = slices.Delete(k.Codes, i, i+1)
			return true
		}
	}
	return false
}

// plain is a code as it was made: people type what they read.
func plain(typed string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, typed)
}
