package main

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

// full is a profile with something of everything.
var full = directory.Profile{
	MiddleName: "King", Nickname: "Countess", PreferredUsername: "ada", Profile: "https://ada.example/", Picture: "https://ada.example/me.png",
	Website: "https://ada.example/web", Gender: "female", Birthdate: "1815-12-10", Zoneinfo: "Europe/London", Phone: "+442079460000",
	Address: &directory.Address{Formatted: "12 St James's Square\nLondon", Locality: "London", Country: "GB"},
}

// profiled is a company whose person has everything, and that person.
func profiled(w *world) (company, directory.Person) {
	w.t.Helper()
	c := w.addOIDC("acme", nil)
	w.signedIn(c.org)
	p := w.person(c, "acme-1")
	w.must(w.h.store.UpdatePerson(w.t.Context(), c.org, p.ID, func(q *directory.Person) error {
		q.Profile, q.Locale = full, "en-GB"
		return nil
	}))
	return c, p
}

// told are the personal claims of an answer, sorted.
func told(answer map[string]any) []string {
	technical := []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid", "org_id", "org_handle", "org_name", "org_path", "realm"}
	var out []string
	for name := range answer {
		if !slices.Contains(technical, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// OpenID Connect Core section 5.4: scopes bring their claims; and section 5.5: so does asking by name.
func TestScopesAndNamesBringTheirClaims(t *testing.T) {
	w := newWorld(t)
	c, _ := profiled(w)
	const profile = "birthdate family_name gender given_name locale middle_name name nickname picture preferred_username profile updated_at website zoneinfo"
	for _, x := range []struct{ scope, claims, token, userinfo string }{
		{"openid", "", "", ""},
		{"openid profile", "", "family_name given_name locale name", profile},
		{"openid email", "", "email email_verified", "email email_verified"},
		{"openid address", "", "", "address"},
		{"openid phone", "", "", "phone_number phone_number_verified"},
		{"phone openid", "", "", "phone_number phone_number_verified"},
		{"openid", `{"userinfo":{"name":{"essential":true},"birthdate":null}}`, "", "birthdate name"},
		{"openid", `{"id_token":{"name":{"essential":true},"picture":null,"auth_time":{"essential":true}}}`, "name picture", ""},
		{"openid email", `{"id_token":{"phone_number":null},"userinfo":{"address":{"essential":false}}}`, "email email_verified phone_number", "address email email_verified"},
		{"openid", `{"userinfo":{"email":null,"http://example.info/claims/groups":null,"nonsense":{"value":7}},"other":{}}`, "", "email"},
		{"openid", `{"userinfo":{"email":{"value":"eve@evil.example"},"phone_number_verified":null}}`, "", "email phone_number_verified"},
		{"openid", `{"userinfo":null,"id_token":{}}`, "", ""},
		{"openid organizations offline_access payments", "", "", ""},
	} {
		code, r := w.freshCode(c.org, func(v url.Values) {
			v.Set("scope", x.scope)
			if x.claims != "" {
				v.Set("claims", x.claims)
			}
		})
		tok := w.redeem(code, r.verifier)
		status, info := w.userinfo(tok.Access)
		if got := strings.Join(told(claims(t, tok.ID)), " "); got != x.token {
			t.Errorf("%s %s: the id token tells %q, want %q", x.scope, x.claims, got, x.token)
		}
		if got := strings.Join(told(info), " "); status != http.StatusOK || got != x.userinfo {
			t.Errorf("%s %s: userinfo tells %q (%d), want %q", x.scope, x.claims, got, status, x.userinfo)
		}
	}
}

func TestTheValuesOfStandardClaims(t *testing.T) {
	w := newWorld(t)
	c, p := profiled(w)
	all := set("scope", "openid profile email address phone")
	code, r := w.freshCode(c.org, all)
	_, info := w.userinfo(w.redeem(code, r.verifier).Access)
	for name, want := range map[string]any{
		"name": "Ada acme", "middle_name": "King", "birthdate": "1815-12-10", "zoneinfo": "Europe/London", "locale": "en-GB",
		"profile": "https://ada.example/", "phone_number": "+442079460000", "phone_number_verified": false, "email_verified": true,
	} {
		if info[name] != want {
			t.Errorf("%s is %v, want %v", name, info[name], want)
		}
	}
	if at := time.Unix(int64(info["updated_at"].(float64)), 0); time.Since(at) > time.Minute || time.Until(at) > time.Minute {
		t.Errorf("updated_at %v", at)
	}
	if address, ok := info["address"].(map[string]any); !ok || address["locality"] != "London" || address["country"] != "GB" || address["region"] != nil {
		t.Errorf("address %v", info["address"])
	}
	w.must(w.h.store.UpdatePerson(t.Context(), c.org, p.ID, func(q *directory.Person) error {
		q.Profile = directory.Profile{Phone: "+442079460000", PhoneVerified: true}
		return nil
	}))
	code, r = w.freshCode(c.org, all)
	_, info = w.userinfo(w.redeem(code, r.verifier).Access)
	if info["phone_number_verified"] != true {
		t.Error("a verified number is not said to be")
	}
	if got := strings.Join(told(info), " "); strings.Contains(got, "nickname") || strings.Contains(got, "address ") {
		t.Errorf("claims without a value: %s", got)
	}
}

func TestAnAppLearnsOnlyWhatItsListHolds(t *testing.T) {
	w := newWorld(t)
	c, _ := profiled(w)
	app := w.entitledApp("short", c.org, func(a *broker.App) { a.Claims = []string{"name", "email"} })
	code, r := app.freshCode(c.org, func(v url.Values) {
		v.Set("scope", "openid profile email phone")
		v.Set("claims", `{"id_token":{"birthdate":{"essential":true}},"userinfo":{"birthdate":{"essential":true},"gender":null}}`)
	})
	tok := app.redeem(code, r.verifier)
	_, info := app.userinfo(tok.Access)
	for what, answer := range map[string]map[string]any{"id token": claims(t, tok.ID), "userinfo": info} {
		if got := strings.Join(told(answer), " "); got != "email email_verified name" {
			t.Errorf("%s tells %q", what, got)
		}
	}
}

// S9 holds for claims that are asked for by name as it does for scopes.
func TestS9AnUnverifiedAddressIsNotToldByNameEither(t *testing.T) {
	w := newWorld(t)
	c, p := profiled(w)
	w.must(w.h.store.UpdatePerson(t.Context(), c.org, p.ID, func(q *directory.Person) error {
		q.Email, q.EmailSince, q.EmailProved = "ceo@b.example", time.Time{}, time.Time{}
		q.Source = "manual"
		return nil
	}))
	ask := set("claims", `{"userinfo":{"email":{"essential":true}},"id_token":{"email":null}}`)
	marked := w.entitledApp("marked", c.org, func(a *broker.App) { a.AnyEmail = true })
	for _, x := range []struct {
		app  *world
		told string
	}{{w, ""}, {marked, "email email_verified"}} {
		code, r := x.app.freshCode(c.org, func(v url.Values) { v.Set("scope", "openid"); ask(v) })
		tok := x.app.redeem(code, r.verifier)
		_, info := x.app.userinfo(tok.Access)
		for what, answer := range map[string]map[string]any{"id token": claims(t, tok.ID), "userinfo": info} {
			if got := strings.Join(told(answer), " "); got != x.told || x.told != "" && answer["email_verified"] != false {
				t.Errorf("%s, %s tells %q", x.app.app.ClientID, what, got)
			}
		}
	}
}

// S38: all memberships, at userinfo alone, of organizations of this tree that may use the app, and only for
// apps that the operator allows it.
func TestS38AnAppOfOneOrganizationLearnsOfNoStranger(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	person := w.person(lax, "lax-1")
	tree := w.entitledApp("tree", lax.org, func(a *broker.App) { a.Memberships = true })
	other := w.addOrg("other", "") // another tree, entitled or not
	closed := w.addOrg("closed", lax.org)
	asleep := w.addOrg("asleep", lax.org)
	for _, org := range []directory.OrgID{other, closed, asleep} {
		w.member(org, person.ID, "")
	}
	for _, org := range []directory.OrgID{strict, other, asleep} {
		w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: org, App: tree.app.ID}))
	}
	w.must(w.h.store.UpdateOrg(t.Context(), asleep, func(o *directory.Org) error { o.Status = directory.Suspended; return nil }))
	all := func(v url.Values) { in(lax.org)(v); v.Set("scope", "openid organizations") }
	tok := b.signIn(tree, all)
	_, info := tree.userinfo(tok.Access)
	var names []string
	list, _ := info["organizations"].([]any)
	for _, o := range list {
		names = append(names, o.(map[string]any)["handle"].(string))
	}
	slices.Sort(names)
	if strings.Join(names, " ") != "lax strict" {
		t.Errorf("organizations %v", info["organizations"])
	}
	if claims(t, tok.ID)["organizations"] != nil || claims(t, tok.Access)["organizations"] != nil {
		t.Error("memberships in a token")
	}
	_, info = w.userinfo(b.signIn(w, all).Access)
	if _, there := info["organizations"]; there {
		t.Error("told to an app that may not ask")
	}
}

