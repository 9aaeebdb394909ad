// Package templates holds every page and renders it: html/template over embedded files, one typed
// struct a page, one message catalogue, one set of assets with hashed names. It contains no policy:
// the handler decides, the page shows.
package templates

// Page is the data of one page: a struct of strings and booleans ready to show, named by its file:
// "login/identify" is templates/login/identify.html.
type Page interface{ Template() string }

// Look is whose page it is: what the layout shows around every page.
type Look struct {
	// Org names the organization whose page this is; "" is the platform.
	Org string
	// Theme is the address of the organization's stylesheet ("/theme/….css"); "" is the platform's look.
	Theme string
	// Logo and LogoDark are asset addresses; "" Logo shows Vestibule's own.
	Logo, LogoDark string
	HideName       bool
	Layout         string // card, split, plain
	Background     string // plain, tint
	Scheme         string // auto, light, dark
	Tagline        string // split layout
	Intro          string // under the title, where the page has room for it
	Help           string
	Privacy        string
	Terms          string
	// Lang is the language of the page, a catalogue's name: "en", "es".
	Lang string
}
