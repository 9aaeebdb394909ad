package saml

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"slices"
	"testing"

	crewjam "github.com/crewjam/saml"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

func (w *world) described() crewjam.EntityDescriptor {
	w.t.Helper()
	kind, doc, err := w.open().(upstream.Describer).Describe()
	if err != nil || kind != "application/samlmetadata+xml" {
		w.t.Fatal(kind, err)
	}
	var e crewjam.EntityDescriptor
	if err := xml.Unmarshal(doc, &e); err != nil {
		w.t.Fatalf("%v\n%s", err, doc)
	}
	return e
}

// Capabilities rows 13 and 16.
func TestOurMetadata(t *testing.T) {
	w := newWorld(t)
	w.cfg.SignRequests = true
	e := w.described()
	if e.EntityID != w.entityID() || len(e.SPSSODescriptors) != 1 {
		t.Fatalf("%+v", e)
	}
	sp := e.SPSSODescriptors[0]
	if len(sp.AssertionConsumerServices) != 1 || sp.AssertionConsumerServices[0].Location != w.acs() || sp.AssertionConsumerServices[0].Binding != crewjam.HTTPPostBinding {
		t.Errorf("reply URLs %+v", sp.AssertionConsumerServices)
	}
	if !*sp.AuthnRequestsSigned || !*sp.WantAssertionsSigned {
		t.Error("what is signed is not said")
	}
	uses := map[string]int{}
	for _, k := range sp.KeyDescriptors {
		uses[k.Use]++
		if len(k.KeyInfo.X509Data.X509Certificates) != 1 {
			t.Error("not one certificate")
		}
	}
	// One RSA signing key; the current and the next encryption key.
	if uses["signing"] != 1 || uses["encryption"] != 2 {
		t.Errorf("keys %v", uses)
	}
}

func TestTheNextSigningKeyIsPublishedBeforeItIsUsed(t *testing.T) {
	w := newWorld(t)
	s := ourSecret()
	next := must(NewKeyPair(rand.Reader, noon, "next", "ES256"))
	s.Signing = append(slices.Clone(s.Signing), next)
	w.conn.Secret = must(json.Marshal(s))
	w.cfg.RequestAlgorithm = "ES256"
	var certs []string
	for _, k := range w.described().SPSSODescriptors[0].KeyDescriptors {
		if k.Use == "signing" {
			certs = append(certs, k.KeyInfo.X509Data.X509Certificates[0].Data)
		}
	}
	if len(certs) != 2 || certs[1] != base64.StdEncoding.EncodeToString(next.der()) {
		t.Errorf("%d signing keys", len(certs))
	}
}

func TestMetadataOfAMigratedConnection(t *testing.T) {
	w := newWorld(t)
	w.cfg.EntityID, w.cfg.ACSURL = `urn:old&"us"`, "https://old.example/acs"
	e := w.described()
	if e.EntityID != w.cfg.EntityID || e.SPSSODescriptors[0].AssertionConsumerServices[0].Location != w.cfg.ACSURL {
		t.Errorf("%+v", e)
	}
	r := w.good()
	r.Audience, r.Recipient, r.Destination = w.cfg.EntityID, w.cfg.ACSURL, w.cfg.ACSURL
	got, report, err := w.arrive(r)
	accepted(t, got, report, err)
	got, _, err = w.arrive(w.good())
	refused(t, got, err, ErrBadDestination)
}
