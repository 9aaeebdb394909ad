package oidc

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

func TestUserInfo(t *testing.T) {
	asks := func(_ *upstream.Connection, c *Config) { c.UserInfo = true }
	for name, test := range map[string]struct {
		claims  func(map[string]any)
		info    map[string]any
		want    error
		email   string
		vouched bool
	}{
		"adds what is missing":       {with("email", nil, "email_verified", nil), map[string]any{"sub": "alice", "email": "a@acme.example", "email_verified": true}, nil, "a@acme.example", true},
		"another subject":            {with(), map[string]any{"sub": "eve"}, ErrUserInfo, "", false},
		"no subject":                 {with(), map[string]any{"email": "x@acme.example"}, ErrUserInfo, "", false},
		"the id_token stays":         {with(), map[string]any{"sub": "alice", "email": "eve@evil.example"}, nil, "alice@acme.example", true},
		"its word for its own":       {with("email_verified", nil), map[string]any{"sub": "alice", "email": "eve@evil.example", "email_verified": true}, nil, "alice@acme.example", false},
		"its word for the same":      {with("email_verified", nil), map[string]any{"sub": "alice", "email": "alice@acme.example", "email_verified": true}, nil, "alice@acme.example", true},
		"our word is not for theirs": {with("email", nil), map[string]any{"sub": "alice", "email": "eve@evil.example"}, nil, "eve@evil.example", false},
		"lists do not panic":         {with("email", []string{"a@b"}), map[string]any{"sub": "alice", "email": []string{"a@b"}, "email_verified": true}, nil, "a@b", false},
		"NUL":                        {with(), map[string]any{"sub": "alice", "x": "a\x00b"}, ErrUserInfo, "", false},
		"cannot say how it was":      {with("amr", nil, "acr", nil), map[string]any{"sub": "alice", "amr": []string{"mfa"}, "acr": "9"}, nil, "alice@acme.example", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, asks)
			d.claims, d.info = test.claims, func() map[string]any { return test.info }
			as, r, err := d.login(t, attempt(), nil)
			if !errors.Is(err, test.want) || as.Email != test.email || as.EmailVouched != test.vouched {
				t.Errorf("%q vouched %v, %v, want %q %v %v: %+v", as.Email, as.EmailVouched, err, test.email, test.vouched, test.want, r)
			}
			if slices.Contains(as.AMR, "mfa") || as.ACR == "9" {
				t.Error("an unsigned answer raised the strength of the proof")
			}
		})
	}
}

func TestS55TheGateClaimIsReadFromTheSignedTokenAlone(t *testing.T) {
	d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.UserInfo, c.Tenant, c.SubjectClaim = true, tenant, "oid" })
	d.claims = with("tid", tenant)
	d.info = func() map[string]any { return map[string]any{"sub": "alice", "oid": "o-1", "tid": tenant} }
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrSubject) {
		t.Fatalf("got %v", err)
	}
}

func TestS4TheSubjectIsReadFromTheSignedTokenAlone(t *testing.T) {
	d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.UserInfo, c.SubjectClaim = true, "employee" })
	d.info = func() map[string]any { return map[string]any{"sub": "alice", "employee": "7"} }
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrSubject) {
		t.Fatalf("got %v", err)
	}
}

func TestAUserInfoAnswerThatIsNoneIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		status      int
		contentType string
		want        error
	}{
		"a signed one":  {200, "application/jwt", ErrUserInfo},
		"a page":        {200, "text/html", ErrUserInfo},
		"refused":       {401, "application/json", ErrUserInfo},
		"behind nobody": {503, "application/json", upstream.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.UserInfo = true })
			d.refuse = func(w http.ResponseWriter, path string) bool {
				if path != "/userinfo" {
					return false
				}
				w.Header().Set("Content-Type", test.contentType)
				w.WriteHeader(test.status)
				w.Write([]byte(`{"sub":"alice"}`))
				return true
			}
			if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}
