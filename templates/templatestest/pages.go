package templatestest

import "github.com/vestibule-id/vestibule/templates"

// Pages is one realistic example of every state of every page of a login.
func Pages() []templates.Page {
	pages := append(append(identifyPages(), choosePages()...), stepPages()...)
	return append(append(append(append(pages, localPages()...), flowPages()...), endPages()...), faultPages()...)
}

const (
	action = "/login/Zk3pQ9xV7mT2cL5rB8nW1yH4dS6gJ0fA-uE_iKoXqRs/identify"
	app    = "Treasury Hub"
	home   = "https://treasury.example/"
	trace  = "VB-7Q4K-29TM"
)

func identifyPages() []templates.Page {
	plain := templates.IdentifyPage{Action: action, Step: "identify", App: app, HandleAllowed: true}
	ours := templates.IdentifyPage{Action: action, Step: "identify", App: app, Org: "Acme Bank", CanChooseOther: true, OtherURL: "/login/other"}
	wrong := plain
	wrong.Value, wrong.Error = "priya.raman@", templates.IdentifyMalformed
	empty := ours
	empty.Error = templates.IdentifyEmpty
	foreign := ours
	foreign.Value, foreign.Error, foreign.Domain = "priya.raman@acmebnk.example", templates.IdentifyUnknownDomain, "acmebnk.example"
	foreign.Suggestion = "priya.raman@acmebank.example"
	single := ours
	single.Connection, single.ConnectionName = "con_06a4m2k0q1v6d3t8r5e7p9h2bc", "Okta"
	known := plain
	known.Remembered = []templates.RememberedOrg{
		{Value: "org_06a4m2k0q1v6d3t8r5e7p9h2bc", Name: "Acme Bank", Logo: "/theme/acme-bank.svg", Hint: "Okta"},
		{Value: "org_06a4m2k0q1v6d3t8r5e7p9h2bd", Name: "MexBanco", Logo: "/theme/mexbanco.svg", LogoDark: "/theme/mexbanco-dark.svg", Hint: "Microsoft Entra ID"},
	}
	keyed, refused := plain, plain
	keyed.Passkey = &templates.PasskeyInvite{Action: action, Step: "identify", Options: `{"challenge":"dGhpcyBpcyBub3QgYSBjaGFsbGVuZ2U","rpId":"login.example","userVerification":"required"}`}
	again := *keyed.Passkey
	again.Error, again.Left = "mfa.wrong", 4
	refused.Passkey = &again
	return []templates.Page{
		plain, ours, wrong, empty, foreign, single, known, keyed, refused,
		templates.NoCompanyPage{Action: action, Step: "identify", Value: "someone@nowhere.example", App: app},
	}
}

