package webauthn

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/url"

	"github.com/go-webauthn/webauthn/protocol"
	lib "github.com/go-webauthn/webauthn/webauthn"

	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// userLen is the length of a user handle, which names a person to their devices and says nothing of them
// (section 14.6.1).
const userLen = 64

// Offer asks the browser to make a credential.
func (f *Factor) Offer(_ context.Context, c *mfa.Ceremony) (templates.Page, error) {
	u := userOf(c.Enrollments, c.Subject)
	options, err := once(c, func() (any, *lib.SessionData, error) {
		if u.handle == nil {
			u.handle = make([]byte, userLen)
			_, _ = rand.Read(u.handle) // never fails
		}
		o, s, err := f.web.BeginRegistration(u,
			lib.WithAuthenticatorSelection(f.selection()), lib.WithPublicKeyCredentialHints(f.hints()),
			lib.WithExclusions(lib.Credentials(u.creds).CredentialDescriptors()), lib.WithExtensions(lib.WithExtensionCredProps()))
		if err != nil {
			return nil, nil, err
		}
		return o.Response, s, nil
	})
	if err != nil {
		return nil, err
	}
	return templates.WebAuthnEnrollPage{StepFrame: c.Frame, Key: f.method == policy.SecurityKey, Options: options}, nil
}

// selection is which devices will do: a passkey must be found without its owner being named, and knows its
// user; a security key is one that is carried about.
func (f *Factor) selection() protocol.AuthenticatorSelection {
	if f.method == policy.Passkey {
		return protocol.AuthenticatorSelection{
			RequireResidentKey: protocol.ResidentKeyRequired(), ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		}
	}
	return protocol.AuthenticatorSelection{
		AuthenticatorAttachment: protocol.CrossPlatform, RequireResidentKey: protocol.ResidentKeyNotRequired(),
		ResidentKey: protocol.ResidentKeyRequirementDiscouraged, UserVerification: protocol.VerificationDiscouraged,
	}
}

// Enroll keeps the credential that the browser made for this question.
func (f *Factor) Enroll(_ context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Enrollment, mfa.Passed, error) {
	session, err := taken(c)
	if err != nil {
		return mfa.Enrollment{}, mfa.Passed{}, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer.Get("credential")))
	if err != nil {
		return mfa.Enrollment{}, mfa.Passed{}, wrong(err)
	}
	u := userOf(c.Enrollments, c.Subject)
	u.handle = session.UserID
	cred, err := f.web.CreateCredential(u, session, parsed)
	if err != nil {
		return mfa.Enrollment{}, mfa.Passed{}, wrong(err)
	}
	k := kept{
		User: session.UserID, Key: cred.PublicKey, AAGUID: cred.Authenticator.AAGUID,
		Verified: cred.Flags.UserVerified, Eligible: cred.Flags.BackupEligible, Backed: cred.Flags.BackupState,
	}
	for _, t := range cred.Transport {
		if len(k.Transports) < mostTransports && len(t) <= transportLen {
			k.Transports = append(k.Transports, string(t))
		}
	}
	public, err := json.Marshal(k)
	if err != nil {
		return mfa.Enrollment{}, mfa.Passed{}, err
	}
	label := makers[hex.EncodeToString(cred.Authenticator.AAGUID)]
	if label == "" {
		label = c.Subject.Place
	}
	return mfa.Enrollment{Public: public, Handle: cred.ID, Counter: int64(cred.Authenticator.SignCount), Label: label}, shown(cred.Flags.UserVerified), nil
}

// Browsers say by what ways a credential is reached; what is kept of it is bounded.
const (
	mostTransports = 8
	transportLen   = 32
)

// makers names who keeps a passkey, by the AAGUID of its kind (section 6.5.1). Anybody can claim one: it is
// a name for its owner to tell their passkeys apart, and nothing rests on it.
var makers = map[string]string{
	"ea9b8d664d011d213ce4b6b48cb575d4": "Google Password Manager",
	"adce000235bcc60a648b0b25f1f05503": "Chrome on Mac",
	"fbfc3007154e4ecc8c0b6e020557d7bd": "Apple Passwords",
	"dd4ec289e01d41c9bb8970fa845d4bf2": "iCloud Keychain",
	"08987058cadc4b81b6e130de50dcbe96": "Windows Hello",
	"9ddd1817af5a4672a2b93e3dd95000a9": "Windows Hello",
	"6028b017b1d44c02b4b3afcdafc96bb2": "Windows Hello",
	"53414d53554e47000000000000000000": "Samsung Pass",
	"bada5566a7aa401fbd9645619a55120d": "1Password",
	"d548826e79b4db40a3d811116f7e8349": "Bitwarden",
	"531126d6e717415c93203d9aa6981239": "Dashlane",
	"0ea242b443c44a1b8b17dd6d0b6baec6": "Keeper",
	"b84e404815dc4dd08640f4f60813c8af": "NordPass",
	"fdb141b25d84443e8a354698c205a502": "KeePassXC",
	"50726f746f6e5061737350726f746f6e": "Proton Pass",
	"cb69481e8ff7403993ec0a2729a154a8": "YubiKey 5",
	"ee882879721c491397753dfcce97072a": "YubiKey 5",
	"fa2b99dc9e3942578f924a30d23c4118": "YubiKey 5 NFC",
	"2fc0579f811347eab116bb5a8db9202a": "YubiKey 5 NFC",
}
