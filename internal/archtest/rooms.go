package archtest

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// room is one row: a package (or, ending in "/*", each package right below one), its floor, and which
// rooms of ours it may import. Every room may import internal/fault. A package imports only from floors
// below its own, so there can be no cycle.
type room struct {
	name   string
	floor  int
	may    []string
	upTo   int // everything on floors 0 to this one, where it is not 0
	except []string
	why    string
}

// top is the floor of what nobody imports.
const top = 9

// rooms is the table of house.md section 2.
var rooms = []room{
	{name: "internal/fault", floor: 0, why: "the vocabulary of errors knows nobody"},
	{name: "internal/outbound", floor: 0, why: "the guarded dialer knows addresses alone"},
	{name: "internal/brief", floor: 0, why: "short-lived state knows keys and bytes"},
	{name: "audit", floor: 0, why: "everything may write to it, so it is a leaf"},
	{name: "themes", floor: 0, why: "data, never markup"},
	{name: "internal/yamlfile", floor: 0, why: "files that people write, with the places of their mistakes; it knows no setting and no noun"},
	{name: "password/strength", floor: 0, why: "how many guesses a password takes; it knows words and keyboards"},

	{name: "password", floor: 1, may: []string{"password/strength"}, why: "hashes and rules of passwords; whose they are is directory's and the login's"},
	{name: "policy", floor: 1, may: floor0, why: "pure functions"},
	{name: "internal/web", floor: 1, may: floor0, why: "functions that return errors become handlers"},
	{name: "delivery", floor: 1, may: floor0, why: "the outbox knows jobs, not senders"},
	{name: "templates", floor: 1, may: []string{"themes"}, why: "a page is drawn from its struct and a theme"},

	{name: "directory", floor: 2, may: []string{"audit", "policy", "delivery"}, why: "who exists and who may do what"},

	{name: "broker/upstream", floor: 3, may: []string{"directory", "audit", "policy", "internal/outbound", "internal/brief"},
		why: "an organization's identity provider"},
	{name: "mfa", floor: 3, may: []string{"directory", "audit", "policy", "templates", "delivery", "internal/brief"},
		why: "asks for more than the upstream's word"},

	{name: "broker/upstream/*", floor: 4, may: []string{"broker/upstream", "internal/outbound", "directory", "audit"},
		why: "a protocol speaks the contract's types: an identity's key is directory's, a report's checks are audit's"},
	{name: "mfa/*", floor: 4, may: []string{"mfa", "policy", "templates", "delivery", "internal/outbound"}, why: "one factor each"},
	{name: "delivery/*", floor: 4, may: []string{"delivery", "templates", "themes", "audit", "internal/outbound"},
		why: "one sender each; what did not arrive stands in the record"},
	{name: "scim", floor: 4, may: []string{"directory", "audit", "internal/web"}, why: "a protocol with errors of its own"},
	{name: "flows", floor: 4, may: []string{"broker/upstream", "mfa", "password", "directory", "policy", "templates", "themes", "delivery", "audit",
		"internal/web", "internal/brief"}, why: "leads a browser through a login, and never knows the broker"},

	{name: "broker", floor: 5, may: []string{"flows", "broker/upstream", "directory", "policy", "templates", "themes", "delivery", "audit",
		"internal/web", "internal/brief", "internal/outbound"}, why: "the front door for apps"},

	{name: "portal", floor: 6, upTo: 5, except: []string{"internal/outbound"}, why: "people, when nobody is signing in"},
	{name: "api", floor: 6, upTo: 5, except: []string{"internal/outbound"}, why: "the same use cases for programs"},
	{name: "api/client", floor: 0, why: "the public client: whoever imports it imports none of the house"},
	{name: "manifest", floor: 7, upTo: 5, why: "realms to people as files, by the same use cases"},

	{name: "store/redis", floor: 7, may: []string{"internal/brief"}, why: "keeps keys and bytes in Redis; store says what they mean"},
	{name: "store", floor: 8, may: append(storing, "store/redis"), why: "implements what rooms declare; nobody imports it back"},
	{name: "store/*", floor: 8, may: append(storing, "store"), why: "the same, kept elsewhere"},
	{name: "internal/demo", floor: 8, upTo: 7, may: []string{"internal/fakeidp"}, why: "shows the house"},

	{name: "cmd/*", floor: top, upTo: top, why: "wires"},
	{name: "bench", floor: top, may: []string{"internal/fakeidp", "internal/pgtest", "internal/redistest"},
		why: "measures the binary from outside, as apps and browsers see it, beside providers and databases of its own"},

	// What only tests use. None is imported outside tests, other kits and cmd.
	{name: "internal/fakeidp", floor: 7, may: []string{"broker/upstream/saml/samltest"}, why: "an identity provider that is not ours signs with the tests' pen"},
	{name: "internal/browsertest", floor: 0, why: "drives Chromium and knows nothing of what it looks at"},
	{name: "internal/archtest", floor: 0, why: "reads source"},
	{name: "internal/redistest", floor: 0, why: "starts Redis and knows nothing of what is kept there"},
	{name: "internal/smtptest", floor: 0, why: "a mail server that keeps what it is given, and can be told to refuse it"},
	{name: "internal/pgtest", floor: 0, why: "drives PostgreSQL and knows nothing of what is kept in it"},
	{name: "broker/upstream/upstreamtest", floor: 5, may: []string{"broker/upstream", "directory", "audit", "policy", "internal/outbound", "internal/brief"},
		why: "the conformance of every protocol"},
	{name: "broker/upstream/saml/samltest", floor: 5, may: []string{"broker/upstream/saml", "broker/upstream", "internal/outbound", "directory", "audit"},
		why: "writes SAML, rightly and wrongly"},
	{name: "broker/upstream/oidc/oidctest", floor: 5, may: []string{"broker/upstream/oidc", "broker/upstream", "internal/outbound", "directory", "audit"},
		why: "speaks OpenID Connect, rightly and wrongly"},
	{name: "templates/templatestest", floor: 2, may: []string{"templates", "themes"}, why: "the conformance of every page"},
	{name: "mfa/mfatest", floor: 4, may: []string{"mfa", "directory", "audit", "policy", "templates", "delivery", "internal/brief"},
		why: "the conformance of every factor"},
	{name: "mfa/webauthn/webauthntest", floor: 0, why: "an authenticator in software: it knows what browsers are asked, and nothing of who asks"},
	{name: "store/storetest", floor: top, upTo: 8, why: "the contract of every store"},
}

