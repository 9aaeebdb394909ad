package oidc

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/upstreamtest"
)

func TestTheIssParameter(t *testing.T) {
	for name, test := range map[string]struct {
		announced bool
		edit      func(url.Values)
		want      error
	}{
		"announced and right":   {true, nil, nil},
		"announced and missing": {true, func(v url.Values) { v.Del("iss") }, ErrIssuer},
		"announced and foreign": {true, func(v url.Values) { v.Set("iss", "https://evil.example") }, ErrIssuer},
		"silent and missing":    {false, func(v url.Values) { v.Del("iss") }, nil},
		"silent and foreign":    {false, func(v url.Values) { v.Set("iss", "https://evil.example") }, ErrIssuer},
		"silent and empty":      {false, func(v url.Values) { v.Set("iss", "") }, ErrIssuer},
		"a slash more":          {true, func(v url.Values) { v.Set("iss", v.Get("iss")+"/") }, ErrIssuer},
		"a foreign refusal": {true, func(v url.Values) {
			v.Set("iss", "https://evil.example")
			v.Del("code")
			v.Set("error", "access_denied")
		}, ErrIssuer},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, nil)
			d.doc = with("authorization_response_iss_parameter_supported", test.announced)
			if _, _, err := d.login(t, attempt(), test.edit); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if test.want != nil && d.hit("/token") != 0 {
				t.Error("the code was shown to the token endpoint all the same")
			}
		})
	}
}

func TestAForeignStateIsRefusedBeforeTheCodeIsUsed(t *testing.T) {
	d := newDesk(t, nil)
	for _, state := range []string{"", "x", strings.Repeat("x", 65)} {
		if _, _, err := d.login(t, attempt(), func(v url.Values) { v.Set("state", state) }); !errors.Is(err, ErrState) {
			t.Errorf("%q: %v", state, err)
		}
	}
	if d.hit("/token") != 0 {
		t.Error("the code was used")
	}
}

func TestRefusalsHaveNames(t *testing.T) {
	for code, want := range map[string]error{
		"access_denied": ErrDenied, "login_required": upstream.ErrDeclined, "server_error": upstream.ErrDeclined,
		"invalid_scope": ErrRequest, "unauthorized_client": ErrRequest, "<script>": ErrRequest, "": ErrRequest,
	} {
		d := newDesk(t, nil)
		_, r, err := d.login(t, attempt(), func(v url.Values) {
			v.Del("code")
			v.Set("error", code)
			v.Set("error_description", "AADSTS50105: <b>Alice</b> is not assigned")
		})
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", code, err, want)
		}
		got := r[len(r)-1].Got
		if !strings.HasSuffix(got, " AADSTS50105") || strings.ContainsAny(got, "<>") {
			t.Errorf("%q is shown as %q", code, got)
		}
	}
}

func TestAnAnswerThatOnlyABrowserBroughtNeverBlamesTheNetwork(t *testing.T) {
	d := newDesk(t, nil)
	for _, code := range []string{"temporarily_unavailable", "server_error", "x"} {
		_, _, err := d.login(t, attempt(), func(v url.Values) { v.Del("code"); v.Set("error", code) })
		if errors.Is(err, upstream.ErrUnreachable) {
			t.Errorf("%s opens the circuit for everybody", code)
		}
	}
}

func TestWhatIsNoTextNeverReachesTheProvider(t *testing.T) {
	d := newDesk(t, nil)
	for _, bad := range []string{"\x00", "\xff", strings.Repeat("x", maxParameter)} {
		for _, name := range []string{"code", "session_state"} {
			_, _, err := d.login(t, attempt(), func(v url.Values) { v.Set(name, v.Get(name)+bad) })
			if !errors.Is(err, upstream.ErrMalformed) || d.hit("/token") != 0 {
				t.Errorf("%s with %.4q: %v after %d calls", name, bad, err, d.hit("/token"))
			}
		}
	}
	_, _, err := d.login(t, attempt(), func(v url.Values) { v["session_state"] = []string{"a", "b"} })
	if !errors.Is(err, upstream.ErrMalformed) || d.hit("/token") != 0 {
		t.Errorf("repeated: %v", err)
	}
}

func TestTheAnswersMethodIsTheConfiguredOne(t *testing.T) {
	for mode, method := range map[string]string{"query": http.MethodGet, "form_post": http.MethodPost} {
		d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.ResponseMode = mode })
		for _, m := range []string{http.MethodGet, http.MethodPost, "", "get"} {
			a := attempt()
			dep, err := d.up.Depart(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			in := d.arrival(t, dep, "alice", upstreamtest.None)
			in.Method = m
			if _, _, err = d.up.Arrive(t.Context(), a, in); (err == nil) != (m == method) {
				t.Errorf("%s by %q: %v", mode, m, err)
			}
		}
	}
}
