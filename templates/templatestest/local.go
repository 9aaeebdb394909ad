package templatestest

import "github.com/vestibule-id/vestibule/templates"

// localPages are those of signing in without an identity provider.
func localPages() []templates.Page {
	const action, address = "/login/Zk3pQ9xV7mT2cL5rB8nW1yH4dS6gJ0fA-uE_iKoXqRs/authenticate", "carmen.delgado@harborsupplies.example"
	platform := templates.PasswordPage{
		Action: action, Step: "authenticate", App: app, Value: address, Fixed: true, ChangeURL: "/login/again", Password: true, Link: true,
	}
	wrong, wait, busy, plain := platform, platform, platform, platform
	wrong.Error, busy.Error = templates.PasswordWrong, templates.PasswordBusy
	wait.Error, wait.Wait = templates.PasswordWait, 30
	plain.Link, plain.Error = false, templates.PasswordEmpty
	ours := templates.PasswordPage{Action: action, Step: "authenticate", App: app, Org: "Harbor Supplies", Password: true, Link: true}
	malformed := ours
	malformed.Value, malformed.Error = "carmen", templates.PasswordMalformed
	keyed := ours
	keyed.Passkey = &templates.PasskeyInvite{Action: action, Step: "authenticate", Options: `{"challenge":"dGhpcyBpcyBub3QgYSBjaGFsbGVuZ2U","rpId":"login.example"}`}
	alone := templates.PasswordPage{Action: action, Step: "authenticate", App: app, Org: "Harbor Supplies"}
	only := *keyed.Passkey
	only.Alone = true
	alone.Passkey = &only
	both := ours
	both.Connections = []templates.ChooseItem{{Value: "con_1", Name: "Okta"}, {Value: "con_2", Name: "Microsoft Entra ID"}}
	link := ours
	link.Password, link.Value = false, address
	mailed := templates.MailedPage{Action: action, Step: "authenticate", Address: address, Minutes: 10, Left: 5}
	again, reset := mailed, mailed
	again.Error, again.Left = "code", 2
	reset.Reset = true
	here := templates.LinkPage{Action: "/mail/x", App: app, Account: address, Here: true, Minutes: 1}
	elsewhere := templates.LinkPage{Action: "/mail/x", App: app, Account: address, Browser: "Chrome on Windows", Minutes: 2}
	code := elsewhere
	code.Code = "482913"
	fresh := templates.NewPasswordPage{Action: "/reset/x", Account: address, MinLength: 12}
	flawed, renew := fresh, fresh
	flawed.Flaws = []string{"short", "classes", "familiar", "personal", "weak", "reused", "unusable"}
	renew.Renew, renew.Step, renew.Busy = true, "authenticate", true
	return []templates.Page{
		platform, wrong, wait, busy, plain, ours, malformed, both, link, mailed, again, reset, here, elsewhere, code, fresh, flawed, renew, keyed, alone,
		templates.PasswordDonePage{App: app, AppURL: home}, templates.PasswordDonePage{},
	}
}
