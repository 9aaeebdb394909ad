package policy

const singleSignOn = "Single sign-on"

var protocols = &words{"oidc", "saml"}

// Protocols are the upstream protocols that an organization's connections may speak.
var Protocols = protocols.choice(Rule[Set]{
	Key:     "sso.protocols",
	Group:   singleSignOn,
	Title:   "Protocols",
	Help:    "Which protocols the organization's identity providers may use.",
	Default: protocols.all(),
	Limit:   protocols.all(),
	Empty:   Set.Empty,
})

// SAMLEncryption demands that assertions are encrypted to us.
var SAMLEncryption = demand(Rule[bool]{
	Key:   "sso.saml_encryption",
	When:  "at the next sign-in through the provider",
	Group: singleSignOn,
	Title: "Encrypted SAML assertions",
	Help:  "An assertion that was not encrypted for this service is refused.",
})

// SAMLSignedRequests demands that our requests are signed.
var SAMLSignedRequests = demand(Rule[bool]{
	Key:   "sso.saml_signed_requests",
	When:  "at the next sign-in through the provider",
	Group: singleSignOn,
	Title: "Signed SAML requests",
	Help:  "Requests to SAML providers are signed, whatever the connection says.",
})

// algorithms are the names of RFC 7518 section 3.1 and RFC 8037 section 3.1; SAML signatures are judged
// by the names of the same mathematics.
var algorithms = &words{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// SignatureAlgorithms are what an identity provider's signature may be made with. HMAC and "none" are
// no signatures and cannot be named.
var SignatureAlgorithms = algorithms.choice(Rule[Set]{
	Key:     "sso.signature_algorithms",
	Group:   singleSignOn,
	Title:   "Signature algorithms",
	Help:    "Which algorithms the organization's identity providers may sign with.",
	Default: algorithms.all(),
	Limit:   algorithms.all(),
	Empty:   Set.Empty,
	Samples: []Set{algorithms.set("ES256", "ES384", "EdDSA"), algorithms.set("RS256", "ES256")},
})
