package demo

import _ "embed"

// The lines that a developer pastes, with ISSUER, CLIENT_ID, CLIENT_SECRET and REDIRECT_URI in them.
var (
	//go:embed pages/own.go.txt
	ownGo string
	//go:embed pages/own.mjs.txt
	ownNode string
)
