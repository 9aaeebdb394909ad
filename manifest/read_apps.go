package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
	"github.com/vestibule-id/vestibule/password"
	"github.com/vestibule-id/vestibule/policy"
)

// policyKeys are the settings of policy.
func policyKeys() []string { return policy.Keys() }

func (d *parse) app(v yamlfile.Value) {
	a := appRecord{at: v.Place(), realm: defaultRealm}
	known := map[string]func(yamlfile.Value){
		"id":        func(v yamlfile.Value) { a.id = directory.AppID(d.id(v, "app_")) },
		"client_id": func(v yamlfile.Value) { a.clientID = d.Text(v) },
		"realm":     func(v yamlfile.Value) { a.realm = d.handle(v) },
		"organization": func(v yamlfile.Value) {
			ref := d.textOrNone(v)
			a.org = &ref
		},
		"connections": func(v yamlfile.Value) {
			refs := []string{}
			if !v.Null() {
				refs = d.Texts(v)
			}
			a.connections = &refs
		},
		"client_secrets": func(v yamlfile.Value) { a.secrets = d.clientSecrets(v) },
		"policy":         d.policy(&a.policy),
	}
	appShape.fields(d.reader, known, &a.form)
	settingsShape.fields(d.reader, known, &a.settings)
	// What RFC 7591 says with a word is one of two here.
	known["application_type"] = d.word(&a.settings, "web", "native", func(s *broker.Settings, yes bool) { s.Native = yes })
	known["subject_type"] = d.word(&a.settings, "public", "pairwise", func(s *broker.Settings, yes bool) { s.Pairwise = yes })
	delete(known, "native")
	delete(known, "pairwise")
	if !d.Fields(v, known) || !d.needs(v, "client_id", a.clientID) {
		return
	}
	d.once(v.Place(), "the app "+a.clientID)
	d.into.apps = append(d.into.apps, a)
}

// word reads one of two words into a setting.
func (d *parse) word(p *patch, no, yes string, set func(*broker.Settings, bool)) func(yamlfile.Value) {
	return func(v yamlfile.Value) {
		is := !v.Null() && d.Choice(v, no, yes) == yes
		*p = append(*p, func(target reflect.Value) { set(target.Addr().Interface().(*broker.Settings), is) })
	}
}

// minSecret is the fewest characters of a client secret: 128 bits in base64url.
const minSecret = 22

// clientSecrets are what an app may present: secrets elsewhere, or their SHA-256.
func (d *parse) clientSecrets(v yamlfile.Value) *[][32]byte {
	out := [][32]byte{}
	if v.Null() {
		return &out
	}
	for _, item := range d.Items(v) {
		if hash, ok := d.clientSecret(item); ok {
			out = append(out, hash)
		}
	}
	return &out
}

func (d *parse) clientSecret(v yamlfile.Value) (hash [32]byte, ok bool) {
	said := len(d.Problems)
	given := ""
	if v.IsMap() {
		quiet := yamlfile.Reader{}
		quiet.Each(v, func(key string, _, value yamlfile.Value) {
			if key == "sha256" {
				given = d.Text(value)
			}
		})
	}
	if given != "" {
		raw, err := hex.DecodeString(given)
		if err != nil || len(raw) != sha256.Size {
			d.Say(v, "A hash of a secret is its SHA-256 in 64 hexadecimal digits.")
			return hash, false
		}
		d.Fields(v, map[string]func(yamlfile.Value){"sha256": func(yamlfile.Value) {}})
		return [32]byte(raw), len(d.Problems) == said
	}
	secret := d.secret(v)
	if len(d.Problems) == said && len(secret) < minSecret {
		d.Say(v, "A client secret has %d characters at least: it must be random, and nobody has to remember it.", minSecret)
	}
	return sha256.Sum256([]byte(secret)), len(d.Problems) == said
}

// forbidden are keys that somebody may try, with why they are none.
var forbidden = []string{"roles", "grants", "operator", "admin", "administrator"}

