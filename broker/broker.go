// Package broker is the front door for applications: the OpenID Provider they talk to, the sessions of
// the people who sign in to them, and the one door, Admit, that stands before every code and token.
//
// It hands each login to flows and gets a result back through its finisher. The OpenID library's types
// stay in the server_*.go files.
package broker

import "github.com/vestibule-id/vestibule/internal/fault"

var (
	ErrAppNotFound     = fault.New(fault.NotFound, "broker.app_not_found", "There is no such app.")
	ErrClientIDTaken   = fault.New(fault.Conflict, "broker.client_id_taken", "This client id is in use or was used before; client ids are never given out again.")
	ErrSessionNotFound = fault.New(fault.NotFound, "broker.session_not_found", "There is no such session.")
	ErrGrantNotFound   = fault.New(fault.NotFound, "broker.grant_not_found", "There is no such grant.")
	ErrCodeUsed        = fault.New(fault.Conflict, "broker.code_used", "This code was redeemed already.")
)
