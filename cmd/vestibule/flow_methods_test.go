package main

import (
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/store"
)

// What a flow may ask for from the command line is what serve can ask for.
func TestTheCommandLineKnowsEverySecondStep(t *testing.T) {
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "v.db"), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	have := manifestService(db).Flows.Methods()
	for _, m := range []policy.Method{policy.Passkey, policy.TOTP, policy.Email, policy.SMS} {
		if !slices.Contains(have, m) {
			t.Errorf("%s is missing in %v", m, have)
		}
	}
}
