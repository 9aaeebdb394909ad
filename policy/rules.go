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
	SessionLifetime,
	SessionIdle,
	AccessLifetime,
	RefreshLifetime,
	RefreshIdle,
	DeviceGrant,
	Protocols,
	SignatureAlgorithms,
)