var (
	floor0 = []string{"internal/fault", "internal/outbound", "internal/brief", "themes", "audit"}
	// storing are the rooms that declare what they need kept, and the types those declarations speak.
	storing = []string{"broker", "flows", "broker/upstream", "mfa", "directory", "delivery", "scim", "audit", "themes", "policy",
		"internal/brief", "internal/web", "internal/outbound", "manifest"}
)

// rowOf finds a package's row; its own name wins over a pattern.
func rowOf(name string) (room, bool) {
	for _, pattern := range []string{name, path.Dir(name) + "/*"} {
		if i := slices.IndexFunc(rooms, func(r room) bool { return r.name == pattern }); i >= 0 {
			return rooms[i], true
		}
	}
	return room{}, false
}

// allows says whether the row lets its package import another room of ours.
func (r room) allows(other string) bool {
	if other == "internal/fault" || slices.Contains(r.may, other) {
		return true
	}
	target, known := rowOf(other)
	return known && r.upTo > 0 && target.floor <= r.upTo && !slices.Contains(r.except, other)
}

// forTests says whether a room may be imported by tests, kits and cmd alone.
func forTests(name string) bool {
	return isKit(name) || name == "internal/fakeidp" || name == "internal/demo"
}

func (s *source) imports() {
	for _, f := range s.files {
		row, known := rowOf(f.room)
		if !known {
			s.report(f, f.ast.Package, "room", "%s has no row; add one to internal/archtest/rooms.go, with its reason", f.room)
			continue
		}
		if f.test {
			continue // tests see whatever they need
		}
		for _, spec := range f.ast.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			other, ours := strings.CutPrefix(p, Module)
			switch {
			case !ours:
			case forTests(other) && !mayShow(f.room, other, row):
				s.report(f, spec.Pos(), "import", "%s is for tests and cmd; %s cannot import it", other, f.room)
			case !row.allows(other):
				s.report(f, spec.Pos(), "import", "%s may not import %s (%s)", f.room, other, row.why)
			}
		}
	}
}

// mayShow says whether a room of the product may import one that exists for tests.
func mayShow(importer, other string, row room) bool {
	return strings.HasPrefix(importer, "cmd/") || ((forTests(importer) || importer == "bench") && row.allows(other))
}
