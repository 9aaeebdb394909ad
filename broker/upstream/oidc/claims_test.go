package oidc

import (
	"errors"
	"strings"
	"testing"
)

func TestRepeatedClaimsAreRefused(t *testing.T) {
	d := newDesk(t, nil)
	d.sign = func(payload []byte) string {
		return d.signer.jws([]byte(`{"sub":"admin",` + string(payload[1:])))
	}
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrIDToken) {
		t.Fatalf("got %v", err)
	}
}

func TestInvalidUTF8InClaimsIsRefused(t *testing.T) {
	d := newDesk(t, nil)
	d.sign = func(payload []byte) string {
		return d.signer.jws([]byte(strings.Replace(string(payload), "alice", "al\xffce", 1)))
	}
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrIDToken) {
		t.Fatalf("got %v", err)
	}
}

func TestSomethingBehindTheClaimsIsRefused(t *testing.T) {
	d := newDesk(t, nil)
	d.sign = func(payload []byte) string { return d.signer.jws(append(payload, `{"sub":"admin"}`...)) }
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrIDToken) {
		t.Fatalf("got %v", err)
	}
}
