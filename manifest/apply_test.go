package manifest_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/manifest"
)

const acme = `
organizations:
- handle: acme
  name: Acme
  theme: {brand: "#112233"}
  policy: {session.lifetime: 8h}
  domains: [{name: acme.example, verified: operator, connection: Okta}]
  connections:
  - name: Okta
    type: oidc
    issuer: https://id.acme.example
    jit: create
    settings: {client_id: v}
    secrets: {client_secret: {env: SECRET}}
  apps: [payments]
  people:
  - email: Ada@Acme.example
    email_verified_by: operator
    name: Ada
    birthdate: 1815-12-10
    address: {locality: London}
    identities: [{connection: Okta, subject: ada-1}]
apps:
- client_id: payments
  client_secrets: [{env: SECRET}]
  redirect_uris: [https://payments.example/cb]
`

func TestAPlanSaysFieldByFieldWhatWouldChangeAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	m, err := w.read(acme)
	if err != nil {
		t.Fatal(said(err))
	}
	plan, err := w.Plan(t.Context(), operator, m, manifest.Options{})
	if err != nil || len(plan.Changes) != 10 {
		t.Fatalf("%v\n%s", err, lines(plan))
	}
	if realms, err := w.Lists.RealmList(t.Context()); err != nil || len(realms) != 0 {
		t.Fatalf("the plan made %v, %v", realms, err)
	}
	w.apply(acme)
	w.env["SECRET"] = w.env["OTHER"]
	changed := strings.NewReplacer("name: Acme", "name: Acme Inc", "#112233", "#445566", "8h", "4h", "jit: create", "jit: off", "London", "Paris",
		"client_id: v", "client_id: w", "https://payments.example/cb]", "https://payments.example/cb, https://payments.example/cb2]", "connection: Okta}]", "connection: null}]").Replace(acme)
	m, err = w.read(changed)
	if err != nil {
		t.Fatal(said(err))
	}
	plan, err = w.Plan(t.Context(), operator, m, manifest.Options{})
	if err != nil {
		t.Fatal(said(err))
	}
	con := plan.Changes[3].ID
	want := `change organization main/acme name:"Acme">"Acme Inc"
change policy organization main/acme session.lifetime:"8h">"4h"
change theme main/acme brand:"#112233">"#445566"
change connection main/acme/Okta jit:"create">"off" settings.client_id:"v">"w" secrets.client_secret:(secret)>(secret)
change domain main/acme/acme.example connection:` + con + `>
change app payments redirect_uris:["https://payments.example/cb"]>["https://payments.example/cb", "https://payments.example/cb2"] client_secrets:>
change person ada@acme.example address.locality:"London">"Paris"
`
	if got := lines(plan); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	w.apply(changed)
	if p := w.apply(changed); len(p.Changes) != 0 {
		t.Error(lines(p))
	}
}

// What a file leaves out stays; null takes it away.
func TestAFileSaysAPart(t *testing.T) {
	w := newWorld(t)
	w.apply(acme)
	before := w.everything()
	for _, part := range []string{"organizations: [{handle: acme}]", "apps: [{client_id: payments}]", "organizations: [{handle: acme, connections: [{name: Okta, type: oidc}]}]",
		"people: [{organization: acme, email: ada@acme.example, email_verified_by: operator}]", "organizations: [{handle: acme, theme: {}, policy: {}, people: []}]"} {
		if p := w.apply(part); len(p.Changes) != 0 || w.everything() != before {
			t.Errorf("%s\n%s", part, lines(p))
		}
	}
	p := w.apply(`organizations: [{handle: acme, theme: {brand: null}, policy: {session.lifetime: null}, connections: [{name: Okta, type: oidc, jit: null}]}]
people: [{organization: acme, email: ada@acme.example, email_verified_by: operator, address: null, birthdate: null}]`)
	if got := lines(p); got != `change policy organization main/acme session.lifetime:"8h">
change theme main/acme brand:"#112233">
change connection main/acme/Okta jit:"create">
change person ada@acme.example birthdate:"1815-12-10"> address.locality:"London">
` {
		t.Error(got)
	}
}

