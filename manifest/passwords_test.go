package manifest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/directory"
)

const somebody = `
realms: [{handle: main}]
organizations:
  - handle: harbor
    name: Harbor
    people:
      - email: carmen@harbor.example
        email_verified_by: operator
        password_hash: {env: HASH}
`

// A file brings the password that somebody had elsewhere, and never takes away what they have here.
func TestAHashIsImportedForWhoeverHasNoPassword(t *testing.T) {
	w := newWorld(t)
	const hash, chosen = "$2y$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$argon2id$v=19$m=7168,t=5,p=1$J6HYtaNxa1OtOGxX10kUhw$kkqCQp0zQiWC2kqCICjQ+bdfeBRhYwcue7I/alDWFjQ"
	w.env["HASH"] = hash
	w.apply(somebody)
	realm, err := w.Directory.RealmByHandle(t.Context(), "main")
	check(t, err)
	who, err := w.Directory.PeopleByIdentifier(t.Context(), realm.ID, "email", "carmen@harbor.example")
	if err != nil || len(who) != 1 {
		t.Fatal(who, err)
	}
	now := func() directory.Password {
		p, err := w.Directory.PasswordOf(t.Context(), who[0].Home, who[0].ID)
		check(t, err)
		return p
	}
	if p := now(); p.Hash != hash || p.Source != directory.Imported {
		t.Errorf("%+v", p)
	}
	check(t, w.Directory.SetPassword(t.Context(), directory.Actor{Kind: directory.Operator}, who[0].Home, who[0].ID, directory.NewPassword{Hash: chosen, Source: directory.Chosen}))
	w.apply(somebody)
	if p := now(); p.Hash != chosen {
		t.Errorf("the file took the password away: %+v", p)
	}
	// One that asks for too much, and one that is no hash, are refused and never quoted.
	for _, bad := range []string{"$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "hunter2 in the clear"} {
		w.env["HASH"] = bad
		_, err := w.read(somebody)
		if err == nil || strings.Contains(err.Error()+errorsText(err), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func errorsText(err error) (s string) {
	for ; err != nil; err = errors.Unwrap(err) {
		s += err.Error()
	}
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
