package webauthn_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"testing"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/mfa/mfatest"
	"github.com/vestibule-id/vestibule/mfa/webauthn"
	"github.com/vestibule-id/vestibule/mfa/webauthn/webauthntest"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

const origin = "https://login.example:8443"

// both makes the two factors.
func both(t *testing.T) (passkeys, keys *webauthn.Factor) {
	t.Helper()
	passkeys, keys, err := webauthn.New(origin)
	if err != nil {
		t.Fatal(err)
	}
	return passkeys, keys
}

func answer(credential string) url.Values { return url.Values{"credential": {credential}} }

func made(d *webauthntest.Device, p templates.Page) url.Values {
	return answer(d.Create(p.(templates.WebAuthnEnrollPage).Options))
}

func got(d *webauthntest.Device, p templates.Page) url.Values {
	return answer(d.Any(p.(templates.WebAuthnPage).Options))
}

func TestPasskeysAndSecurityKeysKeepTheirPromises(t *testing.T) {
	passkeys, keys := both(t)
	for name, k := range map[string]mfatest.Kind{
		"passkey":      {New: func(*mfatest.House) mfa.Factor { return passkeys }, Shows: mfa.Possession | mfa.Verification | mfa.Resistant, AMR: []string{"pop", "user"}},
		"security key": {New: func(*mfatest.House) mfa.Factor { return keys }, Shows: mfa.Possession | mfa.Resistant, AMR: []string{"pop"}},
	} {
		k.Device = func(t *testing.T, _ *mfatest.House) mfatest.Device {
			d := webauthntest.New(t, origin)
			d.Verifies = name == "passkey"
			return mfatest.Device{
				SetUp: func(p templates.Page) url.Values { return made(d, p) },
				Right: func(p templates.Page) url.Values { return got(d, p) },
				Wrong: func(p templates.Page) url.Values {
					far := d.Clone()
					far.Origin = "https://login.example.evil.example"
					return got(far, p)
				},
			}
		}
		t.Run(name, func(t *testing.T) { mfatest.Run(t, k) })
	}
}

