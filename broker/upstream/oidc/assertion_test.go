package oidc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

func TestS4EntraIDIsKeyedByTenantAndObjectID(t *testing.T) {
	d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.Tenant, c.SubjectClaim = tenant, "oid" })
	d.claims = with("tid", strings.ToUpper(tenant), "oid", "o-1", "email", "other@acme.example")
	as, _, err := d.login(t, attempt(), nil)
	want := directory.IdentityKey{Connection: "con_1", Issuer: d.issuer, Subject: "o-1", Qualifiers: tenant}
	if err != nil || as.Key != want {
		t.Fatalf("%+v, %v", as.Key, err)
	}
}

func TestWhatIsVouchedFor(t *testing.T) {
	authoritative := func(c *upstream.Connection, _ *Config) { c.Authoritative = true }
	mapped := func(_ *upstream.Connection, c *Config) { c.Mapping.Email = []string{"upn"} }
	both := func(c *upstream.Connection, cfg *Config) { authoritative(c, cfg); mapped(c, cfg) }
	for name, test := range map[string]struct {
		edit   func(*upstream.Connection, *Config)
		claims func(map[string]any)
		want   bool
	}{
		"verified":                           {nil, with(), true},
		"verified, as text":                  {nil, with("email_verified", "true"), true},
		"not verified":                       {nil, with("email_verified", false), false},
		"not verified, as text":              {nil, with("email_verified", "false"), false},
		"not said":                           {nil, with("email_verified", nil), false},
		"said as a number":                   {nil, with("email_verified", 1), false},
		"not said, authoritative":            {authoritative, with("email_verified", nil), true},
		"not verified, authoritative":        {authoritative, with("email_verified", false), false},
		"another claim than the verified":    {mapped, with("upn", "ceo@acme.example"), false},
		"another claim, authoritative":       {both, with("upn", "ceo@acme.example", "email_verified", nil), true},
		"another claim, authoritative, said": {both, with("upn", "ceo@acme.example"), true},
		"no address at all":                  {authoritative, with("email", nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, test.edit)
			d.claims = test.claims
			as, _, err := d.login(t, attempt(), nil)
			if err != nil || as.EmailVouched != test.want {
				t.Errorf("vouched %v for %q, %v; want %v", as.EmailVouched, as.Email, err, test.want)
			}
		})
	}
}

func TestTheProfileIsRead(t *testing.T) {
	d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.Mapping.Groups = []string{"missing", "/realm_access/roles"} })
	d.claims = with("realm_access", map[string]any{"roles": []string{"a", "b"}}, "locale", "de", "big", strings.Repeat("ü", 2000))
	as, _, err := d.login(t, attempt(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(as.Email, as.Name, as.Given, as.Family, as.Locale, as.Groups, as.AMR, as.ACR, as.SID)
	if want := "alice@acme.exampleAlice ExampleAliceExamplede[a b] [pwd otp]2s1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, hidden := range []string{"nonce", "at_hash", "jti"} {
		if _, ok := as.Claims[hidden]; ok {
			t.Errorf("%s is among the claims", hidden)
		}
	}
	if v := as.Claims["big"]; len(v) != 1 || len(v[0]) > upstream.MaxClaimValue || !strings.HasSuffix(v[0], "ü") {
		t.Errorf("a large claim is not cut at a letter")
	}
}

func TestClaimsShownAreBounded(t *testing.T) {
	d := newDesk(t, nil)
	d.claims = func(m map[string]any) {
		many(m, 200)
		m["groups"] = make([]string, 3000)
	}
	as, _, err := d.login(t, attempt(), nil)
	if err != nil || len(as.Claims) != upstream.MaxClaims {
		t.Fatalf("%d claims, %v", len(as.Claims), err)
	}
}

func TestGroupsThatWereLeftOutAreNoted(t *testing.T) {
	d := newDesk(t, nil)
	d.claims = with("groups", nil, "_claim_names", map[string]any{"groups": "src1"}, "_claim_sources", map[string]any{"src1": map[string]any{"endpoint": "https://graph.example/x"}})
	as, r, err := d.login(t, attempt(), nil)
	if err != nil || as.Groups != nil {
		t.Fatalf("%v %v", as.Groups, err)
	}
	if last := r[len(r)-1]; last.Name != "groups" || last.OK {
		t.Errorf("the doctor does not know: %+v", r)
	}
}
