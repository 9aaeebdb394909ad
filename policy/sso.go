package policy

var protocols = &words{"oidc", "saml"}

// Protocols are the upstream protocols that an organization's connections may speak.
var Protocols = &Rule[Set]{
	Key:       "sso.protocols",
	Group:     "Single sign-on",
	Title:     "Protocols",
	Help:      "Which protocols the organization's identity providers may use.",
	Default:   protocols.all(),
	Limit:     protocols.all(),
	Loosest:   protocols.all(),
	Strictest: protocols.none(),
	Tighter:   common,
	Read:      protocols.read,
	Show:      Set.String,
	Empty:     Set.Empty,
	Samples:   []Set{protocols.all(), protocols.set("oidc"), protocols.set("saml"), protocols.none()},
}

// algorithms are the names of RFC 7518 section 3.1 and RFC 8037 section 3.1; SAML signatures are judged
// by the names of the same mathematics.
var algorithms = &words{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// SignatureAlgorithms are what an identity provider's signature may be made with. HMAC and "none" are
// no signatures and cannot be named.
var SignatureAlgorithms = &Rule[Set]{
	Key:       "sso.signature_algorithms",
	Group:     "Single sign-on",
	Title:     "Signature algorithms",
	Help:      "Which algorithms the organization's identity providers may sign with.",
	Default:   algorithms.all(),
	Limit:     algorithms.all(),
	Loosest:   algorithms.all(),
	Strictest: algorithms.none(),
	Tighter:   common,
	Read:      algorithms.read,
	Show:      Set.String,
	Empty:     Set.Empty,
	Samples: []Set{algorithms.all(), algorithms.set("ES256", "ES384", "EdDSA"), algorithms.set("RS256", "ES256"),
		algorithms.set("PS512"), algorithms.none()},
}
