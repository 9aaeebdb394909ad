package policy

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
)

func networks(t *testing.T, texts ...string) NetworkSet {
	t.Helper()
	raw, _ := json.Marshal(texts)
	n, err := readNetworks(raw)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNetworksOfTheSameAddressesAreTheSame(t *testing.T) {
	for _, c := range []struct{ a, b []string }{
		{[]string{"10.0.0.0/9", "10.128.0.0/9"}, []string{"10.0.0.0/8"}},
		{[]string{"10.0.0.0/8", "10.1.2.3"}, []string{"10.0.0.0/8"}},
		{[]string{"10.1.2.3", "10.1.2.3/32"}, []string{"10.1.2.3"}},
		{[]string{"::ffff:10.1.2.3"}, []string{"10.1.2.3"}},
		{[]string{"192.0.2.128/25", "192.0.2.0/26", "192.0.2.64/26"}, []string{"192.0.2.0/24"}},
		{[]string{"2001:db8::/33", "2001:db8:8000::/33"}, []string{"2001:db8::/32"}},
	} {
		if a, b := networks(t, c.a...), networks(t, c.b...); a != b {
			t.Errorf("%v is %v, %v is %v", c.a, a, c.b, b)
		}
	}
	if networks(t, "0.0.0.0/1", "128.0.0.0/1", "::/0") != anywhere {
		t.Error("all addresses are not everywhere")
	}
	if networks(t, "10.0.0.0/8") == networks(t, "::/0") || networks(t, "10.0.0.0/9", "10.128.0.0/10") == networks(t, "10.0.0.0/8") {
		t.Error("different addresses are the same")
	}
}

func TestNetworksHoldTheirAddressesAndNoOthers(t *testing.T) {
	n := networks(t, "192.0.2.0/24", "198.51.100.7", "2001:db8::/32")
	for text, want := range map[string]bool{
		"192.0.2.0": true, "192.0.2.255": true, "192.0.3.0": false, "198.51.100.7": true, "198.51.100.8": false,
		"2001:db8::1": true, "2001:db9::1": false, "::ffff:192.0.2.9": true, "2001:db8::1%eth0": true,
		"::192.0.2.9": false, // an address of IPv6 that only looks like one of IPv4
	} {
		if got := n.Contains(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if n.Contains(netip.Addr{}) || anywhere.Contains(netip.Addr{}) || (NetworkSet{}).Contains(netip.MustParseAddr("192.0.2.1")) {
		t.Error("no address, or no network, is let in")
	}
	if networks(t, "0.0.0.0/0").Contains(netip.MustParseAddr("2001:db8::1")) || networks(t, "::/0").Contains(netip.MustParseAddr("192.0.2.1")) {
		t.Error("one family holds addresses of the other")
	}
	if a := testing.AllocsPerRun(10, func() { n.Contains(netip.MustParseAddr("203.0.113.1")) }); a != 0 {
		t.Errorf("asking takes memory %v times", a)
	}
}

func TestNetworksMeet(t *testing.T) {
	for _, c := range []struct{ a, b, want []string }{
		{[]string{"10.0.0.0/8"}, []string{"10.1.0.0/16", "192.0.2.0/24"}, []string{"10.1.0.0/16"}},
		{[]string{"10.0.0.0/8"}, []string{"192.0.2.0/24"}, nil},
		{[]string{"10.0.0.0/8", "2001:db8::/32"}, []string{"::/0"}, []string{"2001:db8::/32"}},
	} {
		got, want := withinBoth(networks(t, c.a...), networks(t, c.b...)), NetworkSet{}
		if c.want != nil {
			want = networks(t, c.want...)
		}
		if got != want {
			t.Errorf("%v and %v: %v", c.a, c.b, got)
		}
	}
}

func TestWhatIsNoValueIsRefusedInWords(t *testing.T) {
	for _, c := range []struct{ key, wish, says string }{
		{"login.networks", `["10.1.2.3/8"]`, "10.0.0.0/8"},
		{"login.networks", `["office"]`, "no network"},
		{"login.networks", `["fe80::1%eth0"]`, "no network"},
		{"login.networks", `["::ffff:10.0.0.0/104"]`, "IPv4"},
		{"login.networks", `"10.0.0.0/8"`, "a list of networks"},
		{"login.networks", `[]`, "nobody"},
		{"login.networks", `[` + strings.Repeat(`"10.0.0.1",`, mostNetworks) + `"10.0.0.1"]`, "at most"},
		{"login.trusted_connections", `["org_1"]`, "con_"},
		{"login.trusted_connections", `["con_1\ncon_2"]`, "con_"},
		{"login.trusted_connections", `["con_"]`, "con_"},
		{"login.trusted_connections", `"any"`, "limit"},
		{"login.trusted_connections", `null`, "list"},
		{"login.lockout_attempts", `4`, "tighter than 5"},
		{"login.lockout_for", `"16m"`, "tighter than 15m"},
		{"session.max_per_user", `0`, "tighter than 1"},
		{"session.max_per_user", `1.5`, "whole number"},
		{"session.max_per_user", `"3"`, "whole number"},
		{"session.max_per_user", `1e3`, "whole number"},
		{"session.max_per_user", `-1`, "whole number"},
		{"password.min_strength", `"unlimited"`, "tighter than 4"},
		{"password.min_length", `7`, "looser than 8"},
		{"session.lifetime", `"never"`, "looser than 90d"},
		{"mfa.requirement", `"sometimes"`, "off, new_device, always"},
		{"mfa.requirement", `null`, "off, new_device, always"},
		{"mfa.requirement", `false`, "off, new_device, always"},
		{"mfa.methods", `[]`, "nobody"},
		{"mfa.methods", `["sms"]`, "strongest"},
		{"mfa.methods", `["password"]`, "none of"},
		{"login.methods", `["passkey"]`, "strongest"},
		{"session.persistent", `"false"`, "true or false"},
		{"session.persistent", `0`, "true or false"},
	} {
		err := Check([]Level{platform(), {Kind: Org, Name: "Acme"}}, c.key, json.RawMessage(c.wish))
		if err == nil || !strings.Contains(said(err), c.says) {
			t.Errorf("%s %s: %s", c.key, c.wish, said(err))
		}
	}
}

func TestWhatMayBeEmptyAndWhatAnAppMaySet(t *testing.T) {
	for _, c := range []struct {
		kind      Kind
		key, wish string
		ok        bool
	}{
		{Org, "login.when_idp_down", `[]`, true},
		{Org, "login.trusted_connections", `[]`, true},
		{Org, "recovery.methods", `[]`, true},
		{Org, "login.trusted_connections", `["con_1"]`, true},
		{Org, "password.max_age", `"never"`, true},
		{Org, "session.max_per_user", `"unlimited"`, true},
		{Org, "recovery.delay", `"0s"`, true},
		{Org, "mfa.methods", `["passkey"]`, true},
		{Org, "password.min_length", `16`, true},
		{App, "mfa.requirement", `"always"`, true},
		{App, "password.min_length", `16`, false},
	} {
		err := Check([]Level{platform(), {Kind: c.kind, Name: "It"}}, c.key, json.RawMessage(c.wish))
		if c.ok != (err == nil) {
			t.Errorf("%s %s of %s: %s", c.key, c.wish, c.kind, said(err))
		}
	}
}

func TestWhatIsTypedBecomesAValue(t *testing.T) {
	for _, c := range []struct{ key, text, want string }{
		{"session.lifetime", "8h", `"8h"`}, {"session.shared", "false", `false`}, {"password.min_length", "14", `14`},
		{"session.max_per_user", "unlimited", `"unlimited"`}, {"mfa.requirement", "new_device", `"new_device"`},
		{"mfa.methods", "passkey, totp", `["passkey","totp"]`}, {"login.when_idp_down", "", `[]`},
		{"login.networks", "192.0.2.0/24,2001:db8::/32", `["192.0.2.0/24","2001:db8::/32"]`},
		{"login.trusted_connections", "con_1", `["con_1"]`}, {"login.trusted_connections", "any", `"any"`},
		{"password.max_age", "never", `"never"`},
	} {
		if got, err := Typed(c.key, c.text); err != nil || string(got) != c.want {
			t.Errorf("%s=%s: %s, %v", c.key, c.text, got, err)
		}
	}
	for _, c := range []struct{ key, text, says string }{
		{"session.shared", "no", "true or false"}, {"lifetime", "8h", "session.lifetime"}, {"x", "1", "no setting"},
	} {
		if _, err := Typed(c.key, c.text); err == nil || !strings.Contains(said(err), c.says) {
			t.Errorf("%s=%s: %s", c.key, c.text, said(err))
		}
	}
}

func TestWhatHoldsIsWrittenAsItCouldBeSet(t *testing.T) {
	e, err := Resolve([]Level{platform()})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.rules {
		value, _ := r.defaults()
		if got, err := r.read(e.Value(r.key())); err != nil || got != value {
			t.Errorf("%s: %s is read as %v, %v", r.key(), e.Value(r.key()), got, err)
		}
	}
	if (Effective{}).Value("session.lifetime") == nil || e.Value("x") != nil {
		t.Error("a policy that nobody resolved has no values, or what is no setting has one")
	}
}