// OpenID Connect Core section 5.5: what is no claims request is refused, whatever it holds.
func TestAClaimsParameterThatIsNoneIsRefused(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b, _ := w.signedIn(c.org)
	for name, raw := range map[string]string{
		"text": "name", "a list": `["name"]`, "a member that is text": `{"userinfo":"name"}`, "a claim that is text": `{"userinfo":{"name":"Ada"}}`,
		"essential in words": `{"id_token":{"name":{"essential":"yes"}}}`, "half of it": `{"id_token":{"name":`, "values that are no list": `{"id_token":{"acr":{"values":"x"}}}`,
		"large": `{"userinfo":{"` + strings.Repeat("x", 9<<10) + `":null}}`,
	} {
		r := w.request(func(v url.Values) { in(c.org)(v); v.Set("claims", raw) })
		b.authorize(w, r).errorFor(t, w, "invalid_request", r.Get("state"))
		_ = name
	}
}

// OpenID Connect Core section 5.5.1 and 3.1.2.2: only whom the sub claim names is answered for.
func TestTheSubClaimMeansItsPerson(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b, tok := w.signedIn(c.org)
	sub := claims(t, tok.ID)["sub"].(string)
	mine := func(v url.Values) { in(c.org)(v); v.Set("claims", `{"id_token":{"sub":{"value":"`+sub+`"}}}`) }
	theirs := func(v url.Values) {
		in(c.org)(v)
		v.Set("claims", `{"id_token":{"sub":{"values":["per_other","per_another"]}}}`)
	}
	if code, fault := b.silently(w, mine); code == "" {
		t.Errorf("mine: %s", fault)
	}
	if code, fault := b.silently(w, theirs); code != "" || fault != "login_required" {
		t.Errorf("theirs: %q %q", code, fault)
	}
	r := w.request(theirs) // whoever signs in now is not whom it means
	b.authorize(w, r).errorFor(t, w, "login_required", r.Get("state"))
	// A hint and a claim that mean different people mean nobody.
	r = w.request(func(v url.Values) { theirs(v); v.Set("id_token_hint", tok.ID) })
	b.authorize(w, r).errorFor(t, w, "login_required", r.Get("state"))
}
