package oidc

import "github.com/vestibule-id/vestibule/internal/fault"

// What can be wrong with a provider or its answer. The sentences are read by people who sign in; what
// was got and expected stands in the Report, for their administrator.
var (
	ErrDiscovery     = fault.New(fault.Upstream, "oidc.discovery", "The organization's sign-in service does not describe itself as it must.")
	ErrIssuer        = fault.New(fault.Upstream, "oidc.issuer", "The answer came from another sign-in service than the one that is set up.")
	ErrClientAuth    = fault.New(fault.Upstream, "oidc.client_auth", "The organization's sign-in service does not accept our client id or secret.")
	ErrDenied        = fault.New(fault.Denied, "oidc.denied", "The organization's sign-in service did not let you in. Its administrator may have to assign you to this application.")
	ErrRequest       = fault.New(fault.Upstream, "oidc.request", "The organization's sign-in service did not accept our request.")
	ErrState         = fault.New(fault.Invalid, "oidc.state", "This sign-in answer belongs to another attempt.")
	ErrNonce         = fault.New(fault.Upstream, "oidc.nonce", "This sign-in answer was made for another attempt.")
	ErrAudience      = fault.New(fault.Upstream, "oidc.audience", "The sign-in answer was made for another application.")
	ErrExpired       = fault.New(fault.Upstream, "oidc.expired", "The sign-in answer is too old.")
	ErrNotYet        = fault.New(fault.Upstream, "oidc.not_yet", "The sign-in answer is not valid yet: the clock of the organization's sign-in service is ahead.")
	ErrSignature     = fault.New(fault.Upstream, "oidc.signature", "The sign-in answer is not signed by a key of the organization's sign-in service.")
	ErrAlg           = fault.New(fault.Upstream, "oidc.alg", "The sign-in answer is signed in a way that is not accepted here.")
	ErrIDToken       = fault.New(fault.Upstream, "oidc.id_token", "The sign-in answer could not be read.")
	ErrSubject       = fault.New(fault.Upstream, "oidc.subject", "The sign-in answer does not say who you are.")
	ErrAccessToken   = fault.New(fault.Upstream, "oidc.at_hash", "Two parts of the sign-in answer do not belong together.")
	ErrAuthTime      = fault.New(fault.Upstream, "oidc.auth_time", "You have to prove yourself again, and the organization's sign-in service did not ask you to.")
	ErrTenant        = fault.New(fault.Upstream, "oidc.tenant", "You signed in to another tenant than the organization's.")
	ErrHostedDomain  = fault.New(fault.Upstream, "oidc.hosted_domain", "You signed in with an account outside the organization.")
	ErrEmail         = fault.New(fault.Upstream, "oidc.email", "The organization's sign-in service sent an e-mail address that cannot be one.")
	ErrTokenEndpoint = fault.New(fault.Upstream, "oidc.token_endpoint", "The organization's sign-in service did not complete the sign-in.")
	ErrUserInfo      = fault.New(fault.Upstream, "oidc.userinfo", "The organization's sign-in service did not tell who you are.")
)
