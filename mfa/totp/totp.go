// Package totp is the authenticator app: a code of six digits that changes every thirty seconds (RFC 6238).
package totp

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/boombuler/barcode/qr"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// Factor asks for the code of an authenticator app. Somebody may have several.
type Factor struct{}

var _ mfa.Enroller = Factor{}

const (
	period    = 30
	digits    = otp.DigitsSix
	secretLen = 20 // the length of SHA-1's output (RFC 4226 section 4, R6); SHA-1 is what every app knows
)

func (Factor) Method() mfa.Method { return policy.TOTP }

// shown is what a code shows. Whoever is talked into reading it out gives it away, so it resists nothing.
func shown() mfa.Passed {
	return mfa.Passed{Shows: mfa.Possession, AMR: []string{"otp"}} // RFC 8176 section 2
}

func (Factor) Ask(_ context.Context, c *mfa.Ceremony) (templates.Page, error) {
	return templates.TOTPPage{StepFrame: c.Frame, Devices: labels(c.Enrollments)}, nil
}

func labels(list []mfa.Enrollment) []string {
	var out []string
	for _, e := range list {
		if e.Label != "" {
			out = append(out, e.Label)
		}
	}
	return out
}

// Answer takes the code of any of the person's apps, of now or one step beside it (RFC 6238 section 5.2),
// and of no step that was used before.
func (Factor) Answer(_ context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Passed, error) {
	code, used := typed(answer), false
	for _, e := range c.Enrollments {
		step, ok := match(e.Secret, code, c.Now)
		if !ok {
			continue
		}
		if step <= e.Counter {
			used = true
			continue
		}
		p := shown()
		p.Enrollment, p.Use = e.ID, func(e *mfa.Enrollment) error {
			if step <= e.Counter {
				return mfa.ErrReplay
			}
			e.Counter = step
			return nil
		}
		return p, nil
	}
	if used {
		return mfa.Passed{}, mfa.ErrReplay
	}
	return mfa.Passed{}, mfa.ErrWrong
}

// typed is the code without what people and password managers put between its digits.
func typed(answer url.Values) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '\u00a0' {
			return -1
		}
		return r
	}, answer.Get("code"))
}

// match finds the time step whose code this is. All three are computed, whichever it is.
func match(secret []byte, code string, now time.Time) (step int64, ok bool) {
	if len(code) != digits.Length() || len(secret) == 0 {
		return 0, false
	}
	for at := now.Unix()/period - 1; at <= now.Unix()/period+1; at++ {
		want, err := codeAt(secret, at)
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step, ok = at, true
		}
	}
	return step, ok
}

func codeAt(secret []byte, step int64) (string, error) {
	return hotp.GenerateCodeCustom(encode(secret), uint64(step), hotp.ValidateOpts{Digits: digits, Algorithm: otp.AlgorithmSHA1})
}

func encode(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// fresh is a new secret on its way into somebody's app.
type fresh struct {
	Secret []byte `json:"s"`
}

// Offer shows a new key, the same one until it is set up or the ceremony is over.
func (Factor) Offer(_ context.Context, c *mfa.Ceremony) (templates.Page, error) {
	var f fresh
	if !c.Kept(&f) {
		f.Secret = make([]byte, secretLen)
		rand.Read(f.Secret)
		if err := c.Keep(f); err != nil {
			return nil, err
		}
	}
	uri := address(f.Secret, c.Subject)
	picture, err := draw(uri)
	if err != nil {
		return nil, err
	}
	return templates.TOTPEnrollPage{StepFrame: c.Frame, Key: grouped(encode(f.Secret)), URI: uri, QR: picture.path, Size: picture.size}, nil
}

// Enroll keeps the key once its app showed a right code: that code is used up.
func (Factor) Enroll(_ context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Enrollment, mfa.Passed, error) {
	var f fresh
	if !c.Kept(&f) {
		return mfa.Enrollment{}, mfa.Passed{}, mfa.ErrOver
	}
	step, ok := match(f.Secret, typed(answer), c.Now)
	if !ok {
		return mfa.Enrollment{}, mfa.Passed{}, mfa.ErrWrong
	}
	return mfa.Enrollment{Secret: f.Secret, Counter: step, Label: label(answer.Get("label")), Public: json.RawMessage("{}")}, shown(), nil
}

// label is what somebody calls their app, or nothing.
func label(typed string) string {
	typed = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, typed))
	if runes := []rune(typed); len(runes) > 40 {
		typed = string(runes[:40])
	}
	return typed
}

// address is what the app reads from the picture (the key URI format that all of them know). The parts
// that are names cannot run into one another.
func address(secret []byte, s mfa.Subject) string {
	issuer := strings.ReplaceAll(s.OrgName, ":", " ")
	who := strings.ReplaceAll(s.Email, ":", " ")
	if who == "" {
		who = strings.ReplaceAll(s.Name, ":", " ")
	}
	q := url.Values{"secret": {encode(secret)}, "issuer": {issuer}, "algorithm": {"SHA1"}, "digits": {"6"}, "period": {strconv.Itoa(period)}}
	// Some apps read a plus as a plus.
	return "otpauth://totp/" + url.PathEscape(issuer) + ":" + url.PathEscape(who) + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// grouped is the key as people type it.
func grouped(key string) string {
	var out strings.Builder
	for i, r := range key {
		if i > 0 && i%4 == 0 {
			out.WriteByte(' ')
		}
		out.WriteRune(r)
	}
	return out.String()
}

type drawing struct {
	path string
	size int
}

// draw gives the picture as the path of an SVG, one unit a module. The four modules of quiet around it
// (ISO/IEC 18004 section 6.3.8) are the page's.
func draw(text string) (drawing, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return drawing{}, err
	}
	b := code.Bounds()
	var path strings.Builder
	dark := func(x, y int) bool { r, _, _, _ := code.At(x, y).RGBA(); return r < 0x8000 }
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if !dark(x, y) {
				continue
			}
			from := x
			for x < b.Max.X && dark(x, y) {
				x++
			}
			n := strconv.Itoa(x - from)
			path.WriteString("M" + strconv.Itoa(from) + " " + strconv.Itoa(y) + "h" + n + "v1h-" + n + "z")
		}
	}
	return drawing{path.String(), b.Dx()}, nil
}
