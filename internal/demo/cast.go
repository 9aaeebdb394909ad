package demo

import (
	"encoding/json"
	"strings"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

// The realms, and the apps that live in them.
const (
	realmMain  = "main"
	realmAlpha = "alpha"
	realmBravo = "bravo"

	payments    = "payments"
	partnerDesk = "partner-desk"
	yourApp     = "your-app"
)

// company is one organization of the made-up world, with the identity provider that it brings.
type company struct {
	handle, realm string
	parent        string // handle; "" at the top of its realm
	name          string
	part          string // what it is part of, for its card
	domain        string
	contact       string
	idp           string // what its people call their identity provider; "" has none, and signs them in here
	kind          fakeidp.Kind
	style         fakeidp.Style
	offered       bool // descendants may use its identity provider too
	policy        map[string]json.RawMessage
	facts         [2]string // on its card
	people        []fakeidp.Person
	app           string // where its card leads

	org        directory.OrgID
	connection upstream.Connection
	provider   *fakeidp.Provider
	logo       string // asset name
	logoDark   string
	locale     string // of its pages; "" is the browser's
	brand      string // class of what is dressed in its colors
}

// asked is the organization parameter that means it (from an app of any realm).
func (c *company) asked() string { return c.realm + "/" + c.handle }

// first is whom its card signs in.
func (c *company) first() fakeidp.Person { return c.people[0] }

// cast lists the companies, parents before their children.
func cast() []*company {
	return []*company{
		{
			handle: "techcorp", realm: realmMain, name: "TechCorp Inc", domain: "techcorp.example", contact: "it@techcorp.example",
			idp: "TechCorp ID", kind: fakeidp.OIDC, style: fakeidp.Okta, app: payments,
			facts: [2]string{"OpenID Connect, in the way of Okta", "Says how its people proved themselves"},
			people: []fakeidp.Person{
				person("dana", "Dana Reyes", "techcorp.example", "pwd", "hwk", "mfa"),
				person("theo", "Theo Lind", "techcorp.example"),
			},
		},
		{
			handle: "globalretail", realm: realmMain, name: "GlobalRetail Co", domain: "globalretail.example", contact: "https://globalretail.example/help",
			idp: "GlobalRetail ID", kind: fakeidp.SAML, style: fakeidp.Entra, app: payments,
			facts: [2]string{"SAML 2.0, in the way of Entra ID", "Signed requests, encrypted answers"},
			people: []fakeidp.Person{
				person("mei", "Mei Tanaka", "globalretail.example"),
				person("jonas", "Jonas Weber", "globalretail.example"),
			},
		},
		{
			handle: "harbor", realm: realmMain, name: "Harbor Supplies", domain: "harborsupplies.example", contact: "help@harborsupplies.example",
			app:   payments,
			facts: [2]string{"No identity provider: password, or a link by mail", "Carmen’s password is “lanterns at dusk”"},
			people: []fakeidp.Person{
				person("carmen", "Carmen Delgado", "harborsupplies.example"),
				person("felix", "Felix Adler", "harborsupplies.example"),
			},
		},
		{
			handle: "mightybank-americas", realm: realmAlpha, name: "MightyBank Americas", domain: "mightybank.example", contact: "help@mightybank.example",
			idp: "MightyBank ID", kind: fakeidp.OIDC, style: fakeidp.Entra, offered: true, app: partnerDesk,
			facts: [2]string{"OpenID Connect, good at its banks too", "Olivia belongs to three: you choose one"},
			people: []fakeidp.Person{
				person("olivia", "Olivia Grant", "mightybank.example"),
				person("ben", "Ben Ortiz", "mightybank.example"),
			},
		},
		{
			handle: "acme-bank", realm: realmAlpha, parent: "mightybank-americas", name: "Acme Bank", part: "Part of MightyBank Americas",
			domain: "acmebank.example", contact: "it@acmebank.example",
			idp: "Acme ID", kind: fakeidp.OIDC, style: fakeidp.Okta, app: partnerDesk,
			facts: [2]string{"OpenID Connect, in the way of Okta", "Its own provider, beside its parent’s"},
			people: []fakeidp.Person{
				person("avery", "Avery Cole", "acmebank.example"),
				person("sam", "Sam Okafor", "acmebank.example"),
			},
		},
		{
			handle: "mexbanco", realm: realmAlpha, parent: "mightybank-americas", name: "MexBanco", part: "Part of MightyBank Americas",
			domain: "mexbanco.example", contact: "https://mexbanco.example/ayuda",
			idp: "MexBanco ID", kind: fakeidp.SAML, style: fakeidp.Entra, app: partnerDesk,
			policy: map[string]json.RawMessage{"session.lifetime": json.RawMessage(`"4h"`)},
			facts:  [2]string{"SAML 2.0, its pages speak Spanish", "A session is over after 4 hours"},
			people: []fakeidp.Person{
				person("lucia", "Lucía Herrera", "mexbanco.example"),
				person("diego", "Diego Ramos", "mexbanco.example"),
			},
		},
		{
			handle: "mightybank-emea", realm: realmBravo, name: "MightyBank EMEA", domain: "mightybank-emea.example", contact: "help@mightybank-emea.example",
			idp: "MightyBank EMEA ID", kind: fakeidp.OIDC, style: fakeidp.Entra, app: payments,
			facts: [2]string{"OpenID Connect, in the way of Entra ID", "A realm of its own: nothing crosses over"},
			people: []fakeidp.Person{
				person("noor", "Noor Haddad", "mightybank-emea.example"),
				person("elias", "Elias Braun", "mightybank-emea.example"),
			},
		},
	}
}

// person is somebody at a company; amr is how they proved themselves (RFC 8176), a password when empty.
func person(id, name, domain string, amr ...string) fakeidp.Person {
	given, family, _ := strings.Cut(name, " ")
	return fakeidp.Person{
		ID: id + "-0001", Email: id + "@" + domain, EmailVerified: true, Name: name, Given: given, Family: family, AMR: amr,
	}
}

// hashOfLanterns is what is kept of “lanterns at dusk”, which the first page says aloud.
const hashOfLanterns = "$argon2id$v=19$m=7168,t=5,p=1$J6HYtaNxa1OtOGxX10kUhw$kkqCQp0zQiWC2kqCICjQ+bdfeBRhYwcue7I/alDWFjQ"

// owner is made before anybody signs in: she owns a bank and works at its children too.
const (
	ownerOf = "mightybank-americas"
)

var ownerWorksAt = []string{"acme-bank", "mexbanco"}

// relyingParty is one of the two apps.
type relyingParty struct {
	handle, realm, name, tagline string
	brand, accent                string
	algorithm                    string
	public                       bool
}

var relyingParties = []relyingParty{
	{payments, realmMain, "Payments", "Approve what leaves your accounts.", "#3a55c9", "#f2a65a", "ES256", false},
	{partnerDesk, realmAlpha, "Partner Desk", "Answer the people you work with.", "#9a3b6e", "#5ab1bb", "RS256", true},
}

// doorsOfCast are the handles of everything that listens on a door of its own.
func doorsOfCast() []string {
	var out []string
	for _, c := range cast() {
		if c.idp != "" {
			out = append(out, c.handle)
		}
	}
	for _, r := range relyingParties {
		out = append(out, r.handle)
	}
	return out
}
