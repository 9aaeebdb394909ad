package main

import (
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/mfa/recovery"
	"github.com/vestibule-id/vestibule/mfa/totp"
	"github.com/vestibule-id/vestibule/store"
)

// senders is the table of deliveries: one line each.
func senders(b *broker.Broker) map[delivery.Kind]delivery.Sender {
	return map[delivery.Kind]delivery.Sender{
		broker.LogoutToken: broker.Logouts{Broker: b},
	}
}

// factors is the table of second steps: one line each, the safest first, in which order they are offered.
func factors(db *store.Store) []mfa.Factor {
	return []mfa.Factor{
		totp.Factor{},
		recovery.Factor{Pepper: db.Pepper},
	}
}

// protocols is the table of upstream types: one line each.
func protocols() upstream.Protocols {
	return upstream.Protocols{
		"oidc": oidc.Protocol(),
		"saml": saml.Protocol(),
	}
}
