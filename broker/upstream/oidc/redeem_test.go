package oidc

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/internal/outbound"
)

func TestTheTokenEndpointsRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"wrong secret":             {401, `{"error":"invalid_client","error_description":"AADSTS7000215: eyJraWQ"}`, ErrClientAuth},
		"wrong secret, as a 400":   {400, `{"error":"invalid_client"}`, ErrClientAuth},
		"a bare 401":               {401, `nope`, ErrClientAuth},
		"the code is used":         {400, `{"error":"invalid_grant"}`, ErrTokenEndpoint},
		"broken":                   {500, `<html>stack trace</html>`, ErrTokenEndpoint},
		"a gateway":                {502, `<html></html>`, upstream.ErrUnreachable},
		"too many requests":        {429, `{"error":"slow_down"}`, upstream.ErrBusy},
		"away":                     {503, ``, upstream.ErrUnreachable},
		"no JSON":                  {200, `hello`, ErrTokenEndpoint},
		"nothing":                  {200, ``, ErrTokenEndpoint},
		"no access token":          {200, `{"id_token":"x"}`, ErrTokenEndpoint},
		"no id_token":              {200, `{"access_token":"x"}`, ErrTokenEndpoint},
		"an id_token of numbers":   {200, `{"access_token":"x","id_token":7}`, ErrTokenEndpoint},
		"an error with status 200": {200, `{"error":"invalid_grant","access_token":"x","id_token":"x"}`, ErrTokenEndpoint},
		"a redirect":               {302, ``, ErrTokenEndpoint},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, nil)
			d.refuse = func(w http.ResponseWriter, path string) bool {
				if path != "/token" {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Location", "https://evil.example/")
				w.WriteHeader(test.status)
				w.Write([]byte(test.body))
				return true
			}
			_, r, err := d.login(t, attempt(), nil)
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if test.want != upstream.ErrUnreachable && errors.Is(err, upstream.ErrUnreachable) {
				t.Errorf("an answer counts as none: %v", err)
			}
			for _, c := range r {
				if strings.ContainsAny(c.Got, "<>") || strings.Contains(c.Got, "eyJ") {
					t.Errorf("raw text: %+v", c)
				}
			}
		})
	}
}

func TestATokenAnswerLargerThanWeReadIsRefused(t *testing.T) {
	d := newDesk(t, nil)
	d.answer = func(v map[string]any) { v["padding"] = strings.Repeat("x", maxAnswer) }
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrTokenEndpoint) || !errors.Is(err, outbound.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
}
