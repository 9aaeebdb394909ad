package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// says runs a command and compares its status and what it says.
func (w *world) says(line string, status int, parts ...string) string {
	w.t.Helper()
	got, said := w.command(line)
	if got != status {
		w.t.Errorf("vestibule %s: status %d, want %d\n%s", line, got, status, said)
	}
	for _, part := range parts {
		if !strings.Contains(said, part) {
			w.t.Errorf("vestibule %s: %q is not in\n%s", line, part, said)
		}
	}
	return said
}

// capabilities.md C1, C4: by the command line as by files, an organization tightens and never loosens, every
// value is explained, and a refusal names the setting, the limit and who set it.
func TestPolicyByTheCommandLine(t *testing.T) {
	w := newWorld(t)
	bank := w.addOrg("bank", "")
	w.addOrg("branch", bank)

	w.says("policy set main/bank session.lifetime=8h mfa.methods=passkey,totp --reason Auditors", 0, "Bank", "session.lifetime: 8h, was 12h", "for 2 organizations")
	w.says("policy set main/branch session.lifetime=9h", 1, "Longest session: 9h is looser than 8h, the loosest that", "Auditors")
	w.says("policy set main/branch mfa.methods=totp", 1, "leaves out the strongest")
	w.says("policy set main/branch session.lifetime=2h", 0)
	w.says("policy show main/branch --why", 0, "Longest session: 2h, required by", "set by the operator on ")
	w.says("policy set main/bank session.lifetime=1h --preview", 0, "for 2 organizations", "session.lifetime: 1h, was 2h")
	w.says("policy show main/branch", 0, "session.lifetime  ")
	w.says("policy set main/bank session.lifetime=1h", 0)
	said := w.says("policy show main/branch --why", 0, "Longest session: 1h, required by", "asked for 2h.", "Over the limit: Longest session: 2h is looser than 1h")
	if strings.Count(said, "Over the limit") != 1 {
		t.Errorf("marks: %s", said)
	}
	w.says("policy show main/branch", 0, "over the limit: 2h")

	var list []struct {
		Key, Level, Asked, Reason string
		Value                     json.RawMessage
		Over                      string `json:"over_limit"`
	}
	if err := json.Unmarshal([]byte(w.says("policy show main/branch --json", 0)), &list); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range list {
		if s.Key == "session.lifetime" {
			found = string(s.Value) == `"1h"` && s.Asked == "2h" && s.Over != ""
		}
	}
	if !found || len(list) < 30 {
		t.Errorf("%+v", list)
	}

	w.says("policy history main/bank", 0, "version 2", `session.lifetime: "1h", was "8h"`, "version 1", "(Auditors)", "by command line")
	w.says("policy revert main/bank", 0, "session.lifetime: 2h, was 1h")
	w.says("policy show main/branch --why", 0, "Longest session: 2h, required by")
	w.says("policy revert main/bank 3", 1, "This is what holds already.")
	w.says("policy revert main/bank 9", 1, "no such version")
	w.says("policy unset main/branch session.lifetime", 0)
	w.says("policy show main/branch --why", 0, "Longest session: 8h, required by")

	// S51: what was allowed then may be refused today.
	w.says("policy set main/branch session.lifetime=6h", 0)
	w.says("policy set main/branch session.lifetime=3h", 0)
	w.says("policy set main/bank session.lifetime=4h", 0)
	w.says("policy revert main/branch", 1, "6h is looser than 4h")

	// The other levels.
	w.says("policy set --realm main session.idle=20m", 0)
	w.says("policy set main/bank session.idle=30m", 1, "the realm main")
	w.says("policy set --app payments session.idle=10m", 0)
	w.says("policy set --app payments password.min_length=14", 1, "not for one app")
	w.says("policy show main/bank --app payments --why", 0, "Longest pause: 10m, required by")
	w.says("policy history --app payments", 0, "session.idle")
	w.says("policy set main/bank --keep mfa.methods=totp", 0)
	w.says("policy set main/branch mfa.methods=passkey", 1, "wants kept")
	w.says("policy set main/bank --keep mfa.methods=", 0)

	for _, c := range []struct {
		line   string
		status int
		says   string
	}{
		{"policy set main/bank", 2, "KEY=VALUE"},
		{"policy set session.idle=1m", 2, "Name one level"},
		{"policy set main/bank --app payments session.idle=1m", 1, "KEY=VALUE"},
		{"policy set --realm main --app payments session.idle=1m", 2, "Name one level"},
		{"policy set main/bank session.idel=1m", 1, "no setting"},
		{"policy set main/bank lifetime=1h", 1, "Did you mean session.lifetime?"},
		{"policy set main/none session.idle=10m", 1, "no such organization"},
		{"policy set bank session.idle=10m", 1, "REALM/HANDLE"},
		{"policy unset main/bank x", 1, "no setting"},
		{"policy show", 2, "Name one organization"},
		{"policy colour", 2, "has no command"},
		{"policy revert main/bank x", 1, "A version is a number"},
	} {
		w.says(c.line, c.status, c.says)
	}
}