// The last item of several fails, and nothing of the others is there: neither rows nor entries.
func TestAllOrNothing(t *testing.T) {
	w := newWorld(t)
	w.apply("organizations: [{handle: other, domains: [{name: taken.example, verified: operator}]}]")
	before := w.everything()
	for name, last := range map[string]string{
		"a domain of somebody else": "organizations: [{handle: mex, domains: [{name: taken.example, verified: operator}]}]",
		"a policy too loose":        "organizations: [{handle: mex, policy: {session.lifetime: 89d}}, {handle: low, parent: mex, policy: {session.lifetime: 90d}}]",
		"too deep":                  deep(9),
	} {
		_, err := w.try(manifest.Options{}, acme, last)
		if !errors.Is(err, manifest.ErrFiles) || !strings.Contains(said(err), "b.yaml:") {
			t.Errorf("%s: %v", name, err)
		}
		if after := w.everything(); after != before {
			t.Errorf("%s left something:\n%s", name, after)
		}
	}
	if _, err := w.Broker.Apps.AppByClientID(t.Context(), "payments"); !errors.Is(err, broker.ErrAppNotFound) {
		t.Errorf("the app is there: %v", err)
	}
}

func deep(n int) string {
	text, indent := "organizations:\n", ""
	for i := range n {
		text += fmt.Sprintf("%s- handle: d%d\n%s  organizations:\n", indent, i, indent)
		indent += "  "
	}
	return text + indent + "- handle: last\n"
}

// A policy that would be refused of a person in the portal is refused of a file, with who set the limit.
func TestGuardrailsHoldForFiles(t *testing.T) {
	w := newWorld(t)
	w.apply("organizations: [{handle: top, name: MightyBank, policy: {session.lifetime: 4h}, organizations: [{handle: low}]}]")
	_, err := w.try(manifest.Options{}, "organizations: [{handle: low, parent: top, policy: {session.lifetime: 8h}}]")
	if !strings.Contains(said(err), "a.yaml:1:52: organizations[0].policy: Longest session: 8h is looser than 4h, the loosest that MightyBank allows.") {
		t.Error(said(err))
	}
	for level, text := range map[string]string{
		"realm": "realms: [{handle: main, policy: {session.lifetime: 91d}}]", "platform": "platform: {policy: {values: {session.lifetime: 91d}}}",
		"app": "apps: [{client_id: p, token_endpoint_auth_method: none, redirect_uris: [https://p.example/], policy: {session.lifetime: 91d}}]",
	} {
		if _, err := w.try(manifest.Options{}, text); !errors.Is(err, manifest.ErrFiles) {
			t.Errorf("%s: %v", level, err)
		}
	}
	w.apply("platform: {policy: {limits: {session.lifetime: 30d}}}\nrealms: [{handle: main, policy: {session.lifetime: 20d}}]")
	if _, err := w.try(manifest.Options{}, "apps: [{client_id: p, token_endpoint_auth_method: none, redirect_uris: [https://p.example/], policy: {session.lifetime: 21d}}]"); !errors.Is(err, manifest.ErrFiles) {
		t.Errorf("an app beyond its realm: %v", err)
	}
}

