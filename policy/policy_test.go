package policy

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

type doc = map[string]json.RawMessage

func set(key, value string) doc { return doc{key: json.RawMessage(value)} }

func platform() Level { return Level{Kind: Platform} }

func TestDefaultsAreThoseOfTheManual(t *testing.T) {
	e, err := Resolve([]Level{platform()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule *Rule[time.Duration]
		want time.Duration
	}{{SessionLifetime, 12 * time.Hour}, {SessionIdle, time.Hour}, {AccessLifetime, 5 * time.Minute}, {RefreshLifetime, 30 * day}} {
		if got := c.rule.In(e); got != c.want {
			t.Errorf("%s is %v", c.rule.Key, got)
		}
	}
	if got := Protocols.In(e).Words(); strings.Join(got, " ") != "oidc saml" {
		t.Errorf("protocols: %v", got)
	}
	algs := SignatureAlgorithms.In(e)
	if algs.Len() != 10 || !algs.Has("ES256") || algs.Has("HS256") || algs.Has("none") || algs.Has("") {
		t.Errorf("algorithms: %v", algs)
	}
}

// A forgotten policy locks: house.md.
func TestAnEffectiveThatNobodyResolvedIsTheStrictest(t *testing.T) {
	for _, r := range rules.rules {
		_, strictest := r.ends()
		if p := (Effective{}).Why(r.key()); p.Value != r.show(strictest) || !p.Locked || !strings.Contains(p.Words(), "no policy was resolved") {
			t.Errorf("%s: %+v", r.key(), p)
		}
	}
	if SessionLifetime.In(Effective{}) != time.Minute || !Protocols.In(Effective{}).Empty() || SignatureAlgorithms.In(Effective{}).Has("RS256") {
		t.Error("the zero policy lets somebody in")
	}
	stray := &Rule[time.Duration]{Strictest: time.Second, Default: time.Hour}
	e, _ := Resolve([]Level{platform()})
	if stray.In(e) != time.Second {
		t.Error("a rule that is in no table is not at its strictest")
	}
}

func TestWhatCannotBeReadIsRefusedNotSkipped(t *testing.T) {
	org := func(d doc) []Level { return []Level{platform(), {Kind: Org, ID: "org_1", Values: d}} }
	cases := []struct {
		name  string
		chain []Level
		want  *fault.Error
	}{
		{"an unknown setting", org(set("session.lifespan", `"8h"`)), ErrUnreadable},
		{"an unknown limit", []Level{{Kind: Platform, Limits: set("mfa.method", `["totp"]`)}}, ErrUnreadable},
		{"an unknown default", []Level{{Kind: Platform, Defaults: set("x", `1`)}}, ErrUnreadable},
		{"a number for a time", org(set("session.lifetime", `8`)), ErrUnreadable},
		{"null", org(set("session.lifetime", `null`)), ErrUnreadable},
		{"a time without unit", org(set("session.lifetime", `"8"`)), ErrUnreadable},
		{"an unknown unit", org(set("session.lifetime", `"8w"`)), ErrUnreadable},
		{"a negative time", org(set("session.lifetime", `"-8h"`)), ErrUnreadable},
		{"a fraction", org(set("session.lifetime", `"1.5h"`)), ErrUnreadable},
		{"two units", org(set("session.lifetime", `"1h30m"`)), ErrUnreadable},
		{"spaces", org(set("session.lifetime", `" 8h"`)), ErrUnreadable},
		{"no time at all", org(set("session.lifetime", `"0s"`)), ErrUnreadable},
		{"a time beyond the loosest", org(set("session.lifetime", `"91d"`)), ErrUnreadable},
		{"a time that overflows", org(set("session.lifetime", `"99999999999999999999d"`)), ErrUnreadable},
		{"nothing", org(set("session.lifetime", ``)), ErrUnreadable},
		{"a word for a list", org(set("sso.protocols", `"oidc"`)), ErrUnreadable},
		{"null for a list", org(set("sso.protocols", `null`)), ErrUnreadable},
		{"an unknown protocol", org(set("sso.protocols", `["oidc","ldap"]`)), ErrUnreadable},
		{"a symmetric algorithm", org(set("sso.signature_algorithms", `["HS256"]`)), ErrUnreadable},
		{"no algorithm", org(set("sso.signature_algorithms", `["none"]`)), ErrUnreadable},
		{"another case", org(set("sso.signature_algorithms", `["es256"]`)), ErrUnreadable},
		{"no levels", nil, ErrChain},
		{"no platform", []Level{{Kind: Org, ID: "org_1"}}, ErrChain},
		{"two platforms", []Level{platform(), platform()}, ErrChain},
		{"a realm below an organization", []Level{platform(), {Kind: Org}, {Kind: Realm}}, ErrChain},
		{"an organization below an app", []Level{platform(), {Kind: App}, {Kind: Org}}, ErrChain},
		{"a kind that is none", []Level{platform(), {Kind: "tenant"}}, ErrChain},
		{"an organization with limits", []Level{platform(), {Kind: Org, Limits: set("session.lifetime", `"90d"`)}}, ErrChain},
		{"an organization with defaults", []Level{platform(), {Kind: Org, Defaults: set("session.lifetime", `"90d"`)}}, ErrChain},
	}
	for _, c := range cases {
		e, err := Resolve(c.chain)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if SessionLifetime.In(e) != time.Minute || !Protocols.In(e).Empty() {
			t.Errorf("%s: what came with the error lets somebody in", c.name)
		}
	}
}

func TestTheFold(t *testing.T) {
	hours := func(kind Kind, name, v string) Level {
		l := Level{Kind: kind, ID: name, Name: name}
		if v != "" {
			l.Values = set("session.lifetime", `"`+v+`"`)
		}
		return l
	}
	limited := func(d, l string) Level {
		out := platform()
		if d != "" {
			out.Defaults = set("session.lifetime", `"`+d+`"`)
		}
		if l != "" {
			out.Limits = set("session.lifetime", `"`+l+`"`)
		}
		return out
	}
	cases := []struct {
		name  string
		chain []Level
		want  time.Duration
		words string
	}{
		{"nobody says anything", []Level{platform(), hours(Org, "Acme", "")}, 12 * time.Hour,
			"Longest session: 12h, the default. The loosest allowed is 90d, by the platform."},
		{"a default does not bind", []Level{limited("1h", ""), hours(Org, "Acme", "7d")}, 7 * day,
			"Longest session: 7d, required by Acme."},
		{"a set value binds what is below", []Level{platform(), hours(Org, "Bank", "8h"), hours(Org, "Branch", "")}, 8 * time.Hour,
			"Longest session: 8h, required by Bank."},
		{"a child may tighten", []Level{platform(), hours(Org, "Bank", "8h"), hours(Org, "Branch", "30m")}, 30 * time.Minute,
			"Longest session: 30m, required by Branch."},
		{"a child cannot loosen", []Level{platform(), hours(Org, "Bank", "8h"), hours(Org, "Branch", "1d")}, 8 * time.Hour,
			"Longest session: 8h, required by Bank. Branch asked for 24h."},
		{"nor can a grandchild", []Level{platform(), hours(Org, "Bank", "8h"), hours(Org, "Branch", "2h"), hours(Org, "Desk", "4h")}, 2 * time.Hour,
			"Longest session: 2h, required by Branch. Desk asked for 4h."},
		{"nor an app", []Level{platform(), hours(Realm, "Banks", ""), hours(Org, "Bank", "8h"), hours(App, "Payments", "1h")}, time.Hour,
			"Longest session: 1h, required by Payments."},
		{"a realm binds its organizations", []Level{platform(), hours(Realm, "Banks", "4h"), hours(Org, "Bank", "8h")}, 4 * time.Hour,
			"Longest session: 4h, required by Banks. Bank asked for 8h."},
		{"the operator's limit holds against the default", []Level{limited("", "4h"), hours(Org, "Acme", "")}, 4 * time.Hour,
			"Longest session: 4h, required by the platform."},
		{"the operator tightened later", []Level{limited("", "4h"), hours(Org, "Acme", "8h")}, 4 * time.Hour,
			"Longest session: 4h, required by the platform. Acme asked for 8h."},
		{"what was asked in between is forgotten by who obeys", []Level{limited("", "4h"), hours(Org, "Acme", "8h"), hours(Org, "Team", "1h")}, time.Hour,
			"Longest session: 1h, required by Team."},
	}
	for _, c := range cases {
		e, err := Resolve(c.chain)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := SessionLifetime.In(e); got != c.want {
			t.Errorf("%s: %v holds", c.name, got)
		}
		if got := e.Why("session.lifetime").Words(); got != c.words {
			t.Errorf("%s: explained as %q", c.name, got)
		}
	}
	if got := (Effective{}).Why("no.such"); got.Words() != "" {
		t.Errorf("a setting that is none is explained: %+v", got)
	}
}

func TestSetsIntersectAndNobodyIsLeftWhereTheyDoNotMeet(t *testing.T) {
	e, err := Resolve([]Level{platform(),
		{Kind: Org, Name: "Bank", Values: set("sso.protocols", `["saml"]`)},
		{Kind: Org, Name: "Branch", Values: set("sso.protocols", `["oidc"]`)}})
	if err != nil {
		t.Fatal(err)
	}
	if got := Protocols.In(e); !got.Empty() || got.Has("oidc") || got.Has("saml") {
		t.Errorf("%v is left", got)
	}
	if got := e.Why("sso.protocols").Words(); !strings.Contains(got, "none") || !strings.Contains(got, "Branch asked for oidc") {
		t.Error(got)
	}
}

func TestANarrowerSetIsNotTheCallersToWiden(t *testing.T) {
	e, _ := Resolve([]Level{platform(), {Kind: Org, Values: set("sso.protocols", `["oidc"]`)}})
	Protocols.In(e).Words()[0] = "saml"
	if got := Protocols.In(e); got.Has("saml") || !got.Has("oidc") {
		t.Error("a reader changed the policy")
	}
}

func TestCheckRefusesInWords(t *testing.T) {
	bank := Level{Kind: Org, Name: "MightyBank", Values: set("session.lifetime", `"8h"`)}
	branch := Level{Kind: Org, Name: "Branch"}
	cases := []struct {
		name, key, wish string
		chain           []Level
		want            *fault.Error
		says            []string
	}{
		{"tighter", "session.lifetime", `"1h"`, []Level{platform(), bank, branch}, nil, nil},
		{"the same", "session.lifetime", `"8h"`, []Level{platform(), bank, branch}, nil, nil},
		{"looser than a parent", "session.lifetime", `"9h"`, []Level{platform(), bank, branch}, ErrLooser,
			[]string{"Longest session", "9h", "8h", "MightyBank"}},
		{"its own old value does not count", "session.lifetime", `"9h"`, []Level{platform(), bank}, nil, nil},
		{"looser than the default", "tokens.access_lifetime", `"10m"`, []Level{platform(), branch}, nil, nil},
		{"looser than the platform", "tokens.access_lifetime", `"11m"`, []Level{platform(), branch}, ErrLooser,
			[]string{"11m", "10m", "the platform"}},
		{"where the operator raised the limit", "tokens.access_lifetime", `"11m"`,
			[]Level{{Kind: Platform, Limits: set("tokens.access_lifetime", `"20m"`)}, branch}, nil, nil},
		{"tighter than the floor", "session.idle", `"1m"`, []Level{platform(), branch}, ErrFloor, []string{"1m", "5m"}},
		{"at the floor", "session.idle", `"5m"`, []Level{platform(), branch}, nil, nil},
		{"no list", "sso.protocols", `[]`, []Level{platform(), branch}, ErrNobody, []string{"Protocols", "unset"}},
		{"another list", "sso.protocols", `["oidc","saml"]`,
			[]Level{platform(), {Kind: Org, Name: "MightyBank", Values: set("sso.protocols", `["saml"]`)}, branch}, ErrLooser, []string{"saml", "MightyBank"}},
		{"no such setting", "session.colour", `"red"`, []Level{platform(), branch}, ErrUnknown, []string{"session.colour"}},
		{"no such value", "session.lifetime", `"soon"`, []Level{platform(), branch}, ErrValue, []string{"8h"}},
		{"more than there is", "session.lifetime", `"100d"`, []Level{platform(), branch}, ErrValue, []string{"90d"}},
		{"a broken parent", "session.idle", `"1h"`, []Level{platform(), {Kind: Org, Values: set("x", `1`)}, branch}, ErrUnreadable, nil},
		{"no platform", "session.idle", `"1h"`, []Level{branch}, ErrChain, nil},
	}
	for _, c := range cases {
		err := Check(c.chain, c.key, json.RawMessage(c.wish))
		if c.want == nil {
			if err != nil {
				t.Errorf("%s: %s", c.name, fault.Of(err).Public)
			}
			continue
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, part := range c.says {
			if said := fault.Of(err).Public; !strings.Contains(said, part) {
				t.Errorf("%s: %q does not say %q", c.name, said, part)
			}
		}
	}
	if ErrLooser.Public != "This is looser than a level above allows." {
		t.Error("a refusal changed the declared fault")
	}
}

// security.md S13: {passkey, totp, sms} may become {security_key, passkey}, not {sms}.
func TestS13ANarrowerSetCannotBeWeaker(t *testing.T) {
	tab := tableOf(methodsRule)
	for _, c := range []struct {
		above, wish string
		want        *fault.Error
	}{
		{`["passkey","totp","sms"]`, `["sms"]`, ErrWeaker},
		{`["passkey","totp","sms"]`, `["totp","sms"]`, ErrWeaker},
		{`["passkey","totp","sms"]`, `["passkey"]`, nil},
		{`["passkey","security_key","sms"]`, `["security_key"]`, nil},
		{`["totp","sms"]`, `["sms"]`, ErrWeaker},
		{`["totp","push","sms"]`, `["push"]`, nil},
		{`["sms","email"]`, `["sms"]`, nil},
	} {
		chain := []Level{platform(), {Kind: Org, Name: "Bank", Values: set("test.methods", c.above)}, {Kind: Org, Name: "Branch"}}
		err := tab.check(chain, "test.methods", json.RawMessage(c.wish))
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s below %s: %v", c.wish, c.above, err)
		}
	}
}

func TestThePlatformsOwnDocumentIsChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		doc  Level
		want *fault.Error
	}{
		{"nothing", Level{Kind: Platform}, nil},
		{"a raised limit", Level{Limits: set("tokens.access_lifetime", `"1h"`)}, nil},
		{"a limit beyond the loosest", Level{Limits: set("tokens.access_lifetime", `"2h"`)}, ErrValue},
		{"a limit tighter than the floor", Level{Limits: set("session.idle", `"4m"`)}, ErrFloor},
		{"a limit at the floor", Level{Limits: set("session.idle", `"5m"`)}, nil},
		{"a limit for nobody", Level{Limits: set("sso.protocols", `[]`)}, ErrNobody},
		{"an unknown limit", Level{Limits: set("x", `1`)}, ErrUnknown},
		{"a default over the limit", Level{Limits: set("session.lifetime", `"4h"`), Defaults: set("session.lifetime", `"8h"`)}, ErrLooser},
		{"a default for nobody", Level{Defaults: set("sso.protocols", `[]`)}, ErrNobody},
		{"an unknown default", Level{Defaults: set("x", `1`)}, ErrUnknown},
		{"a value over the limit", Level{Values: set("tokens.access_lifetime", `"11m"`)}, ErrLooser},
		{"a value", Level{Values: set("tokens.access_lifetime", `"3m"`)}, nil},
	} {
		err := CheckPlatform(c.doc)
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLockedIsWhereNothingElseIsLeft(t *testing.T) {
	for _, c := range []struct {
		key, value string
		want       bool
	}{
		{"session.idle", `"5m"`, true}, {"session.idle", `"6m"`, false}, {"session.idle", `"1m"`, true},
		{"sso.protocols", `["oidc"]`, true}, {"sso.protocols", `["oidc","saml"]`, false},
	} {
		e, err := Resolve([]Level{platform(), {Kind: Org, Values: set(c.key, c.value)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Why(c.key).Locked; got != c.want {
			t.Errorf("%s of %s: locked is %v", c.key, c.value, got)
		}
	}
}

func TestDurationsAreWrittenAsPeopleSayThem(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{{time.Minute, "1m"}, {90 * time.Minute, "90m"}, {8 * time.Hour, "8h"}, {day, "24h"}, {30 * day, "30d"}, {36 * time.Hour, "36h"}, {45 * time.Second, "45s"}} {
		if got := showDuration(c.d); got != c.want {
			t.Errorf("%v is written %q", c.d, got)
		}
		if got, err := readDuration(json.RawMessage(`"` + c.want + `"`)); err != nil || got != c.d {
			t.Errorf("%q is read as %v, %v", c.want, got, err)
		}
	}
}

func deep() []Level {
	out := []Level{{Kind: Platform, Limits: set("session.lifetime", `"30d"`)}, {Kind: Realm, ID: "rlm_1"}}
	for range 6 {
		out = append(out, Level{Kind: Org, ID: "org_1", Name: "Org", Values: doc{
			"session.lifetime": json.RawMessage(`"8h"`), "session.idle": json.RawMessage(`"30m"`),
			"tokens.access_lifetime": json.RawMessage(`"5m"`), "tokens.refresh_lifetime": json.RawMessage(`"7d"`),
			"sso.protocols": json.RawMessage(`["oidc","saml"]`), "sso.signature_algorithms": json.RawMessage(`["ES256","RS256"]`)}})
	}
	return append(out, Level{Kind: App, ID: "app_1", Values: set("session.idle", `"10m"`)})
}

// policy.md: under 200 us uncached at depth 8.
func BenchmarkResolveAtDepthEight(b *testing.B) {
	chain := deep()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Resolve(chain); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadAResolvedPolicy(b *testing.B) {
	e, err := Resolve(deep())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if SessionLifetime.In(e) == 0 || !SignatureAlgorithms.In(e).Has("ES256") {
			b.Fatal("nothing")
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	e, _ := Resolve(deep())
	if n := testing.AllocsPerRun(100, func() {
		_ = SessionLifetime.In(e)
		_ = Protocols.In(e).Has("oidc")
	}); n != 0 {
		t.Errorf("reading allocates %v times", n)
	}
}

func said(err error) string {
	if err == nil {
		return "no fault"
	}
	return fault.Of(err).Public
}

// security.md S13: what an ancestor wants kept is kept, and is what it may itself.
func TestS13WhatAnAncestorWantsKeptIsKept(t *testing.T) {
	bank := Level{Kind: Org, Name: "MightyBank", Keep: set("mfa.methods", `["passkey"]`)}
	region := Level{Kind: Org, Name: "Region", Keep: set("mfa.methods", `["totp"]`)}
	branch := Level{Kind: Org, Name: "Branch"}
	for _, c := range []struct {
		name, wish string
		chain      []Level
		want       *fault.Error
		says       []string
	}{
		{"both kept", `["passkey","totp"]`, []Level{platform(), bank, region, branch}, nil, nil},
		{"one dropped", `["security_key","totp"]`, []Level{platform(), bank, region, branch}, ErrKept, []string{"MightyBank", "passkey"}},
		{"the other dropped", `["passkey"]`, []Level{platform(), bank, region, branch}, ErrKept, []string{"Region", "totp"}},
		{"it binds below, not itself", `["security_key"]`, []Level{platform(), bank}, nil, nil},
		{"the platform's", `["security_key"]`, []Level{{Kind: Platform, Keep: set("mfa.methods", `["passkey"]`)}, branch}, ErrKept, []string{"the platform"}},
		{"what is no longer allowed need not be kept", `["security_key"]`,
			[]Level{{Kind: Platform, Limits: set("mfa.methods", `["security_key","totp"]`)}, bank, branch}, nil, nil},
	} {
		err := Check(c.chain, "mfa.methods", json.RawMessage(c.wish))
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %s", c.name, said(err))
		}
		for _, part := range c.says {
			if !strings.Contains(said(err), part) {
				t.Errorf("%s: %q does not say %q", c.name, said(err), part)
			}
		}
	}
	for _, c := range []struct {
		name, key, wish string
		chain           []Level
		want            *fault.Error
	}{
		{"allowed", "mfa.methods", `["passkey"]`, []Level{platform(), branch}, nil},
		{"not allowed above", "mfa.methods", `["passkey"]`, []Level{platform(), {Kind: Org, Values: set("mfa.methods", `["security_key"]`)}, branch}, ErrLooser},
		{"not allowed by itself", "mfa.methods", `["passkey"]`, []Level{platform(), {Kind: Org, Values: set("mfa.methods", `["security_key"]`)}}, ErrLooser},
		{"no list", "session.lifetime", `"8h"`, []Level{platform(), branch}, ErrValue},
		{"no member", "mfa.methods", `["password"]`, []Level{platform(), branch}, ErrValue},
		{"no setting", "mfa.method", `["passkey"]`, []Level{platform(), branch}, ErrUnknown},
		{"an app", "mfa.methods", `["passkey"]`, []Level{platform(), {Kind: App}}, ErrLevel},
	} {
		if err := CheckKeep(c.chain, c.key, json.RawMessage(c.wish)); c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %s", c.name, said(err))
		}
	}
	e, err := Resolve([]Level{platform(), bank, region, branch})
	if err != nil || !strings.Contains(e.Why("mfa.methods").Words(), "Whoever narrows it keeps passkey, totp.") {
		t.Errorf("%v: %s", err, e.Why("mfa.methods").Words())
	}
	for name, bad := range map[string][]Level{
		"an app that keeps":         {platform(), {Kind: App, Keep: set("mfa.methods", `["passkey"]`)}},
		"a rule that cannot":        {platform(), {Kind: Org, Keep: set("session.lifetime", `"8h"`)}},
		"a member that is none":     {platform(), {Kind: Org, Keep: set("mfa.methods", `["x"]`)}},
		"a setting that is unknown": {platform(), {Kind: Org, Keep: set("x", `[]`)}},
	} {
		if _, err := Resolve(bad); err == nil {
			t.Errorf("%s was skipped", name)
		}
	}
	if err := CheckPlatform(Level{Limits: set("mfa.methods", `["totp"]`), Keep: set("mfa.methods", `["passkey"]`)}); !errors.Is(err, ErrLooser) {
		t.Errorf("the platform keeps what it does not allow: %v", err)
	}
}

// capabilities.md C1: who, when, why, and what was asked for.
func TestAValueIsExplainedWithWhoWroteItWhenAndWhy(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	bank := Level{Kind: Org, Name: "MightyBank Americas", Values: set("session.lifetime", `"12h"`),
		Notes: map[string]Note{"session.lifetime": {By: "its owner", At: at, Reason: "Auditors ask for it."}}}
	top := Level{Kind: Platform, Limits: set("session.lifetime", `"1d"`), Notes: map[string]Note{"limit session.lifetime": {By: "the operator", Reason: "A shift"}}}
	e, err := Resolve([]Level{top, bank, {Kind: Org, Name: "Branch", Values: set("session.lifetime", `"18h"`)}})
	if err != nil {
		t.Fatal(err)
	}
	const want = "Longest session: 12h, required by MightyBank Americas, set by its owner on 2026-03-01. The reason given: Auditors ask for it. Branch asked for 18h."
	if got := e.Why("session.lifetime").Words(); got != want {
		t.Errorf("explained as %q", got)
	}
	if err := Check([]Level{top, bank, {Kind: Org, Name: "Branch"}}, "session.lifetime", json.RawMessage(`"18h"`)); !strings.Contains(said(err), "Auditors ask for it") {
		t.Errorf("refused as %q", said(err))
	}
	e, _ = Resolve([]Level{top, {Kind: Org, Name: "Branch", Values: set("session.lifetime", `"48h"`)}})
	if got := e.Why("session.lifetime"); got.Note.Reason != "A shift" || got.LimitNote.By != "the operator" {
		t.Errorf("a limit of the platform is explained as %+v", got)
	}
}

func TestAReasonIsOneLineOfText(t *testing.T) {
	for text, ok := range map[string]bool{"": true, "Auditors ask for it.": true, "Prüfer, 監査": true, strings.Repeat("a", 500): true,
		strings.Repeat("a", 501): false, "two\nlines": false, "\x1b[31m": false, "turned \u202eround": false, "\xff": false} {
		if err := CheckReason(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
