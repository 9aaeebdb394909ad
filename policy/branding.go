package policy

// BrandingEditable lets an organization change its own look.
var BrandingEditable = allowance(Rule[bool]{
	Key:     "branding.editable",
	When:    "at the next change of the look",
	Group:   "Branding",
	Title:   "Changing the look",
	Help:    "The organization's administrators may change its look. The operator always may.",
	Default: true,
	Limit:   true,
	NoApp:   true,
})
