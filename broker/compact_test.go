package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// What we write ourselves is what the library writes, but for the signature, and the library believes it.
func TestATokenWeWriteIsTheLibrarysToken(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSigner(Key{KID: "k/1", Alg: "ES256", ActiveAt: time.Unix(1, 0)}, private)
	if err != nil {
		t.Fatal(err)
	}
	for typ, w := range map[string]*scribe{"JWT": s.id, "at+jwt": s.access, "logout+jwt": s.logout} {
		if w.key == nil {
			t.Fatal("the library writes it")
		}
		for i := range 300 { // one in 128 has an R or an S that begins with a zero
			body := []byte(fmt.Sprintf(`{"n":%d,"typ":"ü<>&"}`, i))
			token, err := w.write(body)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := w.with.Sign(body)
			if err != nil {
				t.Fatal(err)
			}
			whole, _ := theirs.CompactSerialize()
			if signed := token[:strings.LastIndex(token, ".")]; signed != whole[:strings.LastIndex(whole, ".")] {
				t.Fatalf("%s is not %s", signed, whole)
			}
			read, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
			if err != nil {
				t.Fatal(err)
			}
			got, err := read.Verify(private.Public())
			if err != nil || string(got) != string(body) || read.Signatures[0].Header.ExtraHeaders[jose.HeaderType] != typ || read.Signatures[0].Header.KeyID != "k/1" {
				t.Fatalf("%s: %s, %v, %v", typ, got, read.Signatures[0].Header, err)
			}
		}
	}
}
