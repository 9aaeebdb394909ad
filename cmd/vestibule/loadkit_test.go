package main

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"io"

	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

func sum(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

func challengeOf(verifier string) string {
	h := sum(verifier)
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// spOf reads who asks out of an AuthnRequest by HTTP-Redirect.
func spOf(request string) (fakeidp.SP, error) {
	raw, err := base64.StdEncoding.DecodeString(request)
	if err != nil {
		return fakeidp.SP{}, err
	}
	doc, err := io.ReadAll(flate.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return fakeidp.SP{}, err
	}
	var r struct {
		Issuer string `xml:"Issuer"`
		ACS    string `xml:"AssertionConsumerServiceURL,attr"`
	}
	err = xml.Unmarshal(doc, &r)
	return fakeidp.SP{EntityID: r.Issuer, ACS: []string{r.ACS}}, err
}
