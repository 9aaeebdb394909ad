package main

import (
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/delivery/mail"
	"github.com/vestibule-id/vestibule/delivery/sms"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/mfa/code"
	"github.com/vestibule-id/vestibule/mfa/recovery"
	"github.com/vestibule-id/vestibule/mfa/totp"
	"github.com/vestibule-id/vestibule/mfa/webauthn"
	"github.com/vestibule-id/vestibule/store"
)

// senders is the table of deliveries: one line each. Web Push comes here.
func senders(h *house, c config) map[delivery.Kind]delivery.Sender {
	return map[delivery.Kind]delivery.Sender{
		broker.LogoutToken: broker.Logouts{Broker: h.broker},
		delivery.MailKind:  mail.Sender{Pages: h.pages, Look: h.letterLook(c.Issuer), Out: c.Messages.mail(), Undelivered: h.messages.Undelivered},
		delivery.SMSKind:   sms.Sender{Pages: h.pages, Out: c.Messages.sms(), Undelivered: h.messages.Undelivered},
	}
}

// kinds are those of the table.
func kinds() []delivery.Kind {
	return []delivery.Kind{broker.LogoutToken, delivery.MailKind, delivery.SMSKind}
}

// factors is the table of second steps: one line each, the safest first, in which order they are offered.
// What this installation cannot send is not offered, and at an IP address no browser has passkeys.
func factors(db *store.Store, issuer string, sent code.Way) []mfa.Factor {
	var list []mfa.Factor
	if passkeys, keys, err := webauthn.New(issuer); err == nil {
		list = append(list, passkeys, keys)
	}
	list = append(list, totp.Factor{})
	if sent.Messages.Offers().Mail {
		list = append(list, code.Email{Way: sent})
	}
	if sent.Messages.Offers().SMS {
		list = append(list, code.SMS{Way: sent})
	}
	return append(list, recovery.Factor{Pepper: db.Pepper}, recovery.Bypass{Pepper: db.Pepper})
}

// protocols is the table of upstream types: one line each.
func protocols() upstream.Protocols {
	return upstream.Protocols{
		"oidc": oidc.Protocol(),
		"saml": saml.Protocol(),
	}
}