func TestGuardrailsByTheCommandLine(t *testing.T) {
	w := newWorld(t)
	w.addOrg("bank", "")
	w.says("guardrails set session.lifetime --limit 10h --default 11h", 1, "11h is looser than 10h")
	w.says("guardrails set session.lifetime --limit 10h --default 9h --reason Contract", 0, "session.lifetime: 9h, was 12h")
	w.says("policy set main/bank session.lifetime=11h", 1, "11h is looser than 10h, the loosest that the platform allows.", "Contract")
	w.says("policy set main/bank session.lifetime=10h", 0)
	w.says("guardrails show", 0, "session.lifetime", "9h", "10h", "(1h)")
	w.says("guardrails set session.idle --limit 4m", 1, "tighter than 5m")
	w.says("guardrails set mfa.methods --limit passkey,totp --default passkey,totp --keep passkey", 0)
	w.says("policy set main/bank mfa.methods=totp", 1, "strongest")
	w.says("guardrails set session.lifetime --value 6h", 0, "session.lifetime: 6h, was 10h")
	w.says("policy show main/bank --why", 0, "Longest session: 6h, required by the platform, set by the operator on ", "Over the limit")
	w.says("guardrails history", 0, "limit session.lifetime", "(Contract)")
	w.says("guardrails revert", 0, "session.lifetime: 10h, was 6h")
	w.says("guardrails unset session.lifetime --limit", 0)
	w.says("guardrails unset session.lifetime mfa.methods", 0)
	if said := w.says("guardrails show --json", 0); strings.Contains(said, "session.lifetime") {
		t.Error(said)
	}
	w.says("guardrails set session.lifetime", 2, "--limit")
	w.says("guardrails set x --limit 1h", 1, "no setting")
	w.says("guardrails show extra", 2, "only flags")
}

// A change after which nobody of an organization could sign in is told before, and made on demand alone.
func TestAChangeThatLocksAnOrganizationOutNeedsConfirmation(t *testing.T) {
	w := newWorld(t)
	bank := w.addOrg("bank", "")
	w.addOrg("branch", bank)
	w.says("policy set main/branch sso.protocols=oidc", 0)
	w.says("policy set main/bank sso.protocols=saml --preview", 0, "NOBODY CAN SIGN IN: Protocols", "That needs --confirm")
	w.says("policy set main/bank sso.protocols=saml", 1, "nobody of", "could sign in")
	w.says("policy history main/bank", 0, "Nothing was ever set")
	w.says("policy set main/bank sso.protocols=saml --confirm", 0, "NOBODY CAN SIGN IN")
	w.says("policy revert main/bank", 0, "sso.protocols: oidc, was none")
}

// Row 73: whose sessions end is counted before, and is what ends.
func TestAPreviewCountsTheSessionsThatEnd(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	c.people("ada", "ada@acme.example")
	old, young := newBrowser(t), newBrowser(t)
	old.signIn(w, in(c.org))
	w.clock.pass(30 * time.Minute)
	young.signIn(w, in(c.org))
	// The command has the real clock, so the use case is asked at the world's.
	wishes := directory.PolicyWishes{Values: map[string]json.RawMessage{"session.lifetime": json.RawMessage(`"20m"`)}}
	impact, err := w.h.directory.PolicyImpact(t.Context(), operator, w.h.store, directory.PolicyLevel{Org: c.org}, "", wishes)
	w.must(err)
	if impact.Organizations != 1 || impact.Sessions != 1 || impact.LockedOut != 0 || len(impact.Named) != 1 || impact.Named[0].Sessions != 1 {
		t.Errorf("%+v", impact)
	}
	if code, fault := old.silently(w, in(c.org)); code == "" {
		t.Errorf("a preview ended a session: %s", fault)
	}
	w.must(w.h.directory.SetLevelPolicy(t.Context(), operator, directory.PolicyLevel{Org: c.org}, "", wishes))
	if code, _ := old.silently(w, in(c.org)); code != "" {
		t.Error("the session that was counted goes on")
	}
	if code, fault := young.silently(w, in(c.org)); code == "" {
		t.Errorf("the session that was not counted ended: %s", fault)
	}
	wishes.Values = map[string]json.RawMessage{"mfa.requirement": json.RawMessage(`"always"`), "mfa.methods": json.RawMessage(`["passkey"]`)}
	if impact, err = w.h.directory.PolicyImpact(t.Context(), operator, w.h.store, directory.PolicyLevel{Org: c.org}, "", wishes); err != nil || impact.Enrol != 1 || impact.Sessions != 0 {
		t.Errorf("%+v, %v", impact, err)
	}
	wishes.Values["mfa.methods"] = json.RawMessage(`["passkey","email"]`) // which everybody with an address has
	if impact, err = w.h.directory.PolicyImpact(t.Context(), operator, w.h.store, directory.PolicyLevel{Org: c.org}, "", wishes); err != nil || impact.Enrol != 0 {
		t.Errorf("%+v, %v", impact, err)
	}
	stranger := directory.Actor{Kind: "somebody"}
	if _, err := w.h.directory.PolicyImpact(t.Context(), stranger, w.h.store, directory.PolicyLevel{Org: c.org}, "", wishes); err == nil {
		t.Error("anybody may look at what a change would do")
	}
	if _, err := w.h.directory.PolicyHistory(t.Context(), stranger, directory.PolicyLevel{Org: c.org}); err == nil {
		t.Error("anybody may read the history")
	}
}

func TestTheSchemaOfAPolicyIsPrinted(t *testing.T) {
	var out bytes.Buffer
	if status := run(t.Context(), []string{"policy", "schema"}, &out, &out); status != 0 || !json.Valid(out.Bytes()) || !strings.Contains(out.String(), "mfa.requirement") {
		t.Errorf("status %d: %s", status, &out)
	}
}
