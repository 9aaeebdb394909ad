package oidc

import (
	"encoding/json"

	jose "github.com/go-jose/go-jose/v4"
	lib "github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/vestibule-id/vestibule/audit"
)

type checkLine = audit.Check

func hashOf(token string) (string, error) { return lib.ClaimHash(token, jose.ES256) }

func jsonOf(v any) ([]byte, error) { return json.Marshal(v) }
