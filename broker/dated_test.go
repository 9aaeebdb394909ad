package broker

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// Hashes follow one another as their secrets were made, and are as different as ever.
func TestHashesOfDatedSecretsFollowOneAnother(t *testing.T) {
	at := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	last, seen := [32]byte{}, map[[32]byte]bool{}
	for range 1000 {
		at = at.Add(dateUnit)
		secret := newDated(at)
		h := keyOf(secret)
		if len(secret) != datedLen || bytes.Compare(last[:], h[:]) >= 0 || seen[h] {
			t.Fatalf("%s: %x after %x", secret, h, last)
		}
		last, seen[h] = h, true
		if again := keyOf(newDated(at)); again == h || !bytes.Equal(again[:dateBytes], h[:dateBytes]) {
			t.Fatalf("%x and %x of one moment", again, h)
		}
		if whole := hashOf(secret); !bytes.Equal(whole[dateBytes:], h[dateBytes:]) {
			t.Fatal("it is not the hash of the secret")
		}
	}
}

// Every character of a secret counts, the date's too; and secrets of earlier releases, which bore none, are
// found where they were kept.
func TestADatedSecretIsFoundByTheWholeOfIt(t *testing.T) {
	secret := newDated(time.Unix(1_800_000_000, 0))
	for i := range secret {
		other := []byte(secret)
		other[i] ^= 1
		if keyOf(string(other)) == keyOf(secret) {
			t.Errorf("character %d does not count", i)
		}
	}
	old := directory.NewSecret()
	for _, s := range []string{old, old + "." + strings.Repeat("x", 80), "", "short", strings.Repeat("é", 25)} {
		if keyOf(s) != hashOf(s) {
			t.Errorf("%q has another hash than it had", s)
		}
	}
	if code := secret + ".label"; keyOf(code) == hashOf(code) {
		t.Error("a code's hash bears no date")
	}
}
