package broker

import (
	"bytes"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// What a refresh makes of a family, case by case; over HTTP it is told in provider_refresh_test.go.
func TestATurnOfTheFamily(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	rotating, bound := App{Settings: Settings{Method: SecretBasic}}, App{Settings: Settings{Method: PrivateKey, KeepRefresh: true, DPoP: true}}
	before, present := directory.NewSecret(), directory.NewSecret()
	g := TokenGrant{Refresh: Refresh{Hash: hashOf(present), Prev: hashOf(before), Echo: masked(present, before), At: now}}

	next, ok := g.turn(present, rotating, now.Add(time.Hour))
	if !ok || next.next == nil || next.secret == present || next.next.Hash != hashOf(next.secret) || next.next.Prev != hashOf(present) || !next.next.At.Equal(now.Add(time.Hour)) {
		t.Errorf("the present token: %+v %v", next, ok)
	}
	if got := unmasked(next.next.Echo, present); got != next.secret {
		t.Errorf("the echo gives %q, want %q", got, next.secret)
	}
	if bytes.Contains(next.next.Echo, []byte(next.secret)) || unmasked(next.next.Echo, before) == next.secret {
		t.Error("the echo gives the token to whoever lacks the one before it")
	}
	// S48: where the tokens are bound to keys, the refresh token stays, and its use is noted.
	kept, ok := g.turn(present, bound, now.Add(time.Hour))
	if !ok || kept.secret != present || kept.next == nil || kept.next.Hash != g.Refresh.Hash || !kept.next.At.Equal(now.Add(time.Hour)) {
		t.Errorf("an app that keeps its token: %+v %v", kept, ok)
	}
	if again, ok := g.turn(before, rotating, now.Add(refreshGrace)); !ok || again.secret != present || again.next != nil {
		t.Errorf("the one before, within the grace: %+v %v", again, ok)
	}
	if _, ok := g.turn(before, rotating, now.Add(refreshGrace+time.Millisecond)); ok {
		t.Error("the one before, after the grace")
	}
	if _, ok := g.turn(directory.NewSecret(), rotating, now); ok {
		t.Error("made up")
	}
	first := TokenGrant{Refresh: Refresh{Hash: hashOf(present)}}
	if _, ok := first.turn("", rotating, time.Time{}); ok {
		t.Error("nothing, of a family that was never refreshed")
	}
}

func TestS48OnlyBoundConfidentialAppsKeepTheirRefreshTokens(t *testing.T) {
	for name, c := range map[string]struct {
		Settings
		keeps bool
	}{
		"by default":                      {Settings{Method: SecretBasic}, false},
		"bound tokens":                    {Settings{Method: PrivateKey, DPoP: true}, false},
		"asked for":                       {Settings{Method: PrivateKey, KeepRefresh: true}, false},
		"asked for, bound":                {Settings{Method: PrivateKey, KeepRefresh: true, DPoP: true}, true},
		"asked for, bound, public":        {Settings{Method: NoSecret, KeepRefresh: true, DPoP: true}, false},
		"FAPI 2.0, which forbids routine": {Settings{Method: PrivateKey, FAPI: true, DPoP: true}, true},
	} {
		app := App{Settings: c.Settings}
		if got := app.keepsRefresh(); got != c.keeps {
			t.Errorf("%s: %v", name, got)
		}
		if err := app.checkTargets(); (err != nil) != (c.KeepRefresh && !c.keeps) {
			t.Errorf("%s: registering it: %v", name, err)
		}
	}
}

func TestAudiencesAndScopesAreCheckedWhenAnAppIsRegistered(t *testing.T) {
	for aud, good := range map[string]bool{
		"https://api.example": true, "https://api.example/v1": true, "urn:example:vault": true, "api": false, "/v1": false, "": false,
		"https://api.example/#": false, "https://api.example/#x": false, "https://u@api.example": false, "https://api.example/a b": false, "https://api.example/é": false,
	} {
		if err := (App{Settings: Settings{Audiences: []string{aud}}}).checkTargets(); (err == nil) != good {
			t.Errorf("audience %q: %v", aud, err)
		}
	}
	for scope, good := range map[string]bool{
		"ledger.read": true, "https://api.example/read": true, "": false, "a b": false, `a"b`: false, `a\b`: false, "openid": false, "offline_access": false,
		"organization": false, "organization:acme": false, "organizations": false, "email": false,
	} {
		if err := (App{Settings: Settings{Scopes: []string{scope}}}).checkTargets(); (err == nil) != good {
			t.Errorf("scope %q: %v", scope, err)
		}
	}
}
