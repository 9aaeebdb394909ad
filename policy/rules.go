package policy

// rules is the table: a setting is in force because it stands here. One line each, by group.
var rules = tableOf(
	SessionLifetime,
	SessionIdle,
	AccessLifetime,
	RefreshLifetime,
	RefreshIdle,
	DeviceGrant,
	Protocols,
	SignatureAlgorithms,
)
