package audit

import "strings"

// Action names what was done, dotted, in the past tense of its sentence. Stored, never renamed.
type Action string

// The table: every action of the house, one a line, with the sentence that the viewer shows. {actor}
// and {target} are what the entry's references name today; {words} in braces are the entry's details.
var (
	RealmCreated        = says("realm.created", "{actor} made the realm {target}.")
	OrgCreated          = says("org.created", "{actor} made the organization {target}.")
	OrgStatusChanged    = says("org.status_changed", "{actor} set the organization {target} to {status}.")
	OrgChanged          = says("org.changed", "{actor} changed {fields} of the organization {target}.")
	DomainClaimed       = says("domain.claimed", "{actor} claimed the domain {target}.")
	DomainVerified      = says("domain.verified", "The domain {target} was verified by {by}.")
	DomainReleased      = says("domain.released", "{actor} gave up the domain {target}.")
	ConnectionCreated   = says("connection.created", "{actor} made the connection {target}.")
	ConnectionChanged   = says("connection.changed", "{actor} changed {fields} of the connection {target}.")
	AppCreated          = says("app.created", "{actor} registered the app {target}.")
	AppChanged          = says("app.changed", "{actor} changed {fields} of the app {target}.")
	AppRegistered       = says("app.registered", "{target} was registered by {actor}.")
	RegistrationChanged = says("app.registration_changed", "{actor} changed {fields} of the registration of {target}.")
	RegistrationEnded   = says("app.registration_ended", "{actor} ended the registration of {target}.")
	AppTokenCreated     = says("registration.token_created", "{actor} made the registration token {target}.")
	AppTokenRevoked     = says("registration.token_revoked", "{actor} revoked the registration token {target}.")
	AppEntitled         = says("app.entitled", "{actor} let this organization use the app {target}.")
	AppUnentitled       = says("app.unentitled", "{actor} ended this organization's use of the app {target}.")
	AppActed            = says("app.acted", "{target} received tokens of its own for this organization.")
	PersonCreated       = says("person.created", "{actor} made the account {target} ({source}).")
	PersonChanged       = says("person.changed", "{actor} changed {fields} of the account {target}.")
	PersonStatusChanged = says("person.status_changed", "{actor} set the account {target} to {status}.")
	PasswordSet         = says("password.set", "{actor} set the password of {target} ({source}).")
	MailboxProved       = says("mailbox.proved", "{target} showed that their mailbox is theirs.")
	MembershipCreated   = says("membership.created", "{actor} made {target} a {kind}.")
	MembershipChanged   = says("membership.changed", "{actor} changed the membership of {target} ({kind}).")
	MembershipRemoved   = says("membership.removed", "{actor} ended the membership of {target}.")
	IdentityLinked      = says("identity.linked", "{target} signs in through {connection} from now on.")
	FactorAdded         = says("factor.added", "{actor} set up a second step ({method}), {target}.")
	FactorRemoved       = says("factor.removed", "{actor} removed the second step {target} ({method}) of {person}.")
	FactorDoubted       = says("factor.doubted", "{actor} answered with {target} ({method}), whose counter went back: there may be a copy of it. The answer was refused.")
	BypassMade          = says("factor.bypass_made", "{actor} made a one-time code that stands for a second step of {target}.")
	BypassUsed          = says("factor.bypass_used", "{actor} used a one-time code of an administrator, {target}.")
	RecoveryUsed        = says("factor.recovery_used", "{actor} used a recovery code of {target}.")
	LoginSucceeded      = says("login.succeeded", "{actor} signed in to {target}.")
	LoginRefused        = says("login.refused", "A sign-in to {target} was refused: {fault}.")
	SessionStarted      = says("session.started", "{actor} started a session.")
	SessionEnded        = says("session.ended", "{actor} ended a session of {target}.")
	PersonSignedOut     = says("person.signed_out", "{actor} signed {target} out everywhere.")
	LogoutDelivered     = says("logout.delivered", "{target} was told that a session ended, {after} after it did.")
	LogoutUndelivered   = says("logout.undelivered", "{target} could not be told that a session ended: {class}.")
	DeviceApproved      = says("device.approved", "{actor} signed a device in to {target}.")
	DeviceDenied        = says("device.denied", "{actor} refused to sign a device in to {target}.")
	BudgetUsedUp        = says("delivery.budget_used_up", "The budget of the {target} for messages ({kind}) is used up: no more are sent.")
	MessageUndelivered  = says("delivery.message_undelivered", "A message ({kind}) to {target} could not be delivered: {class}.")
	AppStatusChanged    = says("app.status_changed", "{actor} set the app {target} to {status}.")
	CodeReplayed        = says("code.replayed", "A code for {target} was used twice; what it gave was taken back.")
	TokenIssued         = says("token.issued", "{target} received tokens for {actor}.")
	TokenReplayed       = says("token.replayed", "A token of {target} was used twice; its family was ended.")
	ConsentGranted      = says("consent.granted", "{actor} let {target} use: {scope} {claims}.")
	ConsentRevoked      = says("consent.revoked", "{actor} took back what {person} let {target} do.")
	TokenGivenUp        = says("token.given_up", "{actor} gave up its tokens for {target}.")
	KeyCreated          = says("key.created", "{actor} made the signing key {target}.")
	KeyRevoked          = says("key.revoked", "{actor} revoked the signing key {target}.")
	GrantsEnded         = says("key.grants_ended", "{actor} ended {count} grants of {apps} apps that the revoked key {target} may have signed for since {since}.")
	SealingKeyChanged   = says("sealing_key.changed", "{actor} changed the sealing key to {target}.")
	DataKeyChanged      = says("data_key.changed", "{actor} changed the data key of {target}.")
	SecretsDestroyed    = says("secrets.destroyed", "{actor} destroyed the secrets of {target}.")
	BackupMade          = says("backup.made", "{actor} made a backup, under the sealing key {target}.")
	BackupRestored      = says("backup.restored", "{actor} restored the backup {target}.")
	RecordPruned        = says("audit.pruned", "{actor} removed the record of {target} up to entry {through}, older than {before}.")
	RecordExported      = says("audit.exported", "{actor} exported the record of {target}.")
	PolicyChanged       = says("policy.changed", "{actor} changed the policy of {target}.")
	FlowDrafted         = says("flow.drafted", "{actor} wrote version {version} of the sign-in flow of {target}.")
	FlowPublished       = says("flow.published", "{actor} published version {version} of the sign-in flow of {target}.")
	FlowWithdrawn       = says("flow.withdrawn", "{actor} took back the sign-in flow of {target}.")
	FlowTesters         = says("flow.testers_changed", "{actor} chose who tests the draft of the sign-in flow of {target}.")
	TermsAccepted       = says("terms.accepted", "{target} accepted version {version} of the terms of {org}.")
	ProfileCompleted    = says("person.profile_completed", "{target} told their {fields}.")
	ThemeChanged        = says("theme.changed", "{actor} changed the look of {target}.")
	TraceRead           = says("trace.read", "{actor} looked up the trace {target}.")
)

var sentences = map[Action]string{}

// says writes an action into the table. A name that is there already is a mistake of this file.
func says(name Action, sentence string) Action {
	if _, twice := sentences[name]; twice {
		panic("audit: two actions are called " + string(name))
	}
	sentences[name] = sentence
	return name
}

// Sentence says an entry to people. name gives what a reference is called today; the id is shown where
// it gives "". An action that a newer release recorded is shown as its name.
func (e Entry) Sentence(name func(Ref) string) string {
	text, known := sentences[e.Action]
	if !known {
		return string(e.Action)
	}
	pairs := []string{"{actor}", e.Actor.called(name), "{target}", e.Target.called(name)}
	for key, value := range e.Detail {
		pairs = append(pairs, "{"+key+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func (r Ref) called(name func(Ref) string) string {
	if known := name(r); known != "" {
		return known
	}
	if r.ID != "" {
		return r.ID
	}
	return "Vestibule"
}
