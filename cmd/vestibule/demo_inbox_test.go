package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/templates"
)

// sent has the demonstration send one message of each kind, and waits until they are in the inbox.
func (d *demonstration) sent(t *testing.T) {
	t.Helper()
	now := time.Now()
	to, err := d.house.messages.Number("+52 55 1234 5678")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		d.house.messages.SMS(t.Context(), delivery.SMS{To: to, Language: "en", Message: templates.CodeSMS{Code: "482913", App: "Payments", Host: "localhost"}}),
		d.house.messages.Mail(t.Context(), delivery.Mail{To: "ada@harbor.example", Language: "en",
			Message: templates.LinkMail{URL: d.issuer + "/l/secret?a=b&c=d", App: "Payments", Org: "Harbor Supplies", Browser: "Chrome on Linux", At: now, Minutes: 15}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, list := d.get(t, "/demo/inbox")
		if strings.Count(list, `class="choice"`) == 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in the inbox:\n%s", list)
		}
	}
}

func (d *demonstration) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(d.issuer + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestEveryMessageOfTheDemonstrationEndsInItsInbox(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	if _, empty := d.get(t, "/demo/inbox"); !strings.Contains(empty, "Nothing yet.") {
		t.Errorf("%s", empty)
	}
	if _, first := d.get(t, "/"); !strings.Contains(first, `<a href="/demo/inbox">`) {
		t.Error("no way to the inbox from the first page")
	}
	d.sent(t)
	seen := ""
	for n := 1; n <= 2; n++ {
		resp, page := d.get(t, fmt.Sprintf("/demo/inbox/%d", n))
		seen += page
		if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-src 'self'") || strings.Contains(policy, "script") {
			t.Error(policy)
		}
		html, letter := d.get(t, fmt.Sprintf("/demo/inbox/%d/html", n))
		if strings.Contains(page, "<iframe") != (html.StatusCode == http.StatusOK) {
			t.Errorf("%d and\n%s", html.StatusCode, page)
		}
		if html.StatusCode == http.StatusOK {
			if p := html.Header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'") || strings.Contains(p, "allow-scripts") || strings.Contains(p, "allow-same-origin") {
				t.Error(p)
			}
			if !strings.Contains(letter, `<base target="_blank">`) || !strings.Contains(letter, "/l/secret?a=b&amp;c=d") {
				t.Error(letter)
			}
		}
	}
	link := d.issuer + "/l/secret?a=b&amp;c=d"
	for _, want := range []string{`<a href="` + link + `" target="_blank" rel="noreferrer">` + link + `</a>`, "482913 is your code for Payments.", "Chrome on Linux", "@localhost #482913"} {
		if !strings.Contains(seen, want) {
			t.Errorf("no %s in\n%s", want, seen)
		}
	}
	for _, path := range []string{"/demo/inbox/3", "/demo/inbox/0", "/demo/inbox/x", "/demo/inbox/3/html"} {
		if resp, _ := d.get(t, path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}
