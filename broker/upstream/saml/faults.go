package saml

import (
	"github.com/vestibule-id/vestibule/internal/fault"
)

// What a SAML answer can be refused for. The Report beside a fault says what was got and what was
// expected; the sentences say what happened, what to do and who can do it.
var (
	ErrUnsolicited  = fault.New(fault.Upstream, "saml.unsolicited", "This sign-in was started at the organization's sign-in service. Start it at the app instead.")
	ErrInResponseTo = fault.New(fault.Upstream, "saml.in_response_to", "This sign-in answer belongs to another sign-in. Start again at the app.")
	ErrLoginOver    = fault.New(fault.Expired, "saml.login_over", "This sign-in took too long. Start again at the app.")

	ErrUnsigned     = fault.New(fault.Upstream, "saml.unsigned", "The identity provider did not sign its answer. Its administrator must let it sign the assertion or the response.")
	ErrSigAlg       = fault.New(fault.Upstream, "saml.sig_alg", "The identity provider signs with an algorithm that is not accepted. Its administrator must set the signature algorithm to RSA-SHA256.")
	ErrDigestAlg    = fault.New(fault.Upstream, "saml.digest_alg", "The identity provider uses a digest algorithm that is not accepted. Its administrator must set the digest algorithm to SHA-256.")
	ErrBadCert      = fault.New(fault.Upstream, "saml.bad_cert", "The identity provider signed with a certificate that this connection does not know. An administrator must add its new certificate here.")
	ErrBadSignature = fault.New(fault.Upstream, "saml.bad_signature", "The signature of the identity provider's answer does not match what it signed. Start again; if it stays so, its administrator must look at what changes the answer on its way.")
	ErrSignedOther  = fault.New(fault.Upstream, "saml.signed_other", "The signature in the identity provider's answer does not cover what it says.")

	ErrEncAlg       = fault.New(fault.Upstream, "saml.enc_alg", "The identity provider encrypts in a way that is not accepted. Its administrator must choose AES-GCM with RSA-OAEP.")
	ErrDecrypt      = fault.New(fault.Upstream, "saml.decrypt", "The identity provider's encrypted answer could not be read. Its administrator must use the encryption certificate of this connection.")
	ErrNotEncrypted = fault.New(fault.Upstream, "saml.not_encrypted", "This connection takes encrypted answers only. The identity provider's administrator must switch encryption on.")

	ErrBadIssuer      = fault.New(fault.Upstream, "saml.bad_issuer", "The answer comes from another identity provider than this connection names. An administrator must compare the entity IDs.")
	ErrBadAudience    = fault.New(fault.Upstream, "saml.bad_audience", "The identity provider's answer is meant for another service. Its administrator must set the audience to this connection's entity ID.")
	ErrBadRecipient   = fault.New(fault.Upstream, "saml.bad_recipient", "The identity provider's answer is addressed to another URL. Its administrator must set the recipient to this connection's reply URL.")
	ErrBadDestination = fault.New(fault.Upstream, "saml.bad_destination", "The identity provider's answer is addressed to another URL. Its administrator must set the reply URL to this connection's.")
	ErrCondition      = fault.New(fault.Upstream, "saml.condition", "The identity provider's answer holds a condition that is not understood here.")
	ErrConfirmation   = fault.New(fault.Upstream, "saml.confirmation", "The identity provider's answer does not say that its bearer may use it.")

	ErrExpired  = fault.New(fault.Upstream, "saml.expired", "The identity provider's answer is too old. Start again; if it stays so, its administrator must check the clock.")
	ErrNotYet   = fault.New(fault.Upstream, "saml.not_yet", "The identity provider's answer lies in the future. Its administrator must check the clock.")
	ErrNotFresh = fault.New(fault.Upstream, "saml.not_fresh", "The app asks for a fresh sign-in, and the identity provider answered with an older one. Sign out there, then start again.")

	ErrNoStatement = fault.New(fault.Upstream, "saml.no_statement", "The identity provider's answer does not say that and when the person signed in.")
	ErrNoSubject   = fault.New(fault.Upstream, "saml.no_subject", "The identity provider's answer does not name the person. Its administrator must release a name ID, or the attribute that this connection asks for.")
	ErrTransient   = fault.New(fault.Upstream, "saml.transient", "The identity provider gives the person a new name each time. Its administrator must choose a persistent name ID, or this connection an attribute that stays.")

	ErrBusy = fault.New(fault.Throttled, "saml.busy", "Too many people of this organization are signing in at once. Wait a moment, then try again.")
)