// setUp gives Ada a credential.
func setUp(t *testing.T, h *mfatest.House, d *webauthntest.Device, who mfa.Subject) mfa.Enrollment {
	t.Helper()
	q := mfa.Question{Bound: "login-of-" + string(who.Person), Method: h.Factor.Method(), Subject: who, Enrol: true}
	page, id, err := h.Show(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	q.ID = id
	if _, err := h.Answer(t.Context(), q, made(d, page)); err != nil {
		t.Fatal(err)
	}
	list, err := h.EnrollmentsOf(t.Context(), who.Home, who.Person)
	if err != nil || len(list) == 0 {
		t.Fatalf("%v %v", list, err)
	}
	return list[len(list)-1]
}

// Each lie of a device or a browser, alone, is refused: as a second step, as the whole of a sign-in, and
// when a passkey is set up (S22; Web Authentication sections 7.1 and 7.2).
func TestS22EveryLieOfADeviceIsRefused(t *testing.T) {
	passkeys, _ := both(t)
	for name, lie := range map[string]func(d *webauthntest.Device){
		"another origin":         func(d *webauthntest.Device) { d.Origin = "https://evil.example" },
		"a sub-domain":           func(d *webauthntest.Device) { d.Origin = "https://acme.login.example:8443" },
		"another port":           func(d *webauthntest.Device) { d.Origin = "https://login.example" },
		"no TLS":                 func(d *webauthntest.Device) { d.Origin = "http://login.example:8443" },
		"another relying party":  func(d *webauthntest.Device) { d.RPID = "evil.example" },
		"the parent domain":      func(d *webauthntest.Device) { d.RPID = "example" },
		"nobody recognized":      func(d *webauthntest.Device) { d.Verifies = false },
		"a frame":                func(d *webauthntest.Device) { d.Cross = true },
		"another challenge":      func(d *webauthntest.Device) { d.Challenge = "dGhpcyBpcyBub3QgdGhlIGNoYWxsZW5nZSBhdCBhbGw" },
		"somebody else's handle": func(d *webauthntest.Device) { d.Handle = []byte("bob") },
	} {
		t.Run(name, func(t *testing.T) {
			h := mfatest.NewHouse(t).With(passkeys)
			d := webauthntest.New(t, origin)
			setUp(t, h, d, mfatest.Ada())
			liar := d.Clone()
			lie(liar)
			q := mfa.Question{Bound: "login", Method: policy.Passkey, Subject: mfatest.Ada()}
			page, id, err := h.Show(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			q.ID = id
			if p, err := h.Answer(t.Context(), q, got(liar, page)); !errors.Is(err, mfa.ErrWrong) {
				t.Errorf("as a second step: %+v %v", p, err)
			}
			inv, err := h.Invite(t.Context(), "login", "")
			if err != nil {
				t.Fatal(err)
			}
			if p, e, err := h.Recognize(t.Context(), "rlm_1", "login", inv.ID, answer(liar.Any(inv.Options))); !errors.Is(err, mfa.ErrWrong) || e.Person != "" {
				t.Errorf("as a sign-in: %+v %v %v", p, e, err)
			}
			if name == "somebody else's handle" {
				return // nobody says whose it is while it is made
			}
			q.Enrol, q.ID = true, ""
			if page, q.ID, err = h.Show(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Answer(t.Context(), q, made(liar, page)); !errors.Is(err, mfa.ErrWrong) {
				t.Errorf("setting up: %v", err)
			}
		})
	}
}

// What is asked of browsers is what protocols.md section 4 wants.
func TestWhatBrowsersAreAsked(t *testing.T) {
	passkeys, keys := both(t)
	type options struct {
		Attestation string
		Challenge   string
		Timeout     int
		RPID        string `json:"rpId"`
		RP          struct{ ID string }
		User        struct{ ID, Name string }
		Extensions  map[string]any
		Selection   struct {
			ResidentKey        string
			RequireResidentKey bool
			UserVerification   string
			Attachment         string `json:"authenticatorAttachment"`
		} `json:"authenticatorSelection"`
		UserVerification string
		Allow            []any `json:"allowCredentials"`
		Exclude          []any `json:"excludeCredentials"`
	}
	read := func(text string) (o options) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	h := mfatest.NewHouse(t).With(passkeys)
	offer := func() options {
		page, _, err := h.Show(t.Context(), mfa.Question{Bound: "l", Method: h.Factor.Method(), Subject: mfatest.Ada(), Enrol: true})
		if err != nil {
			t.Fatal(err)
		}
		return read(page.(templates.WebAuthnEnrollPage).Options)
	}
	o := offer()
	if o.Selection.ResidentKey != "required" || !o.Selection.RequireResidentKey || o.Selection.UserVerification != "required" || o.Attestation != "" && o.Attestation != "none" ||
		o.RP.ID != "login.example" || len(o.User.ID) != 86 || o.Extensions["credProps"] != true || o.Timeout != 600_000 || len(o.Exclude) != 0 || o.User.Name != "ada@acme.example" {
		t.Errorf("setting a passkey up: %+v", o)
	}
	d := webauthntest.New(t, origin)
	first := setUp(t, h, d, mfatest.Ada())
	if o := offer(); len(o.Exclude) != 1 {
		t.Errorf("a device could be set up twice: %+v", o)
	}
	// One person has one user handle, whatever they set up, and another has another.
	h.With(keys)
	if o := offer(); o.Selection.UserVerification != "discouraged" || o.Selection.Attachment != "cross-platform" || len(o.Exclude) != 1 {
		t.Errorf("setting a security key up: %+v", o)
	}
	setUp(t, h, d, mfatest.Ada())
	setUp(t, h, d, mfatest.Bob())
	users := d.UserHandles()
	if len(users[0]) != 64 || string(users[0]) != string(users[1]) || string(users[1]) == string(users[2]) {
		t.Errorf("user handles %x", users)
	}
	if first.Label != "Chrome on Windows" || webauthn.Synced(first) {
		t.Errorf("kept %+v", first)
	}
	// S31: who is not known is asked for any passkey, and nobody's credentials are named.
	h.With(passkeys)
	inv, err := h.Invite(t.Context(), "l", "")
	if err != nil {
		t.Fatal(err)
	}
	if o := read(inv.Options); o.UserVerification != "required" || len(o.Allow) != 0 || o.RPID != "login.example" {
		t.Errorf("asking anybody: %+v", o)
	}
}

// A passkey says whose it is; a security key does not, nor a passkey of another realm, nor one that nobody
// has. All are told the same, five wrong ones end the question, and no passkey rests for it (S31, S32).
func TestAPasskeySaysWhoseItIs(t *testing.T) {
	passkeys, keys := both(t)
	h := mfatest.NewHouse(t).With(passkeys)
	d := webauthntest.New(t, origin)
	e := setUp(t, h, d, mfatest.Ada())
	id := ""
	ask := func() string {
		t.Helper()
		inv, err := h.Invite(t.Context(), "login", id)
		if err != nil {
			t.Fatal(err)
		}
		id = inv.ID
		return inv.Options
	}
	v := answer(d.Any(ask()))
	p, whose, err := h.Recognize(t.Context(), "rlm_1", "login", id, v)
	if err != nil || whose.Person != "per_ada" || p.Org != "org_acme" || p.Enrollment != e.ID || p.Method != policy.Passkey || !p.Shows.Has(mfa.Verification|mfa.Resistant) {
		t.Fatalf("%+v %+v %v", p, whose, err)
	}
	if _, _, err := h.Recognize(t.Context(), "rlm_1", "login", id, v); !errors.Is(err, mfa.ErrOver) {
		t.Errorf("twice: %v", err)
	}
	if _, _, err := h.Recognize(t.Context(), "rlm_1", "another", id, answer(d.Any(ask()))); !errors.Is(err, mfa.ErrOver) {
		t.Errorf("in another login: %v", err)
	}
	refuse := func(what string, realm directory.RealmID, v url.Values, want error) {
		t.Helper()
		if _, whose, err := h.Recognize(t.Context(), realm, "login", id, v); !errors.Is(err, want) || whose.Person != "" {
			t.Errorf("%s: %v %v", what, whose.Person, err)
		}
	}
	refuse("another realm", "rlm_2", answer(d.Any(ask())), mfa.ErrWrong)
	stranger := webauthntest.New(t, origin)
	stranger.Create(`{"challenge":"eA","rp":{"id":"login.example"},"user":{"id":"eA"}}`)
	refuse("nobody's", "rlm_1", answer(stranger.Any(ask())), mfa.ErrWrong)
	h.With(keys)
	key := webauthntest.New(t, origin)
	setUp(t, h, key, mfatest.Bob())
	h.With(passkeys)
	refuse("a security key", "rlm_1", answer(key.Any(ask())), mfa.ErrWrong)
	refuse("nothing", "rlm_1", nil, mfa.ErrWrong)
	last := ask()
	refuse("the fifth", "rlm_1", answer("{}"), mfa.ErrTries)
	refuse("after it", "rlm_1", answer(d.Any(last)), mfa.ErrOver)
	for range 30 {
		id = ""
		ask()
		refuse("junk", "rlm_1", answer(stranger.Any(ask())), mfa.ErrWrong)
	}
	if _, _, err := h.Recognize(t.Context(), "rlm_1", "login", id, answer(d.Any(ask()))); err != nil {
		t.Errorf("a passkey rests because of strangers: %v", err)
	}
}

// A counter that goes back is refused and recorded; the one that is ahead goes on (section 6.1.1).
func TestACounterThatGoesBackIsRefusedAndRecorded(t *testing.T) {
	passkeys, _ := both(t)
	h := mfatest.NewHouse(t).With(passkeys)
	d := webauthntest.New(t, origin)
	setUp(t, h, d, mfatest.Ada())
	twin := d.Clone()
	q := mfa.Question{Bound: "login", Method: policy.Passkey, Subject: mfatest.Ada()}
	give := func(d *webauthntest.Device) error {
		t.Helper()
		page, id, err := h.Show(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		q.ID = id
		_, err = h.Answer(t.Context(), q, got(d, page))
		return err
	}
	if err := give(d); err != nil {
		t.Fatal(err)
	}
	if err := give(twin); !errors.Is(err, mfa.ErrCopied) {
		t.Errorf("the copy: %v", err)
	}
	if got := h.Recorded(); !slices.Contains(got, audit.FactorDoubted) {
		t.Errorf("recorded %v", got)
	}
	inv, err := h.Invite(t.Context(), "first", "")
	if err != nil {
		t.Fatal(err)
	}
	stale := twin.Clone()
	stale.Counts = false
	if _, _, err := h.Recognize(t.Context(), "rlm_1", "first", inv.ID, answer(stale.Any(inv.Options))); !errors.Is(err, mfa.ErrCopied) {
		t.Errorf("the copy signs in: %v", err)
	}
	if err := give(d); err != nil {
		t.Errorf("the one that is ahead: %v", err)
	}
	// What counts nothing is no copy: synced passkeys stay at 0.
	h = mfatest.NewHouse(t).With(passkeys)
	d = webauthntest.New(t, origin)
	d.Counts, d.Synced = false, true
	e := setUp(t, h, d, mfatest.Ada())
	q.ID = ""
	if err := errors.Join(give(d), give(d)); err != nil || !webauthn.Synced(e) {
		t.Errorf("%v, synced %v", err, webauthn.Synced(e))
	}
}

// Whether a device recognized its user is read from the answer, not from what it once did; a security key
// that does shows as much as a passkey.
func TestRecognizingIsReadFromTheAnswer(t *testing.T) {
	_, keys := both(t)
	h := mfatest.NewHouse(t).With(keys)
	d := webauthntest.New(t, origin)
	setUp(t, h, d, mfatest.Ada())
	for _, verifies := range []bool{true, false, true} {
		d.Verifies = verifies
		q := mfa.Question{Bound: "login", Method: policy.SecurityKey, Subject: mfatest.Ada()}
		page, id, err := h.Show(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		q.ID = id
		p, err := h.Answer(t.Context(), q, got(d, page))
		if err != nil || p.Shows.Has(mfa.Verification) != verifies {
			t.Errorf("verifies %v: %+v %v", verifies, p, err)
		}
	}
}

func TestThereAreNoPasskeysAtAnIPAddress(t *testing.T) {
	for _, at := range []string{"http://127.0.0.1:8080", "https://[::1]:8443", "https://"} {
		if _, _, err := webauthn.New(at); !errors.Is(err, webauthn.ErrAddress) {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, _, err := webauthn.New("http://localhost:8080"); err != nil {
		t.Error(err)
	}
}
