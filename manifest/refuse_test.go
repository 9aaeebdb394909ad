package manifest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/manifest"
)

// Each of these is a mistake in a file; what it says is all that somebody has to mend it by.
func TestAMistakeIsToldWithItsPlaceAndItsRemedy(t *testing.T) {
	const con = "organizations:\n- handle: acme\n  connections:\n  - name: Okta\n    type: oidc\n    issuer: https://id.acme.example\n    settings: {client_id: v}\n    secrets: {client_secret: {env: SECRET}}\n"
	const app = "apps:\n- client_id: payments\n  client_secrets: [{env: SECRET}]\n  redirect_uris: [https://payments.example/cb]\n"
	for _, tc := range []struct{ name, text, says string }{
		{"unknown key at the top", "organisations: []", `a.yaml:1:1: organisations: There is no key "organisations" here. Did you mean organizations?`},
		{"unknown key within", "organizations:\n- handle: acme\n  contac: x", `a.yaml:3:3: organizations[0].contac: There is no key "contac" here. Did you mean contact?`},
		{"unknown key of a protocol", strings.Replace(con, "client_id: v", "cilent_id: v", 1), `a.yaml:7:16: organizations[0].connections[0].settings.cilent_id: There is no key "cilent_id" here. Did you mean client_id?`},
		{"unknown setting of policy", "realms:\n- handle: main\n  policy: {session.lifetme: 1h}", `Did you mean session.lifetime?`},
		{"a key twice", "realms:\n- handle: main\n  handle: other", `a.yaml:3:3: realms[0].handle: This key stands here twice.`},
		{"no handle", "organizations:\n- name: Acme", `a.yaml:2:3: organizations[0]: The key handle is missing.`},
		{"handle that is none", "organizations:\n- handle: Acme Inc", `a.yaml:2:11: organizations[0].handle: A handle is 1 to 63 lower-case letters`},
		{"a list for a map", "realms: {handle: main}", `a.yaml:1:9: realms: A list (lines that begin with -) is expected here, not a map.`},
		{"a text for a list", "organizations: acme", `A list (lines that begin with -) is expected here, not "acme".`},
		{"nothing for a value", "organizations:\n- handle:", `a.yaml:2:10: organizations[0].handle: There is no value here.`},
		{"a status that is none", "organizations:\n- handle: acme\n  status: actve", `a.yaml:3:11: organizations[0].status: There is no value "actve" here. Did you mean active?`},
		{"a boolean that is none", strings.Replace(con, "    type", "    offered: yes\n    type", 1), `true or false is expected here, not "yes".`},
		{"a duration that is none", strings.Replace(con, "    type", "    skew: a minute\n    type", 1), `A duration is expected here, such as 8h, 30m or 30d, not "a minute".`},
		{"an unknown type", strings.Replace(con, "oidc", "ldap", 1), `organizations[0].connections[0].type: There is no value "ldap" here. Known: oidc, saml.`},
		{"a secret in the open", strings.Replace(con, "{env: SECRET}", "geheim", 1), `a.yaml:8:30: organizations[0].connections[0].secrets.client_secret: A secret does not stand in this file. Write {env: NAME} or {file: PATH}`},
		{"a secret nowhere", strings.Replace(con, "SECRET", "NONE", 1), `The environment has no variable "NONE". Set it, or name another place.`},
		{"a secret in no file", strings.Replace(con, "env: SECRET", "file: none", 1), `There is no file none.`},
		{"a secret in two places", strings.Replace(con, "env: SECRET", "env: SECRET, file: none", 1), `A secret is in one place`},
		{"no client secret", strings.Replace(con, "    secrets: {client_secret: {env: SECRET}}\n", "", 1), `a.yaml:4:5: organizations[0].connections[0]: The connection's settings are incomplete or wrong: the client secret is missing or too long.`},
		{"an issuer that is not https", strings.Replace(con, "https://id", "http://id", 1), `a.yaml:4:5: organizations[0].connections[0]: The connection's settings are incomplete or wrong:`},
		{"metadata for OpenID Connect", strings.Replace(con, "    type", "    metadata: x\n    type", 1), `A connection of the type oidc has no metadata`},
		{"the same organization twice", "organizations:\n- handle: acme\n- handle: acme", `a.yaml:3:3: organizations[1]: The organization main/acme is declared twice: here, and at a.yaml:2:3.`},
		{"the same connection twice", con + "  - name: Okta\n    type: oidc", `a.yaml:9:5: organizations[0].connections[1]: The connection Okta of main/acme is declared twice: here, and at a.yaml:4:5.`},
		{"the same app twice", app + "- client_id: payments", `a.yaml:5:3: apps[1]: The app payments is declared twice: here, and at a.yaml:2:3.`},
		{"a domain twice", "organizations:\n- handle: acme\n  domains: [{name: a.example, verified: operator}]\n- handle: mex\n  domains: [{name: A.example, verified: operator}]", `a.yaml:5:13: organizations[1].domains[0]: The domain a.example of the realm main is declared twice`},
		{"a domain of everybody", "organizations:\n- handle: acme\n  domains: [{name: co.uk, verified: operator}]", `"co.uk" is not a domain that an organization can have.`},
		{"a domain without a word for it", "organizations:\n- handle: acme\n  domains: [{name: a.example}]", `organizations[0].domains[0]: The key verified is missing.`},
		{"an unknown parent", "organizations:\n- handle: acme\n  parent: might", `a.yaml:2:3: organizations[0]: There is no organization "main/might". Declare it under organizations, or name one that exists.`},
		{"its own parent", "organizations:\n- {handle: a, parent: b}\n- {handle: b, parent: a}", `is its own ancestor.`},
		{"a parent inside a parent", "organizations:\n- handle: a\n  organizations: [{handle: b, parent: a}]", `Leave parent and realm out.`},
		{"an unknown realm", "organizations:\n- {handle: a, realm: emea}", `There is no realm emea. Declare it under realms, or name one that exists.`},
		{"an unknown app", "organizations:\n- {handle: a, apps: [payments]}", `a.yaml:2:22: organizations[0].apps[0]: There is no app with the client_id "payments". Declare it under apps`},
		{"an unknown connection", "organizations:\n- handle: a\n  domains: [{name: a.example, verified: operator, connection: Okta}]", `The organization a has no connection "Okta", and nobody above it offers one.`},
		{"an id that is none", "organizations:\n- {handle: a, id: acme}", `An id here is org_ and 26 characters, as export writes it.`},
		{"a short client secret", strings.Replace(app, "env: SECRET", "env: SHORT", 1), `A client secret has 22 characters at least`},
		{"a hash that is none", strings.Replace(app, "env: SECRET", "sha256: abc", 1), `A hash of a secret is its SHA-256 in 64 hexadecimal digits.`},
		{"no redirect URI", strings.Replace(app, "  redirect_uris: [https://payments.example/cb]\n", "", 1), `a.yaml:2:3: apps[0]: The app's settings are incomplete or wrong: at least one redirect URI.`},
		{"a redirect URI in the clear", strings.Replace(app, "https:", "http:", 1), `https, or http on this machine: http://payments.example/cb.`},
		{"a method that is none", app + "  token_endpoint_auth_method: basic", `client authentication basic`},
		{"PKCE left out without a secret", "apps:\n- {client_id: p, pkce_exempt: true, token_endpoint_auth_method: none, redirect_uris: [https://p.example/]}", `only a confidential client may leave PKCE out.`},
		{"an application type that is none", app + "  application_type: natve", `Did you mean native?`},
		{"a connection of nobody", app + "  connections: [Okta]", `A connection is named here by its organization and its name, such as acme/Okta, not "Okta".`},
		{"a policy that is looser than the limit", "organizations:\n- handle: a\n  policy: {session.lifetime: 365d}", `a.yaml:3:11: organizations[0].policy:`},
		{"a default beyond its limit", "platform: {policy: {defaults: {session.lifetime: 20d}, limits: {session.lifetime: 10d}}}", `is looser than`},
		{"a color that is none", "organizations:\n- handle: a\n  theme: {brand: red}", `A color is written as # and six hexadecimal digits`},
		{"a person nobody can name", "organizations:\n- handle: a\n  people: [{name: Ada}]", `a.yaml:3:12: organizations[0].people[0]: Nothing here says who this is.`},
		{"a person at home nowhere", "people:\n- {email: a@b.example, email_verified_by: operator}", `people[0]: The key organization is missing.`},
		{"an address that is none", "organizations:\n- handle: a\n  people: [{email: ada, email_verified_by: operator}]", `An e-mail address is expected here, not "ada".`},
		{"the same person twice", "organizations:\n- handle: a\n  people:\n  - {email: ada@a.example, email_verified_by: operator}\n  - {email: ADA@a.example, email_verified_by: operator}", `a.yaml:5:5: organizations[0].people[1]: The person ada@a.example of main, at home in a is declared twice`},
		{"a member at home", "organizations:\n- handle: a\n  people: [{email: ada@a.example, email_verified_by: operator, memberships: [{organization: a}]}]", `Everybody is a member at home.`},
		{"a member across realms", "realms: [{handle: emea}]\norganizations:\n- {handle: b, realm: emea}\n- handle: a\n  people: [{email: ada@a.example, email_verified_by: operator, memberships: [{organization: emea/b}]}]", `The organization emea/b is in another realm, and nothing crosses realms.`},
		{"a moment that is none", "organizations:\n- {handle: b}\n- handle: a\n  people: [{email: ada@a.example, email_verified_by: operator, memberships: [{organization: b, until: soon}]}]", `A time such as 2030-01-31 or 2030-01-31T12:00:00Z is expected here, not "soon".`},
		{"tabs", "realms:\n\t- handle: main", `a.yaml:2: This is not YAML:`},
		{"aliases", "realms: &r [{handle: main}]\norganizations: *r", `a.yaml:1:9: Anchors (&name) and aliases (*name) are not read. Write the value out.`},
		{"tags", "realms: !!set {}", `Tags (!!set) are not read.`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.env["SHORT"] = "short"
			_, err := w.try(manifest.Options{}, tc.text)
			if !errors.Is(err, manifest.ErrFiles) {
				t.Fatalf("it answered %v", err)
			}
			if !strings.Contains(said(err), tc.says) {
				t.Errorf("it says\n%s\nand not\n%s", said(err), tc.says)
			}
			for _, secret := range []string{"geheim", w.env["SECRET"], "short\""} {
				if strings.Contains(said(err)+err.Error(), secret) {
					t.Errorf("it tells the secret: %v", err)
				}
			}
			if n, err := w.Lists.RealmList(t.Context()); err != nil || len(n) != 0 {
				t.Errorf("something was made: %v, %v", n, err)
			}
		})
	}
}

