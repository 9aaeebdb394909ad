package policy

// Keys are the settings in force, in the order of the table.
func Keys() []string {
	out := make([]string, len(rules.rules))
	for i, r := range rules.rules {
		out[i] = r.key()
	}
	return out
}

// rules is the table: a setting is in force because it stands here. One line each, by group.
var rules = tableOf(
	MFARequirement,
	MFAMethods,
	MFAPhishingResistant,
	MFAAdmins,
	MFARememberDevice,
	MFATrustUpstream,
	MFAEnrolmentGrace,

	RecoveryMethods,
	RecoveryDelay,

	SessionLifetime,
	SessionIdle,
	SessionPersistent,
	SessionMax,
	StepUpAge,
	SessionShared,

	LoginMethods,
	SSORequired,
	WhenIdPDown,
	TrustedConnections,
	LoginNetworks,
	LockoutAttempts,
	LockoutFor,
	DeviceGrant,

	Identity,

	PasswordMinLength,
	PasswordMinStrength,
	PasswordClasses,
	PasswordHistory,
	PasswordMaxAge,
	PasswordBlockCommon,

	Protocols,
	SAMLEncryption,
	SAMLSignedRequests,
	SignatureAlgorithms,

	MembersJoin,

	AccessLifetime,
	RefreshLifetime,
	RefreshIdle,

	BrandingEditable,
)
