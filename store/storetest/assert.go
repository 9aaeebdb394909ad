package storetest

import (
	"crypto/sha256"
	"errors"
	"testing"
)

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func hash(s string) [32]byte { return sha256.Sum256([]byte(s)) }
