// Package webauthn is passkeys and security keys (Web Authentication Level 3): a device signs a challenge
// for our own address and no other, so that no false page can ask for what it answers.
//
// A passkey recognizes its user, is found without anybody being named, and can be the whole of a sign-in.
// A security key is a second step for somebody who is known; where it recognizes its user it shows as much.
package webauthn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	lib "github.com/go-webauthn/webauthn/webauthn"

	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// ErrAddress: browsers use passkeys at names alone, never at an IP address (WebAuthn section 5.1.2, RP ID).
var ErrAddress = errors.New("webauthn: no name to make passkeys for")

// Factor is one of the two kinds.
type Factor struct {
	method mfa.Method
	web    *lib.WebAuthn
}

var (
	_ mfa.Enroller = (*Factor)(nil)
	_ mfa.Finder   = (*Factor)(nil)
)

// timeout is how long a person has for their device, which we hold them to as well. It is the length of a
// ceremony, so that a question is over once.
const timeout = 10 * time.Minute

// New makes passkeys and security keys for the platform's one origin, "https://login.example:8443": exactly
// what browsers must say they were asked at (S22). The relying party is its host. ErrAddress for a host
// that is an IP address.
func New(origin string) (passkeys, securityKeys *Factor, err error) {
	u, err := url.Parse(origin)
	if err != nil || u.Hostname() == "" {
		return nil, nil, errors.Join(ErrAddress, err)
	}
	limit := lib.TimeoutConfig{Enforce: true, Timeout: timeout, TimeoutUVD: timeout}
	web, err := lib.New(&lib.Config{
		RPID: u.Hostname(), RPDisplayName: u.Hostname(), RPOrigins: []string{u.Scheme + "://" + u.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		Timeouts:              lib.TimeoutsConfig{Login: limit, Registration: limit},
		// Nothing that an extension says is used, and password managers say what nobody asked.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, nil, errors.Join(ErrAddress, err)
	}
	return &Factor{policy.Passkey, web}, &Factor{policy.SecurityKey, web}, nil
}

func (f *Factor) Method() mfa.Method { return f.method }

// kept is a credential as an enrollment keeps it (WebAuthn section 4, credential record); its id is the
// enrollment's handle and its signature counter the enrollment's counter.
type kept struct {
	User       []byte   `json:"user"` // the person's user handle, the same in all of theirs
	Key        []byte   `json:"key"`  // COSE
	Transports []string `json:"transports,omitempty"`
	AAGUID     []byte   `json:"aaguid,omitempty"`
	// Verified: its device recognized its user when it was set up. What it did in one answer is asked there.
	Verified bool `json:"uv,omitempty"`
	// Eligible and Backed say whether it can be, and is, copied to other devices: synced, or bound to one.
	Eligible bool `json:"be,omitempty"`
	Backed   bool `json:"bs,omitempty"`
}

// Synced says whether a credential lives on more devices than one, or could: policy may ask.
func Synced(e mfa.Enrollment) bool {
	k, _ := credentialOf(e)
	return k.Eligible
}

func credentialOf(e mfa.Enrollment) (kept, bool) {
	var k kept
	err := json.Unmarshal(e.Public, &k)
	return k, err == nil && len(k.User) > 0 && len(k.Key) > 0 && len(e.Handle) > 0
}

// user is the person of some enrollments, as the library knows people.
type user struct {
	handle      []byte
	name, shown string
	creds       []lib.Credential
}

func (u user) WebAuthnID() []byte                    { return u.handle }
func (u user) WebAuthnName() string                  { return u.name }
func (u user) WebAuthnDisplayName() string           { return u.shown }
func (u user) WebAuthnCredentials() []lib.Credential { return u.creds }

// userOf collects the credentials among enrollments.
func userOf(list []mfa.Enrollment, sub mfa.Subject) user {
	u := user{name: sub.Email, shown: sub.Name}
	if u.name == "" {
		u.name = sub.Name
	}
	if u.shown == "" {
		u.shown = u.name
	}
	for _, e := range list {
		k, ok := credentialOf(e)
		if !ok {
			continue
		}
		if u.handle == nil {
			u.handle = k.User
		}
		u.creds = append(u.creds, stored(e, k))
	}
	return u
}

func stored(e mfa.Enrollment, k kept) lib.Credential {
	c := lib.Credential{
		ID: e.Handle, PublicKey: k.Key,
		Flags:         lib.CredentialFlags{UserPresent: true, UserVerified: k.Verified, BackupEligible: k.Eligible, BackupState: k.Backed},
		Authenticator: lib.Authenticator{AAGUID: k.AAGUID, SignCount: uint32(e.Counter)},
	}
	for _, t := range k.Transports {
		c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
	}
	return c
}

// verification is what is asked of the device besides a touch. Whoever has a security key for a second step
// showed before who they are: a PIN would only be one thing more to lose.
func (f *Factor) verification() protocol.UserVerificationRequirement {
	if f.method == policy.Passkey {
		return protocol.VerificationRequired
	}
	return protocol.VerificationDiscouraged
}

// hints tell the browser what to speak of (section 5.8.7).
func (f *Factor) hints() []protocol.PublicKeyCredentialHints {
	if f.method == policy.Passkey {
		return nil
	}
	return []protocol.PublicKeyCredentialHints{protocol.PublicKeyCredentialHintSecurityKey}
}

// asked is what a ceremony keeps: the session as the library made it, whole, and what the page was given.
type asked struct {
	Session lib.SessionData `json:"s"`
	Options json.RawMessage `json:"o"`
}

// once keeps what a browser is asked, the same until it is answered.
func once(c *mfa.Ceremony, ask func() (options any, session *lib.SessionData, err error)) (string, error) {
	var a asked
	if !c.Kept(&a) {
		options, session, err := ask()
		if err != nil {
			return "", err
		}
		if a.Options, err = json.Marshal(options); err != nil {
			return "", err
		}
		a.Session = *session
		if err := c.Keep(a); err != nil {
			return "", err
		}
	}
	return string(a.Options), nil
}

// taken is the session of the question that is answered now. No challenge is asked twice: whatever becomes
// of the answer, the next question is another one.
func taken(c *mfa.Ceremony) (lib.SessionData, error) {
	var a asked
	ok := c.Kept(&a)
	c.Data = nil
	if !ok || a.Session.Challenge == "" {
		return lib.SessionData{}, mfa.ErrOver
	}
	return a.Session, nil
}

// Ask asks for one of the person's own credentials: who they are was shown before, so naming them tells
// nobody anything (S31).
func (f *Factor) Ask(_ context.Context, c *mfa.Ceremony) (templates.Page, error) {
	u := userOf(c.Enrollments, c.Subject)
	options, err := once(c, func() (any, *lib.SessionData, error) {
		o, s, err := f.web.BeginLogin(u, lib.WithUserVerification(f.verification()), lib.WithAssertionPublicKeyCredentialHints(f.hints()))
		if err != nil {
			return nil, nil, err
		}
		return o.Response, s, nil
	})
	if err != nil {
		return nil, mfa.ErrNotFound.With(err)
	}
	return templates.WebAuthnPage{StepFrame: c.Frame, Key: f.method == policy.SecurityKey, Options: options}, nil
}

// Answer takes a signature by one of the person's credentials, over this question's challenge.
func (f *Factor) Answer(_ context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Passed, error) {
	session, err := taken(c)
	if err != nil {
		return mfa.Passed{}, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer.Get("credential")))
	if err != nil {
		return mfa.Passed{}, wrong(err)
	}
	// Credentials of one person carry one user handle. Should two first ones have been set up at once, each
	// answers with its own.
	i := slices.IndexFunc(c.Enrollments, func(e mfa.Enrollment) bool { return bytes.Equal(e.Handle, parsed.RawID) })
	if i < 0 {
		return mfa.Passed{}, mfa.ErrWrong.Because("not a credential of this person")
	}
	k, ok := credentialOf(c.Enrollments[i])
	if !ok {
		return mfa.Passed{}, mfa.ErrNotFound
	}
	u := userOf(c.Enrollments, c.Subject)
	u.handle, session.UserID = k.User, k.User
	cred, err := f.web.ValidateLogin(u, session, parsed)
	if err != nil {
		return mfa.Passed{}, wrong(err)
	}
	return f.passed(c.Enrollments[i], cred, parsed), nil
}

// Invite asks for any passkey of this address, of nobody in particular.
func (f *Factor) Invite(_ context.Context, c *mfa.Ceremony) (string, error) {
	return once(c, func() (any, *lib.SessionData, error) {
		long := func(o *protocol.PublicKeyCredentialRequestOptions) error {
			o.Timeout = int(c.Until.Sub(c.Started).Milliseconds())
			return nil
		}
		o, s, err := f.web.BeginDiscoverableMediatedLogin(protocol.MediationConditional, lib.WithUserVerification(protocol.VerificationRequired), long)
		if err != nil {
			return nil, nil, err
		}
		return o.Response, s, nil
	})
}

// Handle reads which credential an answer says it is of.
func (f *Factor) Handle(answer url.Values) ([]byte, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer.Get("credential")))
	if err != nil {
		return nil, wrong(err)
	}
	return parsed.RawID, nil
}

