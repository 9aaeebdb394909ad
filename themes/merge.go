package themes

// Default is what holds where nobody in the chain set anything.
func Default() Theme {
	radius := 8
	return Theme{
		Brand: "#0f6b73", Accent: "#e0a458", Radius: &radius,
		Layout: "card", Background: "tint", Scheme: "auto", Locale: "en",
	}
}

// Merge gives child's own values, and parent's where child has none: inheritance is per setting. A logo
// is one setting: who sets a logo also decides its dark form and whether the name stands beside it.
func Merge(parent, child Theme) Theme {
	m := child
	inherit(&m.Brand, parent.Brand)
	inherit(&m.Accent, parent.Accent)
	inherit(&m.Layout, parent.Layout)
	inherit(&m.Background, parent.Background)
	inherit(&m.Scheme, parent.Scheme)
	inherit(&m.Help, parent.Help)
	inherit(&m.Privacy, parent.Privacy)
	inherit(&m.Terms, parent.Terms)
	inherit(&m.Locale, parent.Locale)
	if m.Radius == nil {
		m.Radius = parent.Radius
	}
	if m.Logo == "" {
		m.Logo, m.LogoDark, m.HideName = parent.Logo, parent.LogoDark, parent.HideName
	}
	m.Tagline = mergeLines(parent.Tagline, child.Tagline)
	m.Intro = mergeLines(parent.Intro, child.Intro)
	return m
}

// Effective folds a chain of themes, the outermost first, over Default.
func Effective(chain ...Theme) Theme {
	t := Default()
	for _, own := range chain {
		t = Merge(t, own)
	}
	return t
}

func inherit(own *string, parent string) {
	if *own == "" {
		*own = parent
	}
}

func mergeLines(parent, child map[string]string) map[string]string {
	if len(parent) == 0 {
		return child
	}
	merged := make(map[string]string, len(parent)+len(child))
	for lang, s := range parent {
		merged[lang] = s
	}
	for lang, s := range child {
		merged[lang] = s
	}
	return merged
}
