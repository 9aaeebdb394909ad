package saml

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// FuzzResponse: nothing panics, nobody but the person that our signer named is ever signed in, every
// refusal is a fault that can be shown, and what the reader takes has one meaning.
func FuzzResponse(f *testing.F) {
	w := newWorld(f)
	w.cfg.AllowCBC = true
	p := w.open().(*provider)
	p.env.Spend = func(context.Context, upstream.Connection, string, string, time.Time) error { return nil }
	for _, doc := range responseSeeds(w) {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		in := upstream.Arrival{Method: "POST", Values: samltest.Form(doc, w.attempt.ID)}
		got, _, err := p.Arrive(t.Context(), w.attempt, in)
		if err == nil && (got.Key.Subject != "ada@acme.example" || got.Email != "ada@acme.example" || got.Key.Issuer != idp) {
			t.Errorf("signed in %+v", got)
		}
		if err != nil && fault.Of(err).Kind == fault.Internal {
			t.Errorf("no fault: %v", err)
		}
		if err != nil && strings.Contains(err.Error(), "panic") {
			t.Errorf("%v", err)
		}
		sameTwice(t, doc)
	})
}

// sameTwice: the canonical form of what was read, read again, is the same.
func sameTwice(t *testing.T, doc []byte) {
	root, err := newReader().read(doc)
	if err != nil {
		return
	}
	first, err := canonical(root, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := newReader().read(first)
	if err != nil {
		t.Fatalf("the canonical form is refused: %v\n%q\n%q", err, doc, first)
	}
	second, err := canonical(again, nil, "")
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("two meanings: %v\n%q\n%q", err, first, second)
	}
}

func responseSeeds(w *world) [][]byte {
	var out [][]byte
	for _, edit := range []func(*samltest.Response){
		func(*samltest.Response) {},
		func(r *samltest.Response) { r.SignResponse = true },
		func(r *samltest.Response) { r.SignResponse, r.SignAssertion = true, false },
		func(r *samltest.Response) { r.SignAssertion = false },
		func(r *samltest.Response) { r.Signature.Key = idpEC() },
		func(r *samltest.Response) { r.Signature.Key = strangerRSA() },
		func(r *samltest.Response) { r.EncryptTo = ourKey(0).Cert },
		func(r *samltest.Response) {
			r.EncryptTo, r.Encryption = ourKey(1).Cert, samltest.Encryption{Data: samltest.AES128CBC, KeyBeside: true}
		},
		func(r *samltest.Response) {
			r.Status, r.SubStatus = statusPrefix+"Responder", statusPrefix+"AuthnFailed"
		},
		func(r *samltest.Response) {
			r.Tamper = func(e *etree.Element) { e.InsertChildAt(3, evil(find(e, "Assertion"))) }
		},
	} {
		r := w.good()
		edit(&r)
		out = append(out, must(r.XML()))
	}
	return append(out,
		[]byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`),
		[]byte(`<a xmlns="urn:x" xmlns:b="urn:y" b:c="&#xD;&#10;&lt;"><![CDATA[<]]>]]&gt;<b:d xmlns:b=""/></a>`),
		[]byte(`<?xml version="1.0" encoding="utf-8"?><a><?b c?></a>`),
	)
}

// FuzzMetadata: nothing panics, and what is read can be used.
func FuzzMetadata(f *testing.F) {
	m := idpMetadata()
	m.ValidUntil, m.CacheDuration, m.WantSigned = noon, "P1DT2H", true
	good := must(m.XML())
	f.Add(good, "")
	f.Add(good, idp)
	f.Add(must(samltest.Bytes(samltest.Aggregate("a", other(1), samltest.Aggregate("b", m.Element())))), idp)
	f.Add([]byte(`<!DOCTYPE a>`), "")
	f.Add([]byte(`<EntitiesDescriptor xmlns="`+nsMetadata+`" validUntil="x"/>`), "")
	f.Fuzz(func(t *testing.T, doc []byte, wanted string) {
		got, err := ParseMetadata(bytes.NewReader(doc), wanted)
		if err != nil {
			if fault.Of(err).Kind == fault.Internal {
				t.Errorf("no fault: %v", err)
			}
			return
		}
		if got.EntityID == "" || wanted != "" && got.EntityID != wanted || len(got.Certificates) == 0 {
			t.Errorf("%+v", got)
		}
		c := newWorld(t).conn
		c.Issuer = got.EntityID
		c.Config = must(json.Marshal(got.Fill(Config{})))
		if _, err := Check(c); err != nil && fault.Of(err).Kind != fault.Invalid && !errors.Is(err, ErrTransient) {
			t.Errorf("check: %v", err)
		}
	})
}