// Recognize takes a signature by the one credential of c, with the user handle that was stored with it.
func (f *Factor) Recognize(_ context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Passed, error) {
	session, err := taken(c)
	if err != nil {
		return mfa.Passed{}, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer.Get("credential")))
	if err != nil {
		return mfa.Passed{}, wrong(err)
	}
	whose := func(id, handle []byte) (lib.User, error) {
		u := userOf(c.Enrollments, c.Subject)
		if len(u.creds) != 1 || !bytes.Equal(u.creds[0].ID, id) || !bytes.Equal(u.handle, handle) {
			return nil, mfa.ErrWrong.Because("no such credential")
		}
		return u, nil
	}
	_, cred, err := f.web.ValidatePasskeyLogin(whose, session, parsed)
	if err != nil {
		return mfa.Passed{}, wrong(err)
	}
	return f.passed(c.Enrollments[0], cred, parsed), nil
}

// passed says what a right answer shows. Whether the device recognized its user is read from this answer:
// what is stored says only that it did once.
func (f *Factor) passed(e mfa.Enrollment, cred *lib.Credential, parsed *protocol.ParsedCredentialAssertionData) mfa.Passed {
	flags, count := parsed.Response.AuthenticatorData.Flags, int64(parsed.Response.AuthenticatorData.Counter)
	p := shown(flags.HasUserVerified())
	p.Enrollment = e.ID
	if cred.Authenticator.CloneWarning {
		p.Warn = mfa.WarnClone
	}
	p.Use = func(e *mfa.Enrollment) error {
		// Of two answers with one count, at whatever nodes, the second comes from a copy (section 7.2, step 22).
		if count <= e.Counter && (count != 0 || e.Counter != 0) {
			return mfa.ErrCopied
		}
		k, ok := credentialOf(*e)
		if !ok {
			return mfa.ErrNotFound
		}
		k.Backed = flags.HasBackupState()
		public, err := json.Marshal(k)
		e.Counter, e.Public = count, public
		return err
	}
	return p
}

// shown is what a credential shows: that somebody has its key; and with verification that the device knew
// its user. The names are "user" (RFC 8176 section 2) and "pop", which leaves open whether the key lies in
// hardware (OpenID Connect EAP ACR Values section 3): without attestation nobody knows.
func shown(verified bool) mfa.Passed {
	if !verified {
		return mfa.Passed{Shows: mfa.Possession | mfa.Resistant, AMR: []string{"pop"}}
	}
	return mfa.Passed{Shows: mfa.Possession | mfa.Verification | mfa.Resistant, AMR: []string{"pop", "user"}}
}

// wrong keeps from the page what exactly was wrong, and tells the log.
func wrong(err error) error {
	if p, ok := errors.AsType[*protocol.Error](err); ok {
		return mfa.ErrWrong.Because(p.Type + ": " + p.Details)
	}
	return mfa.ErrWrong.With(err)
}
