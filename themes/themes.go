// Package themes is an organization's look: a few tokens, a logo, a few sentences. Data, never
// markup: nothing an organization sets here can carry a style rule, a script or a link that is not
// checked (ui contract in docs/design, security.md S34-S36).
package themes

// Theme is what one organization set; zero values inherit from its ancestors, then from Default.
type Theme struct {
	Brand  string `json:"brand,omitempty"`  // #rrggbb
	Accent string `json:"accent,omitempty"` // #rrggbb, decoration only
	Radius *int   `json:"radius,omitempty"` // 0 to 16 px
	// Logo and LogoDark are asset names ("acme-bank.svg"); LogoDark "" means Logo serves both schemes.
	Logo       string `json:"logo,omitempty"`
	LogoDark   string `json:"logo_dark,omitempty"`
	HideName   bool   `json:"hide_name,omitempty"`  // the logo says the name already
	Layout     string `json:"layout,omitempty"`     // card, split, plain
	Background string `json:"background,omitempty"` // plain, tint
	Scheme     string `json:"scheme,omitempty"`     // auto, light, dark
	// Tagline is the line of the split layout; Intro stands under the title. Plain text, 120
	// characters, by language; placeholders {application} and {organization}.
	Tagline map[string]string `json:"tagline,omitempty"`
	Intro   map[string]string `json:"intro,omitempty"`
	Help    string            `json:"help,omitempty"` // https: or mailto:
	Privacy string            `json:"privacy,omitempty"`
	Terms   string            `json:"terms,omitempty"`
	Locale  string            `json:"locale,omitempty"` // the organization's language when the person has none: "es"
}