// stepPages are those of second steps.
func stepPages() []templates.Page {
	ask := templates.StepFrame{
		Action: "/login/Zk3pQ9xV7mT2cL5rB8nW1yH4dS6gJ0fA-uE_iKoXqRs/factor", Step: "factor", App: app, Org: "Acme Bank",
		Who: "priya.raman@acmebank.example", ChangeURL: "/login/again", By: "MightyBank Americas", Other: true,
	}
	wrong, last, enroll := ask, ask, ask
	wrong.Error, wrong.Left = "mfa.wrong", 4
	last.Error, last.Left, last.Other = "mfa.used", 1, false
	enroll.Action, enroll.Step, enroll.Later, enroll.LaterUntil = "/login/Zk3pQ9xV7mT2cL5rB8nW1yH4dS6gJ0fA-uE_iKoXqRs/enroll", "enroll", true, "2026-03-08 12:00 UTC"
	budget, number := ask, enroll
	budget.Error, number.Error = "delivery.budget", "delivery.number"
	key := templates.TOTPEnrollPage{
		StepFrame: enroll, Key: "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP", Size: 29, QR: "M4 4h7v1h-7zM12 4h1v1h-1zM4 5h1v1h-1z",
		URI: "otpauth://totp/Acme%20Bank:priya.raman@acmebank.example?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
	}
	const asked = `{"challenge":"dGhpcyBpcyBub3QgYSBjaGFsbGVuZ2U","rpId":"login.example","userVerification":"required"}`
	refused := ask
	refused.Error, refused.Left = "mfa.copied", 2
	passkeys := []templates.Page{
		templates.WebAuthnPage{StepFrame: ask, Options: asked}, templates.WebAuthnPage{StepFrame: wrong, Key: true, Options: asked}, templates.WebAuthnPage{StepFrame: refused, Options: asked},
		templates.WebAuthnEnrollPage{StepFrame: enroll, Options: asked}, templates.WebAuthnEnrollPage{StepFrame: enroll, Key: true, Options: asked},
	}
	list := templates.StepsPage{StepFrame: ask, Missing: []string{"sms", "email"}, MissingBy: "MightyBank Americas"}
	for i, m := range []string{"passkey", "security_key", "push", "totp", "sms", "email", "recovery_code", "admin_bypass"} {
		list.Items = append(list.Items, templates.StepItem{Method: m, Safest: i == 0})
	}
	list.Items[2].Hint = "Pixel 8"
	setUp := templates.StepsPage{StepFrame: enroll, Enrol: true, Items: list.Items[:4]}
	return append(passkeys, []templates.Page{
		templates.TOTPPage{StepFrame: ask, Devices: []string{"Pixel 8"}}, templates.TOTPPage{StepFrame: wrong}, templates.TOTPPage{StepFrame: last},
		key, templates.RecoveryPage{StepFrame: ask, Remaining: 7, Total: 10}, templates.RecoveryPage{StepFrame: wrong, Remaining: 7, Total: 10}, list, setUp,
		templates.CodePage{StepFrame: ask, Kind: "email", To: "p…@acmebank.example", Sent: 1, Resend: true, Minutes: 10},
		templates.CodePage{StepFrame: wrong, Kind: "sms", To: "… 23", Sent: 1, Minutes: 10},
		templates.CodePage{StepFrame: budget, Kind: "email", To: "p…@acmebank.example"},
		templates.CodePage{StepFrame: enroll, Kind: "sms", To: "… 23", Sent: 1, Enrol: true, Resend: true, Minutes: 10},
		templates.BypassPage{StepFrame: ask}, templates.BypassPage{StepFrame: wrong},
		templates.PhonePage{StepFrame: enroll}, templates.PhonePage{StepFrame: number},
		templates.RecoveryCodesPage{StepFrame: enroll, Codes: []string{
			"k3mq-w7np-4xzd", "8rta-h5cv-2yqe", "m9fj-b6ks-7gup", "3wnx-d8pz-q4ha", "c5ve-r2ty-9kmb",
			"7gpf-u4sj-x3wn", "z8hd-a6qk-5ret", "n2cb-v9my-4jps", "p7xu-g3wf-8kzh", "e4ta-s6rd-2qcn",
		}},
	}...)
}

// flowPages are those of the steps that an organization's own flow adds.
func flowPages() []templates.Page {
	at := func(step string) templates.FlowFrame {
		return templates.FlowFrame{
			Action: "/login/Zk3pQ9xV7mT2cL5rB8nW1yH4dS6gJ0fA-uE_iKoXqRs/" + step, Step: step, At: "org_1/3/item 2 (" + step + ")", App: app,
			By: "MightyBank Americas", Who: "priya.raman@acmebank.example", ChangeURL: "/login/again",
		}
	}
	banner, rules, asks := at("notice"), at("terms"), at("profile")
	banner.Who = ""
	banner.Title = templates.Said{"en": "Authorized use only", "es": "Solo uso autorizado"}
	banner.Text = templates.Said{
		"en": "This system is for people of MightyBank alone.\n\nWhat you do here is recorded. <b>Whoever has no business here leaves now.</b>",
		"es": "Este sistema es solo para las personas de MightyBank.\n\nLo que haces aquí queda registrado.",
	}
	rules.Text = templates.Said{"en": "Be kind to customers' data."}
	rules.Link = templates.Said{"en": "https://acmebank.example/terms"}
	profile := templates.ProfilePage{FlowFrame: asks, Error: true}
	for _, name := range []string{"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "birthdate", "locale", "zoneinfo"} {
		profile.Fields = append(profile.Fields, templates.ProfileField{Name: name, Complete: "off"})
	}
	profile.Fields = append(profile.Fields, templates.ProfileField{Name: "phone_number", Type: "tel", Complete: "tel", Value: "600 123", Wrong: true})
	asks.By = ""
	return []templates.Page{
		templates.NoticePage{FlowFrame: banner}, templates.NoticePage{FlowFrame: at("notice")}, templates.TermsPage{FlowFrame: rules, Version: "2026-01"}, profile,
		templates.ProfilePage{FlowFrame: asks, Fields: profile.Fields[:1]},
	}
}

