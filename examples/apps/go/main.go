// This program signs people in by Vestibule with go-oidc: / shows who is signed in, /login signs in,
// /refresh gets new tokens, /logout signs out.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// person is whoever is signed in to one browser. A real app keeps this in its database.
type person struct {
	token  *oauth2.Token
	id     string
	claims map[string]any
}

var (
	mu     sync.Mutex
	people = map[string]*person{}
)

func main() {
	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, os.Getenv("ISSUER"))
	if err != nil {
		log.Fatal(err)
	}
	config := oauth2.Config{
		ClientID: os.Getenv("CLIENT_ID"), ClientSecret: os.Getenv("CLIENT_SECRET"),
		Endpoint: provider.Endpoint(), RedirectURL: os.Getenv("BASE_URL") + "/callback",
		Scopes: []string{oidc.ScopeOpenID, "profile", "email", oidc.ScopeOfflineAccess},
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: config.ClientID})

	http.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		state, nonce, secret := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
		for name, value := range map[string]string{"state": state, "nonce": nonce, "pkce": secret} {
			setCookie(w, name, value, 600)
		}
		http.Redirect(w, r, config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(secret)), http.StatusFound)
	})
	http.HandleFunc("GET /callback", handle(func(w http.ResponseWriter, r *http.Request) error {
		if state := cookie(r, "state"); state == "" || r.FormValue("state") != state {
			return errors.New("this answer belongs to no sign-in of this browser")
		}
		if e := r.FormValue("error"); e != "" {
			return fmt.Errorf("%s: %s", e, r.FormValue("error_description"))
		}
		token, err := config.Exchange(r.Context(), r.FormValue("code"), oauth2.VerifierOption(cookie(r, "pkce")))
		if err != nil {
			return err
		}
		p := &person{token: token}
		p.id, _ = token.Extra("id_token").(string)
		id, err := verifier.Verify(r.Context(), p.id)
		if err != nil {
			return err
		}
		if id.Nonce != cookie(r, "nonce") {
			return errors.New("this id token belongs to another sign-in")
		}
		if err := id.Claims(&p.claims); err != nil {
			return err
		}
		session := rand.Text()
		mu.Lock()
		people[session] = p
		mu.Unlock()
		setCookie(w, "session", session, 0)
		http.Redirect(w, r, "/", http.StatusFound)
		return nil
	}))
	http.HandleFunc("GET /{$}", handle(func(w http.ResponseWriter, r *http.Request) error {
		p := signedIn(r)
		if p == nil {
			return answer(w, map[string]any{"signed_in": false})
		}
		info, err := provider.UserInfo(r.Context(), oauth2.StaticTokenSource(p.token))
		if err != nil {
			return err
		}
		var userinfo map[string]any
		if err := info.Claims(&userinfo); err != nil {
			return err
		}
		return answer(w, map[string]any{"signed_in": true, "claims": p.claims, "userinfo": userinfo})
	}))
	http.HandleFunc("GET /refresh", handle(func(w http.ResponseWriter, r *http.Request) error {
		p := signedIn(r)
		if p == nil {
			return errors.New("nobody is signed in")
		}
		old := p.token.RefreshToken
		token, err := config.TokenSource(r.Context(), &oauth2.Token{RefreshToken: old}).Token()
		if err != nil {
			return err
		}
		p.token = token
		return answer(w, map[string]any{"refreshed": token.RefreshToken != old})
	}))
	http.HandleFunc("GET /logout", handle(func(w http.ResponseWriter, r *http.Request) error {
		p := signedIn(r)
		if p == nil {
			return errors.New("nobody is signed in")
		}
		mu.Lock()
		delete(people, cookie(r, "session"))
		mu.Unlock()
		var at struct {
			End string `json:"end_session_endpoint"`
		}
		if err := provider.Claims(&at); err != nil {
			return err
		}
		q := url.Values{"id_token_hint": {p.id}, "post_logout_redirect_uri": {os.Getenv("BASE_URL") + "/"}}
		http.Redirect(w, r, at.End+"?"+q.Encode(), http.StatusFound)
		return nil
	}))

	base, err := url.Parse(os.Getenv("BASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("READY", base)
	log.Fatal(http.ListenAndServe("localhost:"+base.Port(), nil))
}

func signedIn(r *http.Request) *person {
	mu.Lock()
	defer mu.Unlock()
	return people[cookie(r, "session")]
}

func setCookie(w http.ResponseWriter, name, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func cookie(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// handle shows what the library or Vestibule said to whoever develops.
func handle(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			_ = answer(w, map[string]string{"error": "failed", "message": err.Error()})
		}
	}
}
