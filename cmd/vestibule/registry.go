package main

import (
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/delivery"
)

// senders is the table of deliveries: one line each.
func senders(b *broker.Broker) map[delivery.Kind]delivery.Sender {
	return map[delivery.Kind]delivery.Sender{
		broker.LogoutToken: broker.Logouts{Broker: b},
	}
}

// protocols is the table of upstream types: one line each.
func protocols() upstream.Protocols {
	return upstream.Protocols{
		"oidc": oidc.Protocol(),
		"saml": saml.Protocol(),
	}
}