// Values, what is to be kept and reasons are written, shown to whom they bind, exported, and have a history.
func TestReasonsAndWhatIsKeptComeFromFiles(t *testing.T) {
	w := newWorld(t)
	const text = `platform: {policy: {limits: {session.lifetime: {value: 30d, reason: The contract.}}, values: {sso.protocols: {keep: [oidc]}}}}
organizations:
- handle: top
  name: MightyBank
  policy: {session.lifetime: {value: 4h, reason: Auditors}, mfa.methods: {keep: [passkey]}}
  organizations: [{handle: low, name: Low}]`
	w.apply(text)
	if p := w.apply(text); len(p.Changes) != 0 {
		t.Errorf("applied again: %s", lines(p))
	}
	for wish, says := range map[string]string{
		"session.lifetime: 8h":           "Longest session: 8h is looser than 4h, the loosest that MightyBank allows. Only whoever set that can change it there. The reason given there: Auditors",
		"session.lifetime: 40d":          "MightyBank",
		"mfa.methods: [security_key]":    "leaves out some of what MightyBank wants kept: passkey",
		"sso.protocols: [saml]":          "leaves out some of what the platform wants kept: oidc",
		"mfa.methods: {keep: [x]}":       "none of",
		"session.idle: {keep: 1h}":       "only members of a list",
		`session.idle: {reason: "a\nb"}`: "one line",
	} {
		if _, err := w.try(manifest.Options{}, "organizations: [{handle: low, parent: top, policy: {"+wish+"}}]"); !strings.Contains(said(err), says) {
			t.Errorf("%s: %s", wish, said(err))
		}
	}
	if _, err := w.try(manifest.Options{}, "organizations: [{handle: top, policy: {mfa.methods: [security_key]}}]"); !strings.Contains(said(err), "to keep passkey is more than") {
		t.Errorf("an organization no longer allows what it wants kept: %s", said(err))
	}
	if got := lines(w.apply("organizations: [{handle: top, policy: {session.lifetime: {reason: null}, mfa.methods: {keep: null}}}]")); got != `change policy organization main/top keep.mfa.methods:["passkey"]> reason of session.lifetime:Auditors>
` {
		t.Error(got)
	}
	realm, err := w.Directory.RealmByHandle(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	org, err := w.Directory.OrgByHandle(t.Context(), realm.ID, "top")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := w.Directory.PolicyChanges(t.Context(), directory.PolicyLevel{Org: org}, 9)
	if err != nil || len(changes) != 2 {
		t.Fatalf("%+v, %v", changes, err)
	}
	if first := changes[1]; first.Actor != operator || first.Doc.Notes["session.lifetime"].Reason != "Auditors" || string(first.Doc.Keep["mfa.methods"]) != `["passkey"]` ||
		changes[0].Doc.Notes["session.lifetime"].Reason != "" || changes[0].Doc.Keep != nil || string(changes[0].Doc.Values["session.lifetime"]) != `"4h"` {
		t.Errorf("%+v", changes)
	}
}

// S4: whom a connection trusts does not change by a file either.
func TestS4AFileDoesNotChangeWhomAConnectionTrusts(t *testing.T) {
	w := newWorld(t)
	w.apply(acme)
	for name, change := range map[string]*strings.Replacer{
		"another issuer":  strings.NewReplacer("https://id.acme.example", "https://id.mallory.example"),
		"another subject": strings.NewReplacer("client_id: v", "client_id: v, subject_claim: oid"),
		"another type":    strings.NewReplacer("type: oidc", "type: saml", "settings: {client_id: v}", "", "secrets: {client_secret: {env: SECRET}}", ""),
	} {
		before := w.everything()
		if _, err := w.try(manifest.Options{}, change.Replace(acme)); !errors.Is(err, manifest.ErrFiles) {
			t.Errorf("%s: %v", name, err)
		}
		if w.everything() != before {
			t.Errorf("%s changed something", name)
		}
	}
}

func TestPruneArchivesWhatTheFilesDoNotNameAndTouchesNobody(t *testing.T) {
	w := newWorld(t)
	w.apply(acme, "organizations:\n- {handle: old, people: [{email: bob@old.example, email_verified_by: operator}], organizations: [{handle: older}]}\n- {handle: emea-org, realm: emea}\nrealms: [{handle: emea}]\n"+
		"apps: [{client_id: legacy, token_endpoint_auth_method: none, redirect_uris: [https://l.example/]}]")
	less := `organizations: [{handle: acme, people: []}, {handle: new}]
apps: [{client_id: payments}]`
	m, err := w.read(less)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := w.Plan(t.Context(), operator, m, manifest.Options{Prune: true})
	if err != nil {
		t.Fatal(said(err))
	}
	con, app := "", ""
	for _, c := range plan.Changes {
		switch c.Noun {
		case "connection":
			con = c.ID
		case "entitlement":
			app = c.ID
		}
	}
	want := `create organization main/new name:>"new" status:>"active"
archive app legacy status:active>suspended
archive organization main/older
archive organization main/old
archive connection main/acme/Okta status:active>disabled
archive entitlement main/acme to ` + app + "\n"
	if got := lines(plan); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := w.Apply(t.Context(), operator, m, manifest.Options{Prune: true}); err != nil {
		t.Fatal(said(err))
	}
	c, err := w.Connections.ConnectionByID(t.Context(), directory.ConnectionID(con))
	if err != nil || c.Status != upstream.Disabled {
		t.Errorf("%+v, %v", c, err)
	}
	if people := w.everything(); !strings.Contains(people, "bob@old.example") || !strings.Contains(people, "ada@acme.example") || strings.Contains(people, "status: suspended\n    email") {
		t.Errorf("somebody is gone:\n%s", people)
	}
	if plan, err = w.Apply(t.Context(), operator, m, manifest.Options{Prune: true}); err != nil || len(plan.Changes) != 0 {
		t.Errorf("%v\n%s", err, lines(plan))
	}
}

// An export is applied into an empty installation and gives the same export there: ids, hashes, people.
func TestAnExportMakesTheSameElsewhere(t *testing.T) {
	w := newWorld(t)
	w.apply(w.example("complete.yaml"))
	for _, o := range []manifest.ExportOptions{{Hashes: true, People: true}, {People: true}, {Hashes: true}} {
		var out bytes.Buffer
		if err := w.Export(t.Context(), operator, &out, o); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{w.env["PAYMENTS_SECRET"], w.files["mightybank-client-secret"], "PRIVATE KEY"} {
			if strings.Contains(out.String(), secret) {
				t.Errorf("the export holds a secret: %q", secret)
			}
		}
		x := newWorld(t)
		keys := ours()
		for name, value := range map[string]string{
			"MIGHTYBANK_MIGHTYBANK_ID_CLIENT_SECRET": "s", "MIGHTYBANK_MIGHTYBANK_ID__WITH_A_KEY_OF_OURS_PRIVATE_KEY": keys.Encryption[0].Key,
			"MEXBANCO_MEXBANCO_ID_SIGNING_1_KEY": keys.Signing[1].Key, "MEXBANCO_MEXBANCO_ID_SIGNING_1_CERTIFICATE": keys.Signing[1].Certificate,
			"MEXBANCO_MEXBANCO_ID_ENCRYPTION_1_KEY": keys.Encryption[0].Key, "MEXBANCO_MEXBANCO_ID_ENCRYPTION_1_CERTIFICATE": keys.Encryption[0].Certificate,
			"PAYMENTS_SECRET_1": "the-first-secret-of-payments", "PAYMENTS_SECRET_2": "the-second-secret-of-payments",
		} {
			x.env[name] = value
		}
		// The draft connection made keys of its own.
		for _, name := range []string{"SIGNING_1", "SIGNING_2", "ENCRYPTION_1"} {
			pair := keys.Signing[0]
			if name == "SIGNING_2" {
				pair = keys.Signing[1]
			}
			for _, con := range []string{"MEXBANCO_MEXBANCO_ID__BY_HAND_", "MEXBANCO_MEXBANCO_ID__BY_ITS_ADDRESS_"} {
				x.env[con+name+"_KEY"], x.env[con+name+"_CERTIFICATE"] = pair.Key, pair.Certificate
			}
		}
		x.apply(out.String())
		var again bytes.Buffer
		if err := x.Export(t.Context(), operator, &again, o); err != nil {
			t.Fatal(err)
		}
		if out.String() != again.String() {
			t.Errorf("%+v\n%s\n%s", o, &out, &again)
		}
		if p := x.apply(out.String()); len(p.Changes) != 0 {
			t.Errorf("applied again it changes\n%s", lines(p))
		}
	}
}

// Two applies at once: each is whole, and one that saw an older world says so and changes nothing.
func TestTwoAppliesAtOnceAreOneAfterTheOther(t *testing.T) {
	dir := t.TempDir()
	first := worldAt(t, dir, false)
	worlds := []*world{first, worldAt(t, dir, true), worldAt(t, dir, true)}
	var all sync.WaitGroup
	answers := make([]error, 3)
	for i, w := range worlds {
		all.Go(func() {
			text := strings.NewReplacer("handle: acme", fmt.Sprintf("handle: acme%d", i), "acme.example", fmt.Sprintf("acme%d.example", i), "Acme.example", fmt.Sprintf("acme%d.example", i),
				"payments", fmt.Sprintf("payments%d", i)).Replace(acme)
			for range 50 {
				if _, answers[i] = w.try(manifest.Options{}, text); !errors.Is(answers[i], manifest.ErrMoved) {
					return
				}
				if err := w.db.Ready(t.Context()); err != nil { // follows what the others changed
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i, err := range answers {
		if err != nil {
			t.Errorf("%d: %v %s", i, err, said(err))
		}
		if _, err := first.Directory.RealmByHandle(t.Context(), "main"); err != nil {
			t.Error(err)
		}
	}
	if list, err := first.Lists.OrgList(t.Context(), first.realm("main")); err != nil || len(list) != 3 {
		t.Errorf("%v, %v", list, err)
	}
}

func (w *world) realm(handle string) directory.RealmID {
	w.t.Helper()
	all, err := w.Lists.RealmList(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range all {
		if r.Handle == handle {
			return r.ID
		}
	}
	return ""
}

// Only an operator applies.
func TestNobodyButAnOperatorApplies(t *testing.T) {
	w := newWorld(t)
	m, err := w.read(acme)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []directory.Actor{{}, {Kind: directory.Engine}, {Kind: "person", ID: "per_x"}} {
		if _, err := w.Apply(t.Context(), who, m, manifest.Options{}); !errors.Is(err, directory.ErrDenied) {
			t.Errorf("%v applied: %v", who, err)
		}
		if _, err := w.Plan(t.Context(), who, m, manifest.Options{}); !errors.Is(err, directory.ErrDenied) {
			t.Errorf("%v planned: %v", who, err)
		}
		if err := w.Export(t.Context(), who, &bytes.Buffer{}, manifest.ExportOptions{}); !errors.Is(err, directory.ErrDenied) {
			t.Errorf("%v exported: %v", who, err)
		}
	}
}

// counted notes entries of the record.
type counted struct {
	audit.Recorder
	entries []audit.Entry
}

func (c *counted) Record(ctx context.Context, e audit.Entry) error {
	c.entries = append(c.entries, e)
	return c.Recorder.Record(ctx, e)
}

// Every change is recorded, by an operator, without a secret; a second apply records nothing.
func TestEveryChangeIsRecorded(t *testing.T) {
	dir := t.TempDir()
	worldAt(t, dir, false)
	w := worldAt(t, dir, true) // runs each function once
	rec := &counted{Recorder: w.db}
	w.Directory.Audit, w.Connections.Audit, w.Broker.Audit, w.Themes.Audit = rec, rec, rec, rec
	plan := w.apply(acme)
	if len(rec.entries) != len(plan.Changes) {
		t.Errorf("%d entries for\n%s", len(rec.entries), lines(plan))
	}
	for _, e := range rec.entries {
		if e.Actor.Kind != "operator" || strings.Contains(fmt.Sprint(e), w.env["SECRET"]) {
			t.Errorf("%+v", e)
		}
	}
	n := len(rec.entries)
	w.apply(acme)
	if len(rec.entries) != n {
		t.Errorf("a second apply recorded %v", rec.entries[n:])
	}
}

// Whatever a file says, applying it twice is applying it once.
func TestApplyIsIdempotentForAnyManifest(t *testing.T) {
	w := newWorld(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		if round++; round > 40 {
			return // each makes a little more world, and costs as much
		}
		text := generated(rt, round)
		if _, err := w.try(manifest.Options{}, text); err != nil {
			rt.Fatalf("%s\n%s", said(err), text)
		}
		before, err := w.db.Revision(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		again, err := w.try(manifest.Options{}, text)
		if after, _ := w.db.Revision(t.Context()); err != nil || len(again.Changes) != 0 || after != before {
			rt.Fatalf("%v\n%s\n%s", err, lines(again), text)
		}
	})
}

// generated is a manifest of random parts; round keeps what is for good (handles, domains) apart.
func generated(t *rapid.T, round int) string {
	var b strings.Builder
	some := func(name string) bool { return rapid.Bool().Draw(t, name) }
	word := rapid.StringMatching(`[A-Za-z0-9 .,:#'"&*!|>%@-]{1,20}[a-z]`)
	n, idle := rapid.IntRange(1, 4).Draw(t, "organizations"), rapid.IntRange(5, 10).Draw(t, "idle")
	b.WriteString("organizations:\n")
	for i := range n {
		fmt.Fprintf(&b, "- handle: o%d-%d\n  name: %q\n", round, i, word.Draw(t, "name"))
		if i > 0 && some("parent") {
			fmt.Fprintf(&b, "  parent: o%d-%d\n", round, rapid.IntRange(0, i-1).Draw(t, "which"))
		}
		if some("status") {
			fmt.Fprintf(&b, "  status: %s\n", rapid.SampledFrom([]string{"active", "suspended"}).Draw(t, "status"))
		}
		if some("policy") {
			fmt.Fprintf(&b, "  policy: {session.idle: %dm}\n", idle) // the same everywhere: none is looser than its parent's
		}
		if some("theme") {
			fmt.Fprintf(&b, "  theme: {radius: %d, tagline: {en: %q}}\n", rapid.IntRange(0, 16).Draw(t, "radius"), "Welcome")
		}
		if some("connection") {
			fmt.Fprintf(&b, "  connections:\n  - name: %q\n    type: oidc\n    issuer: https://id%d.example\n    guests: %v\n    skew: %ds\n    settings: {client_id: %q, scopes: [openid, email]}\n    secrets: {client_secret: {env: SECRET}}\n",
				word.Draw(t, "connection"), i, some("guests"), rapid.IntRange(0, 100).Draw(t, "skew"), "client")
		}
		if some("domain") {
			fmt.Fprintf(&b, "  domains: [{name: d%d-%d.example, verified: operator}]\n", round, i)
		}
		if some("people") {
			fmt.Fprintf(&b, "  people:\n  - {email: p%d@d%d.example, email_verified_by: operator, name: %q, nickname: %q, phone_number_verified: %v}\n", i, round, word.Draw(t, "person"), word.Draw(t, "nick"), some("phone"))
		}
		fmt.Fprintf(&b, "  apps: [{client_id: app%d, below: %v}]\n", round, some("below"))
	}
	fmt.Fprintf(&b, "apps:\n- client_id: app%d\n  client_name: %q\n  token_endpoint_auth_method: %s\n  redirect_uris: [https://a.example/cb]\n", round, word.Draw(t, "app"),
		rapid.SampledFrom([]string{"none"}).Draw(t, "method"))
	if some("age") {
		fmt.Fprintf(&b, "  default_max_age: %d\n", rapid.IntRange(0, 1e6).Draw(t, "age"))
	}
	if some("hash") {
		b.Reset()
		fmt.Fprintf(&b, "apps:\n- client_id: app%d\n  client_secrets: [{sha256: %s}]\n  redirect_uris: [https://a.example/cb]\n", round, hex.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	}
	return b.String()
}