func choosePages() []templates.Page {
	few := templates.ChoosePage{
		Action: action, Step: "choose", App: app, Who: "b.jensen@mightybank.example", ChangeURL: "/login/again", CanRemember: true,
		Items: []templates.ChooseItem{
			{Value: "org_1", Name: "Acme Bank", Logo: "/theme/acme-bank.svg", Hint: "Signs in with Okta", LastUsed: true},
			{Value: "org_2", Name: "MexBanco", Logo: "/theme/mexbanco.svg", LogoDark: "/theme/mexbanco-dark.svg", Hint: "Signs in with Microsoft Entra ID"},
			{Value: "org_3", Name: "Kaufmännische Genossenschaft Nordfriesland und Umgebung"},
		},
	}
	many := few
	many.Items = nil
	for _, name := range []string{"Acme Bank", "Banco Andino", "Crédit Lémanique", "Delta Savings", "Everett Trust", "Fjord Sparebank", "Golden Bay", "Harbor Supplies"} {
		many.Items = append(many.Items, templates.ChooseItem{Value: name, Name: name, Hint: "Member"})
	}
	post := templates.LeavingPage{
		URL: "https://acmebank.okta.example/app/sso/saml", Provider: "Okta", Host: "acmebank.okta.example", Org: "Acme Bank",
		Who: "priya.raman@acmebank.example", ChangeURL: "/login/again",
		Fields: []templates.FormField{{Name: "SAMLRequest", Value: "PHNhbWxwOkF1dGhuUmVxdWVzdC8+"}, {Name: "RelayState", Value: "r3l4y"}},
	}
	answer := templates.PostAnswerPage{
		URL: home + "callback", Host: "treasury.example",
		Fields: []templates.FormField{{Name: "code", Value: "c0de"}, {Name: "iss", Value: "https://login.example"}, {Name: "state", Value: `"><script>`}},
	}
	accounts := templates.AccountsPage{
		Action: "/select/Zk3pQ9xV7mT2cL5rB8nW1yH4dS6gJ0fA-uE_iKoXqRs", App: app,
		Items: []templates.ChooseItem{
			{Value: "ses_1", Name: "p…@acmebank.example", Hint: "Acme Bank", Logo: "/theme/acme-bank.svg"},
			{Value: "ses_2", Name: "sebastian.hernandez-castellanos-de-la-vega@nordfriesland.example", Hint: "Kaufmännische Genossenschaft Nordfriesland und Umgebung"},
		},
	}
	consent := templates.ConsentPage{
		Action: "/consent/Zk3pQ9xV7mT2cL5rB8nW1yH4dS6gJ0fA-uE_iKoXqRs", App: "Ledger Sync", Org: "Acme Bank", Who: "priya.raman@acmebank.example",
		Host: "ledger-sync.example", Policy: "https://ledger-sync.example/privacy", Terms: "https://ledger-sync.example/terms",
		Items: []templates.ConsentItem{
			{Kind: "building", Title: "Know that it’s you, at Acme Bank", Detail: "To recognize you when you come again"},
			{Kind: "mail", Title: "See your e-mail address", Detail: "It can write to you"},
			{Kind: "clock", Title: "Stay connected when you’re away", Detail: "Until access is taken back"},
		},
	}
	short := templates.ConsentPage{
		Action: consent.Action, App: "Ledger Sync", Org: "Acme Bank", Who: "Priya Raman",
		Items: []templates.ConsentItem{{Kind: "plug", Title: "Use “payments.transfers.read-and-write-everything-there-is-in-this-world”"}},
	}
	link := post
	link.Fields, link.URL = nil, "https://acmebank.okta.example/authorize?client_id=a&state=b"
	return []templates.Page{
		few, many,
		templates.ChooseConnectionPage{
			Action: action, Step: "authenticate", App: app, Org: "MightyBank Americas", Who: "b.jensen@mightybank.example", ChangeURL: "/login/again",
			Items: []templates.ChooseItem{{Value: "con_1", Name: "Okta", Hint: "For employees", LastUsed: true}, {Value: "con_2", Name: "Partner directory", Hint: "For contractors"}},
		},
		post, link, answer, accounts, consent, short,
	}
}

