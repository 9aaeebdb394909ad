package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
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

// explained checks a table of docs/errors.md against what was printed, by mistake: what stands in code in a
// row's first cell is in what was printed for some mistake, word for word, and every mistake has its row.
func explained(t *testing.T, heading string, printed map[string]string) {
	t.Helper()
	raw, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(raw), "\n### "+heading+"\n")
	if !ok {
		t.Errorf("docs/errors.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n#")
	rows := map[string][]string{}
	for line := range strings.Lines(section) {
		if cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | "); strings.HasPrefix(line, "| `") {
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
				rows[cell] = append(rows[cell], m[1])
			}
		}
	}
	provoked := map[string]bool{}
	for mistake, said := range printed {
		told := false
		for cell, words := range rows {
			if holdsAll(said, words) {
				told, provoked[cell] = true, true
			}
		}
		if !told {
			t.Errorf("docs/errors.md, %s: nothing explains what is printed after the mistake %q:\n%s", heading, mistake, said)
		}
	}
	for cell := range rows {
		if !provoked[cell] {
			t.Errorf("docs/errors.md, %s: nothing printed %s", heading, cell)
		}
	}
}

func holdsAll(said string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(said, w) {
			return false
		}
	}
	return true
}

// What a person reads who tries requests by hand.
func TestTheManualHasTheAnswersThatCurlShows(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	const form = "application/x-www-form-urlencoded"
	printed := map[string]string{}
	shows := func(mistake string, p *page) {
		printed[mistake] = fmt.Sprintf("HTTP/1.1 %d %s\nWWW-Authenticate: %s\n%s", p.status, http.StatusText(p.status), strings.Join(p.header["Www-Authenticate"], ", "), p.body)
	}
	post := func(mistake, path, contentType, body string) {
		t.Helper()
		shows(mistake, w.raw(http.MethodPost, path, contentType, strings.NewReader(body)))
	}
	r := w.request(in(acme.org))
	code := newBrowser(t).authorize(w, r).code(t)
	good := exchange(code, r.verifier)
	changed := func(name, value string) string {
		v, _ := url.ParseQuery(good.Encode())
		v.Set(name, value)
		return v.Encode()
	}
	shows("GET", w.raw(http.MethodGet, "/token?"+good.Encode(), "", nil))
	post("JSON", "/token", "application/json", `{"grant_type":"authorization_code"}`)
	post("no grant type", "/token", form, "code=x")
	post("a grant type that there is not", "/token", form, "grant_type=password&username=ada&password=x")
	post("a grant type that is not registered", "/token", form, "grant_type=client_credentials")
	post("another redirect URI", "/token", form, changed("redirect_uri", callback+"/"))
	post("no redirect URI", "/token", form, changed("redirect_uri", ""))
	post("another verifier", "/token", form, changed("code_verifier", strings.Repeat("x", 43)))
	w.clock.pass(61 * time.Second)
	post("a code that is too old", "/token", form, good.Encode())
	post("a grant type that is not registered, again", "/token", form, "grant_type=refresh_token&refresh_token=vrt_x")
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error {
		a.Grants = []broker.Grant{broker.GrantCode, broker.GrantRefresh}
		return nil
	}))
	post("a refresh token that nobody gave", "/token", form, "grant_type=refresh_token&refresh_token=vrt_x")
	post("no token to introspect", "/introspect", form, "")
	post("no token to revoke", "/revoke", form, "")
	secret := w.secret
	w.secret = "another-one-that-is-long-enough"
	post("another secret", "/token", form, good.Encode())
	post("another secret at introspect", "/introspect", form, "token=x")
	w.secret = secret
	bearer := func(header string) *page {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/userinfo", nil)
		w.must(err)
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		resp, err := http.DefaultClient.Do(req)
		w.must(err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		w.must(err)
		return &page{req.URL, resp.StatusCode, resp.Header, string(b)}
	}
	shows("no access token", bearer(""))
	shows("an access token that nobody gave", bearer("Bearer made-up"))
	explained(t, "curl", printed)
}

// The pages that a person reads in place of the app's, by their first line, with the cause in the log.
func TestTheManualHasThePagesThatPeopleRead(t *testing.T) {
	raw, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b := newBrowser(t)
	r := w.request(in(acme.org))
	hint := w.redeem(b.authorize(w, r).code(t), r.verifier).ID
	for name, p := range map[string]*page{
		"a redirect URI that is not registered": b.authorize(w, w.request(set("redirect_uri", callback+"/"))),
		"an unknown client":                     b.authorize(w, w.request(set("client_id", "nobody"))),
		"an address to go to after signing out": b.logout(w, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {callback}}),
	} {
		m := regexp.MustCompile(`(?s)<h1[^>]*>(.*?)</h1>`).FindStringSubmatch(p.body)
		if m == nil || p.status < 400 {
			t.Fatalf("%s: no page of ours: %d %s", name, p.status, textOf(p.body))
		}
		if title := strings.TrimSpace(textOf(m[1])); !strings.Contains(string(raw), "\n| "+title+" | ") {
			t.Errorf("%s: docs/errors.md has no %q", name, title)
		}
	}
	for _, cause := range []string{
		"registered is " + callback + ", sent was " + callback + "/: a slash too many at the end",
		"registered is http://127.0.0.1:5555/bye, sent was " + callback,
	} {
		if !strings.Contains(w.logged.String(), cause) {
			t.Errorf("the log does not say %q", cause)
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
