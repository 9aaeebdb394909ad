package main

import (
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
)

// protocols is the table of upstream types: one line each.
func protocols() upstream.Protocols {
	return upstream.Protocols{
		"oidc": oidc.Protocol(),
		"saml": saml.Protocol(),
	}
}