func endPages() []templates.Page {
	return []templates.Page{
		templates.NotMemberPage{Org: "Acme Bank", App: app, Who: "sam@partner.example", Contact: "it@acmebank.example", OtherURL: "/login/again", AppURL: home, Code: trace},
		templates.NotMemberPage{Org: "Acme Bank", App: app, Who: "sam@acmebank.example", Suspended: true, Code: trace},
		templates.NotMemberPage{Org: "Acme Bank", App: app, Contact: "it@acmebank.example", AppURL: home + "callback", Fields: []templates.FormField{{Name: "error", Value: "access_denied"}}, Code: trace},
		templates.OverPage{Reason: templates.OverExpired, App: app, AppURL: home, Code: trace},
		templates.OverPage{Reason: templates.OverUsed, App: app, AppURL: home},
		templates.OverPage{Reason: templates.OverOtherBrowser},
		templates.LogoutConfirmPage{Action: "/logout", Step: "c0nf1rm", App: app, Who: "priya.raman@acmebank.example", CancelURL: home},
		templates.LogoutDonePage{App: app, AppURL: home, Remains: []string{"Okta of Acme Bank", "Microsoft Entra ID of MexBanco"}},
		templates.LogoutDonePage{},
		templates.LogoutDonePage{App: app, AppURL: home, Part: true, RestAction: "/logout/confirm?continue=r3st", Remains: []string{"MexBanco"}},
		templates.LogoutDonePage{App: app, AppURL: home, ProviderAction: "/logout/upstream?continue=4sk", Remains: []string{"Microsoft Entra ID of MexBanco"},
			Providers: []templates.LogoutProvider{{Value: "con_1", Name: "Okta of Acme Bank"}}},
		templates.DevicePage{Action: "/device"},
		templates.DevicePage{Action: "/device", Value: "WDJB-MJ1T", Wrong: true},
		templates.DeviceApprovePage{Action: "/device/4ppr0ve", App: app, Org: "Acme Bank", Who: "priya.raman@acmebank.example", Code: "WDJB-M31T", Network: "203.0.113.7", Device: "Chrome on Linux", Minutes: 2},
		templates.DeviceApprovePage{Action: "/device/4ppr0ve", App: app, Org: "Acme Bank", Code: "WDJB-M31T", Network: "2001:db8::/64",
			Items: []templates.ConsentItem{{Kind: "person", Title: "Your name"}, {Kind: "mail", Title: "Your e-mail address", Detail: "And whether it is verified"}}},
		templates.DeviceDonePage{App: app, Approved: true},
		templates.DeviceDonePage{App: app},
	}
}

func faultPages() []templates.Page {
	sso := templates.FaultOf("en", "saml.bad_cert", templates.Names{Provider: "Okta", Org: "Acme Bank", App: app})
	sso.Who, sso.Contact, sso.Code, sso.Status = "Acme Bank", "it@acmebank.example", trace, 502
	sso.BackURL = home
	sso.Details = []templates.Detail{
		{Name: templates.DetailWhen, Value: "21 Nov 2026, 09:41:07 UTC"},
		{Name: templates.DetailConnection, Value: "Acme Bank · Okta (SAML)"},
		{Name: templates.DetailProblem, Value: "saml.bad_cert"},
		{Name: templates.DetailCheck, Value: "Signed by a certificate of the connection"},
		{Name: templates.DetailGot, Value: "SHA-256 4F:9A:11:C2:08:77:31:9E:0B:52:6D:AA:1F:83:C9:40:75:E8:2B:96:D1:0C:67:F4:3A:BD:58:12:EE:7D:90:E0"},
		{Name: templates.DetailExpected, Value: "SHA-256 B8:03:5E:71:2D:44:9C:F0:66:A1:3B:87:52:DE:18:C5:09:7A:E3:4F:90:2C:BB:61:D8:35:FA:0E:74:A9:91:C4"},
		{Name: templates.DetailApp, Value: app},
	}
	busy := templates.FaultOf("en", "upstream.unreachable", templates.Names{Provider: "Okta", Org: "Acme Bank"})
	busy.RetryURL, busy.Code, busy.Status = "/login/again", trace, 502
	ours := templates.FaultOf("en", "internal", templates.Names{})
	ours.Code, ours.Status = trace, 500
	return []templates.Page{sso, busy, ours}
}
