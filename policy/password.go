package policy

import "time"

const passwords = "Passwords"

// The rules of passwords follow NIST SP 800-63B: long, not common, no forced mixture, no forced change. An
// organization may ask for more; what is below the limits nobody can have.
var (
	// PasswordMinLength counts code points.
	PasswordMinLength = atLeast(Rule[int]{
		Key:       "password.min_length",
		When:      "when a password is chosen next",
		Group:     passwords,
		Title:     "Shortest password",
		Help:      "How many characters a password has at least. At least 64 are always accepted.",
		Default:   12,
		Limit:     8,
		Loosest:   8,
		Strictest: 64,
		Floor:     32,
		NoApp:     true,
	})
	// PasswordMinStrength is a score of zxcvbn.
	PasswordMinStrength = atLeast(Rule[int]{
		Key:       "password.min_strength",
		When:      "when a password is chosen next",
		Group:     passwords,
		Title:     "Weakest password",
		Help:      "How hard a password is to guess at least, from 0 (at once) to 4 (hardly ever), as zxcvbn estimates it.",
		Default:   3,
		Limit:     2,
		Loosest:   0,
		Strictest: 4,
		NoApp:     true,
	})
	// PasswordClasses counts lower case, upper case, digits and all else.
	PasswordClasses = atLeast(Rule[int]{
		Key:       "password.classes",
		When:      "when a password is chosen next",
		Group:     passwords,
		Title:     "Kinds of characters",
		Help:      "Of how many kinds a password's characters are at least: small letters, capital letters, digits, all others. 0 asks for no mixture, which is what NIST advises.",
		Default:   0,
		Limit:     0,
		Loosest:   0,
		Strictest: 4,
		NoApp:     true,
	})
	// PasswordHistory is how many earlier passwords are refused.
	PasswordHistory = atLeast(Rule[int]{
		Key:       "password.history",
		When:      "when a password is chosen next",
		Group:     passwords,
		Title:     "Earlier passwords that are refused",
		Help:      "How many of their earlier passwords people cannot choose again.",
		Default:   0,
		Limit:     0,
		Loosest:   0,
		Strictest: 24,
		NoApp:     true,
	})
	// PasswordMaxAge is when a password must be changed.
	PasswordMaxAge = shortest(Rule[time.Duration]{
		Key:       "password.max_age",
		When:      "at the next sign-in with a password",
		Group:     passwords,
		Title:     "Age at which a password is changed",
		Help:      "People choose a new password at the first sign-in after this time. NIST advises against it: `never`.",
		Default:   Never,
		Limit:     Never,
		Loosest:   Never,
		Strictest: day,
		Floor:     30 * day,
		NoApp:     true,
	})
	// PasswordBlockCommon refuses passwords that everybody guesses first.
	PasswordBlockCommon = demand(Rule[bool]{
		Key:     "password.block_common",
		When:    "when a password is chosen next",
		Group:   passwords,
		Title:   "Common and breached passwords are refused",
		Help:    "Passwords on the lists of common and breached ones cannot be chosen.",
		Default: true,
		Limit:   true,
		NoApp:   true,
	})
)
