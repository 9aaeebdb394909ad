package saml

// The envelope: what the response says about itself, and how its assertion is reached.

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// judge looks at one arrival.
type judge struct {
	*provider
	attempt upstream.Attempt
	now     time.Time
	skew    time.Duration
	notes   notes
	reader  *reader
}

// document takes the bytes out of an arrival.
func document(in upstream.Arrival) ([]byte, error) {
	// Responses come by HTTP-POST alone (SAML Profiles 4.1.2); artifacts would make us fetch.
	if in.Method != http.MethodPost || len(in.Values["SAMLart"]) > 0 {
		return nil, upstream.ErrMalformed.Because("not the HTTP-POST binding")
	}
	for _, name := range []string{"SAMLResponse", "RelayState"} {
		if len(in.Values[name]) > 1 {
			return nil, upstream.ErrMalformed.Because("repeated " + name)
		}
	}
	text := in.Values.Get("SAMLResponse")
	if text == "" || len(text) > maxBytes {
		return nil, upstream.ErrMalformed.Because("no SAMLResponse, or one that is too long")
	}
	b, err := unbase64(text)
	if err != nil {
		return nil, upstream.ErrMalformed.With(err)
	}
	return b, nil
}

// run is the whole examination, cheap things first.
func (j *judge) run(ctx context.Context, in upstream.Arrival) (upstream.Assertion, error) {
	raw, err := document(in)
	if err != nil {
		return upstream.Assertion{}, err
	}
	if err := j.ours(in); err != nil {
		return upstream.Assertion{}, err
	}
	j.reader = newReader()
	root, err := j.reader.read(raw)
	if err != nil {
		j.notes.add("document", false, err.Error(), "one well-formed SAML response")
		return upstream.Assertion{}, upstream.ErrMalformed.With(err)
	}
	if err := j.envelope(root); err != nil {
		return upstream.Assertion{}, err
	}
	e, err := j.trusted(ctx, root)
	if err != nil {
		return upstream.Assertion{}, err
	}
	return j.assertion(ctx, e)
}

// ours says whether this arrival can answer the attempt at all.
func (j *judge) ours(in upstream.Arrival) error {
	if j.attempt.Nonce == "" {
		return ErrUnsolicited
	}
	if got := in.Values.Get("RelayState"); got != j.attempt.ID {
		return ErrInResponseTo.Because("RelayState")
	}
	if !j.attempt.Until.IsZero() && j.now.After(j.attempt.Until) {
		return ErrLoginOver
	}
	return nil
}

func (j *judge) envelope(root *etree.Element) error {
	if !is(root, nsProtocol, "Response") || attr(root, "Version") != "2.0" || attr(root, "ID") == "" {
		j.notes.add("document", false, root.Tag+" "+attr(root, "Version"), "Response 2.0")
		return upstream.ErrMalformed.Because("not a SAML 2.0 response")
	}
	if err := j.inResponseTo("in_response_to", attr(root, "InResponseTo")); err != nil {
		return err
	}
	if err := j.issuer(root, false); err != nil {
		return err
	}
	if err := j.destination(root); err != nil {
		return err
	}
	if err := j.issued(root, true); err != nil {
		return err
	}
	return j.status(root)
}

func (j *judge) inResponseTo(name, got string) error {
	if got == "" {
		j.notes.add(name, false, "none", "our request")
		return ErrUnsolicited
	}
	// The request ID is as secret as the attempt: neither is written down.
	if !j.notes.add(name, got == requestID(j.attempt), "", "our request") {
		return ErrInResponseTo
	}
	return nil
}

func requestID(a upstream.Attempt) string { return "_" + a.Nonce }

const formatEntity = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"

func (j *judge) issuer(e *etree.Element, must bool) error {
	found := all(e, nsAssertion, "Issuer")
	if len(found) == 0 && !must {
		return nil
	}
	if len(found) != 1 {
		return ErrBadIssuer.Because("not exactly one issuer")
	}
	if f := attr(found[0], "Format"); f != "" && f != formatEntity {
		return ErrBadIssuer.Because("issuer format")
	}
	got := plain(found[0])
	if !j.notes.add("issuer", got == j.connection.Issuer, got, j.connection.Issuer) {
		return ErrBadIssuer
	}
	return nil
}

// SAML Bindings 3.5.5.2: a signed message says where it was sent to.
func (j *judge) destination(root *etree.Element) error {
	got := attr(root, "Destination")
	if got == "" && len(all(root, nsDsig, "Signature")) == 0 {
		return nil
	}
	if !j.notes.add("destination", got == j.acs, got, j.acs) {
		return ErrBadDestination
	}
	return nil
}

// issued refuses what lies in the future. The past is no matter here: a person may take ten minutes
// at the provider, and the windows of the assertion decide.
func (j *judge) issued(e *etree.Element, measure bool) error {
	t, err := instant(e, "IssueInstant")
	if err != nil {
		return err
	}
	if measure {
		j.clock(t)
	}
	if t.After(j.now.Add(j.skew)) {
		j.notes.add("issued", false, at(t), "not after "+at(j.now))
		return ErrNotYet
	}
	return nil
}

