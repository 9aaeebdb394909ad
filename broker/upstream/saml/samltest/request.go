package samltest

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"

	"github.com/beevik/etree"
)

// Request is what an AuthnRequest asks, as an identity provider reads it. It is not verified.
type Request struct {
	ID           string
	Issuer       string // the service provider's entityID
	ACS          string
	Destination  string
	NameIDFormat string
	ForceAuthn   bool
	RelayState   string
	// Hint is the address that the service provider put into the Subject, or "".
	Hint string
	Root *etree.Element
}

// ReadRequest reads an AuthnRequest by HTTP-Redirect (the query of a GET) or HTTP-POST (its form).
func ReadRequest(method string, v url.Values) (Request, error) {
	raw, err := base64.StdEncoding.DecodeString(v.Get("SAMLRequest"))
	if err != nil {
		return Request{}, fmt.Errorf("samltest: SAMLRequest: %w", err)
	}
	if method == "GET" {
		if raw, err = io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(raw)), 1<<16)); err != nil {
			return Request{}, fmt.Errorf("samltest: inflate: %w", err)
		}
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(raw); err != nil {
		return Request{}, err
	}
	root := doc.Root()
	if root == nil || root.Tag != "AuthnRequest" {
		return Request{}, fmt.Errorf("samltest: no AuthnRequest")
	}
	r := Request{
		ID:          root.SelectAttrValue("ID", ""),
		ACS:         root.SelectAttrValue("AssertionConsumerServiceURL", ""),
		Destination: root.SelectAttrValue("Destination", ""),
		ForceAuthn:  root.SelectAttrValue("ForceAuthn", "") == "true",
		RelayState:  v.Get("RelayState"),
		Root:        root,
	}
	if e := root.FindElement("./Issuer"); e != nil {
		r.Issuer = e.Text()
	}
	if e := root.FindElement("./NameIDPolicy"); e != nil {
		r.NameIDFormat = e.SelectAttrValue("Format", "")
	}
	if e := root.FindElement("./Subject/NameID"); e != nil {
		r.Hint = e.Text()
	}
	return r, nil
}
