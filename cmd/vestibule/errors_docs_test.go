package main

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

// Every error of ours that the manual explains is provoked, and printed as it stands there.
func TestTheManualHasTheSentencesThatAppsAreTold(t *testing.T) {
	raw, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(raw), "## Your app is told")
	table, _, _ = strings.Cut(table, "\n## ")
	w := newWorld(t)
	provoked := 0
	for _, change := range []func(url.Values){
		func(v url.Values) { v.Del("code_challenge"); v.Del("code_challenge_method") },
		set("code_challenge_method", "plain"),
		func(v url.Values) { v.Del("response_type") },
		set("response_type", "token"),
		set("scope", "profile"),
		func(v url.Values) { v.Add("scope", "openid") },
		set("prompt", "none"),
	} {
		q := newBrowser(t).authorize(w, w.request(change)).url.Query()
		if row := "| `" + q.Get("error") + "` | `" + q.Get("error_description") + "` |"; !strings.Contains(table, row) {
			t.Errorf("docs/errors.md has no %s", row)
		}
		provoked++
	}
	if rows := strings.Count(table, "\n| `"); rows != provoked {
		t.Errorf("%d rows, of which %d were provoked", rows, provoked)
	}
}

// The manual has every difference that is told.
func TestTheManualHasTheDifferences(t *testing.T) {
	raw, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## How a request differs")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, x := range unlikely {
		if !strings.Contains(section, x.shows) {
			t.Errorf("docs/errors.md does not tell of %s: %q", x.name, x.shows)
		}
	}
}

// In development the page shows how an address differs; in production only the log does.
func TestThePageShowsTheDifferenceInDevelopmentAlone(t *testing.T) {
	const difference = "registered is " + callback + ", sent was " + callback + "/: a slash too many at the end"
	for _, development := range []bool{true, false} {
		w := worldIn(t, t.TempDir(), func(c *config) { c.Development = development })
		p := newBrowser(t).authorize(w, w.request(set("redirect_uri", callback+"/")))
		p.refusedHere(t, http.StatusBadRequest)
		if strings.Contains(textOf(p.body), difference) != development {
			t.Errorf("development %v: %s", development, textOf(p.body))
		}
		if !strings.Contains(w.logged.String(), difference) {
			t.Errorf("development %v: the log does not say %q", development, difference)
		}
		w.token(url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {callback}, "client_id": {w.app.ClientID}, "client_secret": {w.secret}}, nil).refused(t, "another method", "invalid_client")
		if log := w.logged.String(); !strings.Contains(log, "registered is client_secret_basic, sent was client_secret_post") || strings.Contains(log, w.secret) {
			t.Error("the log does not say which method was sent, or says the secret")
		}
	}
}