func TestAllMistakesAreToldAtOnceAndInBothFiles(t *testing.T) {
	w := newWorld(t)
	_, err := w.read("realms: [{handle: A}, {scope: tre}]", "apps:\n- client_id: a\n- client_id: a\n")
	for _, says := range []string{"a.yaml:1:19", "Did you mean tree?", "The key handle is missing.", "b.yaml:3:3: apps[1]: The app a is declared twice: here, and at b.yaml:2:3."} {
		if !strings.Contains(said(err), says) {
			t.Errorf("%q is not in\n%s", says, said(err))
		}
	}
	_, err = w.read("realms: [{handle: main}]", "realms: [{handle: main}]")
	if !strings.Contains(said(err), "b.yaml:1:10: realms[0]: The realm main is declared twice: here, and at a.yaml:1:10.") {
		t.Error(said(err))
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "wrong%d: 1\n", i)
	}
	if _, err = w.read(many.String()); strings.Count(said(err), "\n") != 25 || !strings.HasSuffix(said(err), "and 75 more") {
		t.Error(said(err))
	}
}

// S60: neither by a role nor by the organization of operators, at home or as a guest.
func TestS60NoFileMakesAnOperator(t *testing.T) {
	w := newWorld(t)
	main := directory.Realm{ID: directory.NewRealmID(w.Now()), Handle: "main", Scope: directory.ScopeRealm, Status: directory.Active}
	if err := w.Directory.AddRealm(t.Context(), operator, main); err != nil {
		t.Fatal(err)
	}
	platform := directory.Org{ID: directory.NewOrgID(w.Now()), Realm: main.ID, Handle: "platform", Name: "Operators", Status: directory.Active}
	if err := w.Directory.AddOrg(t.Context(), operator, platform); err != nil {
		t.Fatal(err)
	}
	before := w.everything()
	const who = "email: mallory@a.example, email_verified_by: operator"
	for name, text := range map[string]string{
		"its organization":        "organizations: [{handle: platform}]",
		"its organization, by id": "organizations: [{handle: other, id: " + string(platform.ID) + "}]",
		"inside it":               "organizations: [{handle: inner, parent: platform, people: [{" + who + "}]}]",
		"below it":                "organizations: [{handle: inner, parent: platform}]",
		"at home in it":           "people: [{organization: platform, " + who + "}]",
		"at home in it, in full":  "people: [{organization: main/platform, " + who + "}]",
		"as a guest":              "organizations: [{handle: a, people: [{" + who + ", memberships: [{organization: platform, kind: guest}]}]}]",
		"by a role":               "organizations: [{handle: a, people: [{" + who + ", roles: [operator]}]}]",
		"by a grant":              "organizations: [{handle: a, people: [{" + who + ", grants: []}]}]",
	} {
		if _, err := w.try(manifest.Options{Prune: true}, text); !errors.Is(err, manifest.ErrFiles) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := w.everything(); after != before {
		t.Errorf("it changed\n%s", after)
	}
	// Pruning leaves it alone.
	w.try(manifest.Options{Prune: true}, "organizations: [{handle: a}]")
	if chain, err := w.Directory.OrgChain(t.Context(), platform.ID); err != nil || chain.Status() != directory.Active {
		t.Errorf("%v, %v", chain, err)
	}
}
