package upstream

import (
	"errors"
	"strings"
	"testing"
)

func TestS36AddressesAreWrittenAnewOrRefused(t *testing.T) {
	private := []string{"127.0.0.1:8090", "idp.local:443"}
	for in, want := range map[string]string{
		"https://idp.example":                               "https://idp.example",
		"HTTPS://IDP.Example/SSO":                           "https://idp.example/SSO",
		"https://idp.example:8443/a/b?x=1":                  "https://idp.example:8443/a/b?x=1",
		"https://accounts.google.com/o/saml2/idp?idpid=C01": "https://accounts.google.com/o/saml2/idp?idpid=C01",
		"https://idp.example/a%2Fb":                         "https://idp.example/a%2Fb",
		"https://idp.example/a;b,c'd":                       "https://idp.example/a%3Bb%2Cc%27d",
		"https://idp.example/?b=2&a=%22%3E":                 "https://idp.example/?a=%22%3E&b=2",
		"http://127.0.0.1:8090/x":                           "http://127.0.0.1:8090/x",
		"https://[2606:4700::1111]/":                        "https://[2606:4700::1111]/",
		"http://127.0.0.1:8091/x":                           "",
		"http://idp.example/":                               "",
		"https://x; script-src *":                           "",
		"https://x;script-src/":                             "",
		"https://idp.example/ x":                            "",
		"https://idp.example/\tx":                           "",
		"https://idp.example/\nx":                           "",
		"https://idp.example/\x00":                          "",
		"https://idp.example/%zz":                           "",
		"https://idp.example/?a=%zz":                        "",
		"https://idp.example/?a=1;b=2":                      "",
		"https://idp.example/#x":                            "",
		"https://idp.example/#":                             "",
		"https://a@idp.example/":                            "",
		"https://a:b@idp.example/":                          "",
		"https://:443/":                                     "",
		"https://idp_x.example/":                            "",
		"https://*.example/":                                "",
		"https://idp.example./":                             "",
		"https://" + strings.Repeat("a", 64) + ".example":   "",
		"https://[fe80::1%25lo]/":                           "",
		"https://éxample.org/":                              "",
		"ftp://idp.example/":                                "",
		"javascript:alert(1)":                               "",
		"data:text/html,x":                                  "",
		"/relative":                                         "",
		"":                                                  "",
		"https://idp.example/" + strings.Repeat("a", 2048):  "",
		"https://idp.example/?" + strings.Repeat("!", 1024): "",
	} {
		got, err := CleanURL(in, private)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
		if err == nil {
			if again, err := CleanURL(got, private); again != got || err != nil {
				t.Errorf("%q is not stable: %q, %v", got, again, err)
			}
			if strings.ContainsAny(got, " ;,'\"<>\r\n") {
				t.Errorf("%q can end a header or an attribute", got)
			}
		}
	}
}

func FuzzCleanURL(f *testing.F) {
	for _, s := range []string{"https://idp.example/a?b=c", "https://x; script-src *", "https://a/%2F?x=%00", "https://[::1]:1/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := CleanURL(s, nil)
		if err != nil {
			return
		}
		if again, err := CleanURL(got, nil); again != got || err != nil {
			t.Errorf("%q becomes %q, then %q, %v", s, got, again, err)
		}
		if strings.ContainsAny(got, " ;,'\"<>\r\n\x00") || !strings.HasPrefix(got, "https://") {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}
