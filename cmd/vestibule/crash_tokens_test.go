//go:build !quick

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
)

// family is what an app was told while its refresh token rotated.
type family struct {
	spent []string // each was answered with the next
	now   string   // the last one that was given
	lost  bool     // now was shown, and no answer came
}

// spin rotates until nobody answers.
func (f *family) spin(m *mortal) {
	for client := (&http.Client{Timeout: 20 * time.Second}); ; {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {f.now}}
		req, err := http.NewRequest(http.MethodPost, m.url+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(m.app.ClientID, m.secret)
		resp, err := client.Do(req)
		if err != nil {
			f.lost = true
			return
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var tok tokenAnswer
		if err != nil || json.Unmarshal(raw, &tok) != nil || tok.Refresh == "" {
			f.lost = true
			return
		}
		f.spent, f.now = append(f.spent, f.now), tok.Refresh
	}
}

// kill -9 while refresh tokens rotate and apps are told of a sign-out: the last token that was given is
// good, none that was spent is, whoever signed out is out, and the app hears of it from the next process.
func TestS16KilledWhileTokensRotateAndAppsAreTold(t *testing.T) {
	told := newReceiver(t, func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) })
	var c company
	m := newMortal(t, func(w *world) {
		w.app, w.secret = w.addApp("desk", func(a *broker.App) { refreshing(a); told.told(a) })
		c = w.addOIDC("acme", nil)
	})
	rotated, refused := 0, 0
	var ended []string // sids
	for range 5 {
		var families []*family
		for range 3 {
			families = append(families, &family{now: m.signInAway(newBrowser(t), c.org).Refresh})
		}
		leaver := newBrowser(t)
		leaving := m.signInAway(leaver, c.org)
		var all sync.WaitGroup
		for _, f := range families {
			all.Go(func() { f.spin(m) })
		}
		time.Sleep(50*time.Millisecond + rand.N(100*time.Millisecond))
		leaver.logout(m.world, url.Values{"id_token_hint": {leaving.ID}})
		ended = append(ended, fmt.Sprint(claims(t, leaving.ID)["sid"]))
		time.Sleep(rand.N(40 * time.Millisecond))
		m.kill()
		all.Wait()
		m.start()
		for _, f := range families {
			rotated += len(f.spent)
			if tok := m.refresh(f.now); tok.Status != http.StatusOK && (!f.lost || tok.Error != "invalid_grant") {
				t.Errorf("the last token that was given, after %d rotations: %d %s", len(f.spent), tok.Status, tok.raw)
			}
			if len(f.spent) < 2 {
				continue
			}
			refused++
			if tok := m.refresh(f.spent[len(f.spent)-2]); tok.Error != "invalid_grant" {
				t.Errorf("a token that was spent before the kill: %d %s", tok.Status, tok.raw)
			}
		}
		if code, fault := leaver.silently(m.world, in(c.org)); code != "" || fault != "login_required" {
			t.Errorf("whoever signed out is in: %q %s", code, fault)
		}
	}
	if rotated == 0 || refused == 0 {
		t.Errorf("nothing was shown: %d rotations, %d spent tokens", rotated, refused)
	}
	eventually(t, "each sign-out is told", func() bool {
		told.mu.Lock()
		defer told.mu.Unlock()
		heard := map[string]bool{}
		for _, tok := range told.tokens {
			heard[fmt.Sprint(claims(t, tok)["sid"])] = true
		}
		for _, sid := range ended {
			if !heard[sid] {
				return false
			}
		}
		if len(heard) != len(ended) {
			t.Fatalf("the app was told of %d sessions, %d ended", len(heard), len(ended))
		}
		return true
	})
}