// clock reports how far the provider's clock is off, as well as one answer can tell.
func (j *judge) clock(issued time.Time) {
	off := "in step"
	ok := true
	switch {
	case issued.After(j.now.Add(time.Second)):
		off, ok = "ahead by "+issued.Sub(j.now).Round(time.Second).String(), issued.Sub(j.now) <= j.skew
	case !j.attempt.At.IsZero() && issued.Before(j.attempt.At.Add(-time.Second)):
		late := j.attempt.At.Sub(issued)
		off, ok = "behind by at least "+late.Round(time.Second).String(), late <= j.skew
	}
	j.notes.add("clock", ok, off, "within "+j.skew.String())
}

func (j *judge) status(root *etree.Element) error {
	top := only(only(root, nsProtocol, "Status"), nsProtocol, "StatusCode")
	if top == nil {
		return upstream.ErrMalformed.Because("not exactly one status")
	}
	code := attr(top, "Value")
	if code == statusPrefix+"Success" {
		return nil
	}
	second := attr(only(top, nsProtocol, "StatusCode"), "Value")
	j.notes.add("status", false, strings.TrimSpace(short(code)+" "+shortOrNone(second)), "Success")
	for _, c := range []string{second, code} {
		name, ours := strings.CutPrefix(c, statusPrefix)
		if f, known := statusFaults[name]; ours && known {
			return f
		}
	}
	return errStatusOther
}

func shortOrNone(uri string) string {
	if uri == "" {
		return ""
	}
	return short(uri)
}

// trusted leads to the assertion that a key of the connection vouches for.
func (j *judge) trusted(ctx context.Context, root *etree.Element) (*etree.Element, error) {
	v := &verifier{keys: j.keys(), allowed: j.attempt.Demands.Allows(j.algorithms(ctx)), notes: &j.notes}
	sig, err := signatureOf(root)
	if err != nil {
		return nil, err
	}
	if sig != nil {
		if err := v.verify(root, sig); err != nil {
			j.unknownKey(ctx, err)
			return nil, err
		}
	}
	e, blind, err := j.reach(root, sig != nil)
	if err != nil || sig != nil {
		return e, err
	}
	mark := len(j.notes.report)
	err = j.vouched(ctx, v, e)
	if err != nil && blind {
		// Anything but one answer for all failures would tell an attacker who changes a CBC cipher
		// text what it decrypted to (XML Encryption 1.1 section 6.1).
		j.notes.report = j.notes.report[:mark]
		return nil, j.undecrypted(err)
	}
	return e, err
}

// vouched verifies the assertion's own signature.
func (j *judge) vouched(ctx context.Context, v *verifier, e *etree.Element) error {
	sig, err := signatureOf(e)
	if err != nil {
		return err
	}
	if sig == nil {
		j.notes.add("signature", false, "none", "a signed assertion or response")
		return ErrUnsigned
	}
	err = v.verify(e, sig)
	if err != nil {
		j.unknownKey(ctx, err)
	}
	return err
}

// reach finds the assertion, decrypting it where it must. blind says that nothing may be told of what
// was inside before a signature proves it.
func (j *judge) reach(root *etree.Element, proved bool) (e *etree.Element, blind bool, err error) {
	clear, closed := all(root, nsAssertion, "Assertion"), all(root, nsAssertion, "EncryptedAssertion")
	if len(clear)+len(closed) != 1 {
		j.notes.add("document", false, "no assertion or several", "one assertion")
		return nil, false, upstream.ErrMalformed.Because("not exactly one assertion")
	}
	if len(clear) == 1 {
		if j.config.RequireEncrypted || j.attempt.Demands.Encrypted {
			return nil, false, ErrNotEncrypted
		}
		return clear[0], false, nil
	}
	e, gcm, err := j.decrypt(closed[0])
	return e, !gcm && !proved, err
}

func (j *judge) decrypt(closed *etree.Element) (e *etree.Element, gcm bool, err error) {
	s, err := unseal(closed, j.config.AllowCBC, &j.notes)
	if err != nil {
		return nil, false, err
	}
	keys, err := j.secrets.decryption()
	if err != nil {
		return nil, false, err
	}
	b, err := s.open(keys)
	if err != nil {
		return nil, false, j.undecrypted(err)
	}
	if e, err = j.reader.readInto(closed, b); err != nil {
		return nil, false, j.undecrypted(err)
	}
	if !is(e, nsAssertion, "Assertion") {
		return nil, false, j.undecrypted(errors.New("not an assertion"))
	}
	return e, s.cipher.gcm, nil
}

func (j *judge) undecrypted(err error) error {
	j.notes.add("encryption", false, "", "encrypted to this connection's certificate")
	return ErrDecrypt.With(err)
}