// What connection settings and metadata can be refused for.
var (
	ErrCertificate  = fault.New(fault.Invalid, "saml.certificate", "A certificate of the connection cannot be used. Paste the identity provider's signing certificate: RSA of at least 2048 bits, or ECDSA on P-256, P-384 or P-521.")
	ErrMetadata     = fault.New(fault.Invalid, "saml.metadata", "This is not the metadata of a SAML identity provider.")
	ErrSeveral      = fault.New(fault.Invalid, "saml.metadata_several", "This metadata describes several identity providers. Say the entity ID of yours.")
	ErrNoEntity     = fault.New(fault.Invalid, "saml.metadata_no_entity", "This metadata does not describe the identity provider that was asked for.")
	ErrNoKey        = fault.New(fault.Invalid, "saml.metadata_no_key", "This metadata holds no signing certificate that can be used.")
	ErrNoEndpoint   = fault.New(fault.Invalid, "saml.metadata_no_endpoint", "This metadata names no sign-in URL for HTTP-Redirect or HTTP-POST.")
	ErrMetadataOver = fault.New(fault.Invalid, "saml.metadata_expired", "This metadata is no longer valid. Ask the identity provider for a new one.")
	ErrUnreachable  = fault.New(fault.Upstream, "saml.metadata_unreachable", "The identity provider's metadata cannot be fetched. Check the URL, or upload the file.")
)

const statusPrefix = "urn:oasis:names:tc:SAML:2.0:status:"

// SAML Core 3.2.2.2. The second-level code says more where there is one we know.
var statusFaults = map[string]*fault.Error{
	"Requester":              fault.New(fault.Upstream, "saml.status_requester", "The identity provider refused our request. Its administrator finds the reason in its log; often the request must be signed, or the entity ID differs."),
	"Responder":              fault.New(fault.Upstream, "saml.status_responder", "The identity provider could not answer. Its administrator finds the reason in its log."),
	"VersionMismatch":        fault.New(fault.Upstream, "saml.status_version_mismatch", "The identity provider does not speak SAML 2.0."),
	"AuthnFailed":            fault.New(fault.Denied, "saml.status_authn_failed", "The identity provider did not sign you in."),
	"InvalidAttrNameOrValue": fault.New(fault.Upstream, "saml.status_invalid_attribute", "The identity provider refused an attribute of our request. Its administrator must look at its settings for this service."),
	"InvalidNameIDPolicy":    fault.New(fault.Upstream, "saml.status_invalid_name_id_policy", "The identity provider cannot give the kind of name ID that was asked for. Its administrator must add a rule for the name ID, or this connection ask for another format."),
	"NoAuthnContext":         fault.New(fault.Upstream, "saml.status_no_authn_context", "The identity provider cannot sign people in the way this connection asks for. An administrator must change the requested authentication context."),
	"NoAvailableIDP":         fault.New(fault.Upstream, "saml.status_no_available_idp", "The identity provider could not reach the one it depends on."),
	"NoPassive":              fault.New(fault.Denied, "saml.status_no_passive", "The identity provider could not sign you in without asking you."),
	"NoSupportedIDP":         fault.New(fault.Upstream, "saml.status_no_supported_idp", "The identity provider depends on one that it does not support."),
	"PartialLogout":          fault.New(fault.Upstream, "saml.status_partial_logout", "The identity provider could not sign you out everywhere."),
	"ProxyCountExceeded":     fault.New(fault.Upstream, "saml.status_proxy_count", "The identity provider may not pass the request on."),
	"RequestDenied":          fault.New(fault.Denied, "saml.status_request_denied", "The identity provider will not sign you in to this service. Its administrator must give you access."),
	"RequestUnsupported":     fault.New(fault.Upstream, "saml.status_request_unsupported", "The identity provider does not support our request. Its administrator must look at its settings for this service."),
	"UnknownPrincipal":       fault.New(fault.Denied, "saml.status_unknown_principal", "The identity provider does not know you."),
	"UnsupportedBinding":     fault.New(fault.Upstream, "saml.status_unsupported_binding", "The identity provider cannot answer by HTTP-POST. Its administrator must set the reply URL of this connection."),
}

var errStatusOther = fault.New(fault.Upstream, "saml.status_other", "The identity provider answered with an error. Its administrator finds the reason in its log.")
