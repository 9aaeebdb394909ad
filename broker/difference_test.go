package broker

import (
	"strings"
	"testing"
)

// A developer who sent a slash too many is told so, and nobody's secrets or control characters are.
func TestTheCauseOfARefusedAddressShowsTheDifference(t *testing.T) {
	const registered = "https://app.example/callback"
	for _, tc := range []struct{ sent, want string }{
		{"https://app.example/callback/", "registered is https://app.example/callback, sent was https://app.example/callback/: a slash too many at the end"},
		{"http://app.example/callback", "the scheme (https, not http)"},
		{"https://www.app.example/callback", ": the host"},
		{"https://app.example:8443/callback", ": the port"},
		{"https://app.example/Callback", "capital letters"},
		{"https://app.example/cb", ": the path"},
		{"https://app.example/callback?token=hunter2", "sent was https://app.example/callback?…: the query"},
		{"https://app.example/callback#token=hunter2", "a fragment"},
		{"http://other.example/x", "sent was http://other.example/x"},
		{"https://ada:hunter2@app.example/callback", "an address that is none"},
		{"https://app.example/\x1b[2Jcallback", "an address that is none"},
		{"https://app.example/\u202ecallback", "sent was https://app.example/?callback"},
		{"", "is missing"},
	} {
		got := difference("redirect_uri", []string{registered}, tc.sent)
		if !strings.Contains(got, tc.want) || strings.Contains(got, "hunter2") || strings.ContainsFunc(strings.ReplaceAll(got, "…", ""), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q: %s", tc.sent, got)
		}
	}
	if got := difference("redirect_uri", []string{registered}, "https://app.example/"+strings.Repeat("a", 9000)); len(got) > 500 {
		t.Errorf("%d bytes", len(got))
	}
	if got := difference("redirect_uri", []string{"https://other.example/", registered}, registered+"/"); !strings.HasPrefix(got, "registered is "+registered+",") {
		t.Errorf("not the nearest: %s", got)
	}
}
