package templates

import (
	"html"
	"html/template"
	"strings"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// ErrPicture: a page names an icon that does not exist, or a picture that is not served here.
var ErrPicture = fault.New(fault.Internal, "templates.picture", "A picture of this page is missing.")

// funcs is everything that a template may call. At most ten: what needs more belongs to the handler.
func funcs(words catalogue, assets *Assets) template.FuncMap {
	return template.FuncMap{
		"t":      words.t,
		"asset":  assets.URL,
		"icon":   icon,
		"logo":   logo,
		"reach":  reach,
		"detail": words.detail,
	}
}

// icons are drawn on a 24 grid with strokes of 1.75.
var icons = map[string]string{
	"building":          "M5 20.5V4.5a1 1 0 0 1 1-1h8a1 1 0 0 1 1 1v16M15 9.5h3a1 1 0 0 1 1 1v10M3 20.5h18M8.5 7.5h3M8.5 11.5h3M8.5 15.5h3",
	"clock":             "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 2",
	"copy":              "M9 8.5h10.5a1 1 0 0 1 1 1V20a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V9.5a1 1 0 0 1 1-1zM16 8.5V4a1 1 0 0 0-1-1H4.5a1 1 0 0 0-1 1v10.5a1 1 0 0 0 1 1H8",
	"door":              "M13.5 3.5H6a1 1 0 0 0-1 1v15a1 1 0 0 0 1 1h7.5M10 12h10.5M17 8.5l3.5 3.5-3.5 3.5",
	"go":                "m9 6 6 6-6 6",
	"info":              "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5M12 8v.01",
	"mfa-admin_bypass":  "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.5 20.5c.8-3.6 3.7-5.5 7.5-5.5s6.7 1.9 7.5 5.5",
	"mfa-email":         "M4 5.5h16a1 1 0 0 1 1 1v11a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1v-11a1 1 0 0 1 1-1zM3.5 7l8.5 6 8.5-6",
	"mfa-other":         "M12 3 5 5.5v5.7c0 4.3 2.8 7.6 7 9.8 4.2-2.2 7-5.5 7-9.8V5.5zM9 11.8l2.2 2.2 4-4.2",
	"mfa-passkey":       "M9.5 4a3.75 3.75 0 1 0 0 7.5 3.75 3.75 0 0 0 0-7.5zM2.5 20c.6-3.6 3.2-5.5 7-5.5 1.1 0 2.1.2 3 .5M17.5 10.5a3 3 0 0 0-1.25 5.7V20l1.25 1.5 1.5-1.5-1-1.25 1-1.25-.7-1.3a3 3 0 0 0-.8-5.7z",
	"mfa-push":          "M8 2.5h8a1.5 1.5 0 0 1 1.5 1.5v16a1.5 1.5 0 0 1-1.5 1.5H8A1.5 1.5 0 0 1 6.5 20V4A1.5 1.5 0 0 1 8 2.5zM11 18.5h2",
	"mfa-recovery_code": "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM5.6 5.6l3.9 3.9M14.5 14.5l3.9 3.9M18.4 5.6l-3.9 3.9M9.5 14.5l-3.9 3.9",
	"mfa-security_key":  "M9 3.5h6a1 1 0 0 1 1 1v4H8v-4a1 1 0 0 1 1-1zM7.5 8.5h9a1.5 1.5 0 0 1 1.5 1.5v9a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 6 19v-9a1.5 1.5 0 0 1 1.5-1.5zM12 12.5a1.75 1.75 0 1 0 0 3.5 1.75 1.75 0 0 0 0-3.5z",
	"mfa-sms":           "M4.5 4.5h15a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H11l-4.5 3.5v-3.5h-2a1 1 0 0 1-1-1v-10a1 1 0 0 1 1-1zM8 9h8M8 12.5h5",
	"mfa-totp":          "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 2",
	"mail":              "M4 5.5h16a1 1 0 0 1 1 1v11a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1v-11a1 1 0 0 1 1-1zM3.5 7l8.5 6 8.5-6",
	"person":            "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.5 20.5c.8-3.6 3.7-5.5 7.5-5.5s6.7 1.9 7.5 5.5",
	"plug":              "M9 3v5M15 3v5M6.5 8h11v3.5a5.5 5.5 0 0 1-11 0zM12 17v4",
	"search":            "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 20.5 20.5",
	"shield":            "M12 3 5 5.5v5.7c0 4.3 2.8 7.6 7 9.8 4.2-2.2 7-5.5 7-9.8V5.5zM9 11.8l2.2 2.2 4-4.2",
	"todo":              "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM8.5 12.2l2.4 2.4 4.6-4.8",
	"warn":              "M12 4 2.8 19.5h18.4zM12 10v4M12 17v.01",
}

// iconClasses are what may be said of an icon: a size, or "go" for the arrow at the end of a choice.
var iconClasses = map[string]string{"": "ic", "sm": "ic ic-sm", "lg": "ic ic-lg", "go": "ic go"}

// icon draws an icon. The text beside it carries the meaning.
func icon(name string, kind ...string) (template.HTML, error) {
	path, drawn := icons[name]
	class, known := iconClasses[strings.Join(kind, " ")]
	if !drawn || !known {
		return "", ErrPicture.Because(name)
	}
	return template.HTML(`<svg class="` + class + `" viewBox="0 0 24 24" aria-hidden="true"><path d="` + path + `"/></svg>`), nil
}

// logo shows a logo in the form that fits the scheme. Its name always stands beside it or in the label
// of what it is in, so it has no text of its own.
func logo(light, dark, scheme string) (template.HTML, error) {
	if scheme == "dark" && dark != "" {
		light = dark
	}
	img, err := picture(`<img src="`, light, `" alt="" width="32" height="32">`)
	if err != nil || dark == "" || scheme == "light" || scheme == "dark" {
		return img, err
	}
	source, err := picture(`<source srcset="`, dark, `" media="(prefers-color-scheme: dark)">`)
	return "<picture>" + source + img + "</picture>", err
}

// picture refuses other hosts: the Content-Security-Policy would not show them, and they would learn
// who signs in where.
func picture(before, address, after string) (template.HTML, error) {
	if !strings.HasPrefix(address, "/") || strings.HasPrefix(address, "//") {
		return "", ErrPicture.Because(address)
	}
	return template.HTML(before + html.EscapeString(address) + after), nil
}

// reach makes a link of a contact, which is an e-mail address or an address on the web.
func reach(contact string) string {
	if strings.HasPrefix(contact, "https://") || strings.HasPrefix(contact, "mailto:") {
		return contact
	}
	return "mailto:" + contact
}