// passwordHash is a hash of another system, from the environment or a file of its own. It is never quoted:
// passwords can be guessed from it.
func (d *parse) passwordHash(v yamlfile.Value) string {
	hash := strings.TrimSpace(d.secret(v))
	if hash == "" {
		return ""
	}
	if _, err := password.Readable(hash); err != nil {
		d.Say(v, "This is %v. docs/passwords.md lists the forms.", password.ErrHash)
		return ""
	}
	return hash
}

func (d *parse) person(v yamlfile.Value, home *orgRecord) {
	p := personRecord{at: v.Place()}
	vouched := ""
	known := map[string]func(yamlfile.Value){
		"id":                func(v yamlfile.Value) { p.id = directory.PersonID(d.id(v, "per_")) },
		"organization":      func(v yamlfile.Value) { p.home = d.Text(v) },
		"email":             func(v yamlfile.Value) { p.email = d.email(v) },
		"email_verified_by": func(v yamlfile.Value) { vouched = d.Choice(v, "operator") },
		"password_hash":     func(v yamlfile.Value) { p.hash = d.passwordHash(v) },
		"identities":        d.each(func(v yamlfile.Value) { p.identities = append(p.identities, d.identity(v)) }),
		"memberships":       d.each(func(v yamlfile.Value) { p.memberships = append(p.memberships, d.membership(v)) }),
	}
	personShape.fields(d.reader, known, &p.form)
	profileShape.fields(d.reader, known, &p.profile)
	for _, key := range forbidden {
		known[key] = func(v yamlfile.Value) {
			d.Say(v, "No file gives anybody rights over this platform or an organization.")
		}
	}
	if !d.Fields(v, known) {
		return
	}
	p.vouched, p.realm = vouched != "", defaultRealm
	switch {
	case home != nil && p.home != "":
		d.Say(v, "A person inside an organization is at home there. Leave organization out.")
	case home != nil:
		p.home, p.realm = home.handle, home.realm
	default:
		d.needs(v, "organization", p.home)
	}
	if p.id == "" && !p.vouched && len(p.identities) == 0 {
		d.Say(v, "Nothing here says who this is. Give an email with email_verified_by: operator, an identity, or an id.")
	}
	if p.vouched && p.email == "" {
		d.needs(v, "email", p.email)
	}
	if p.vouched && p.email != "" {
		d.once(v.Place(), "the person "+p.email+" of "+p.realm+", at home in "+p.home)
	}
	if p.id != "" {
		d.once(v.Place(), "the person "+string(p.id))
	}
	d.into.people = append(d.into.people, p)
}

func (d *parse) email(v yamlfile.Value) string {
	text := d.Text(v)
	local, domain, ok := strings.Cut(text, "@")
	if text != "" && (!ok || local == "" || domain == "" || strings.ContainsAny(text, " ,;<>\"\t") || strings.Count(text, "@") != 1 || len(text) > 254) {
		d.Say(v, "An e-mail address is expected here, not %s.", yamlfile.Quote(text))
		return ""
	}
	return flows.NormalAddress(text)
}

func (d *parse) identity(v yamlfile.Value) identityRecord {
	i := identityRecord{at: v.Place()}
	d.Fields(v, map[string]func(yamlfile.Value){
		"organization": func(v yamlfile.Value) { i.org = d.Text(v) },
		"connection":   func(v yamlfile.Value) { i.connection = d.Text(v) },
		"subject":      func(v yamlfile.Value) { i.subject = d.Text(v) },
		"issuer":       func(v yamlfile.Value) { i.issuer = d.Text(v) },
		"qualifiers":   func(v yamlfile.Value) { i.qualifiers = d.Text(v) },
	})
	d.needs(v, "connection", i.connection)
	d.needs(v, "subject", i.subject)
	return i
}

func (d *parse) membership(v yamlfile.Value) membershipRecord {
	m := membershipRecord{at: v.Place(), kind: "member"}
	d.Fields(v, map[string]func(yamlfile.Value){
		"organization": func(v yamlfile.Value) { m.org = d.Text(v) },
		"kind":         func(v yamlfile.Value) { m.kind = d.Choice(v, "member", "guest") },
		"until":        func(v yamlfile.Value) { m.until = d.moment(v) },
		"accepts":      func(v yamlfile.Value) { m.accepts = d.textOrNone(v) },
	})
	d.needs(v, "organization", m.org)
	return m
}
