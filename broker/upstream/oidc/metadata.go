package oidc

import (
	"slices"

	"github.com/go-jose/go-jose/v4/json" // refuses repeated names and reads names case by case, unlike encoding/json

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// metadata is what a provider says of itself, with addresses we have written ourselves (S36).
type metadata struct {
	issuer        string
	authorization string
	token         string
	userinfo      string // "" when there is none
	jwks          string
	endSession    string // "" when there is none that can be used
	s256          bool   // PKCE with S256 is offered, or nothing is said
	issParameter  bool   // answers name their issuer (RFC 9207)
	authMethods   []string
	algorithms    []string
	responseModes []string
}

type metadataJSON struct {
	EndSession    string   `json:"end_session_endpoint"`
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	UserInfo      string   `json:"userinfo_endpoint"`
	JWKS          string   `json:"jwks_uri"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	IssParameter  bool     `json:"authorization_response_iss_parameter_supported"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	ResponseModes []string `json:"response_modes_supported"`
}

func parseMetadata(body []byte, private []string) (*metadata, error) {
	var in metadataJSON
	if !upstream.Plain(string(body)) {
		return nil, ErrDiscovery.With(errUnreadable)
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, ErrDiscovery.With(errUnreadable) // no JSON object with the members of Discovery 1.0 section 3
	}
	m := &metadata{
		issuer: in.Issuer, issParameter: in.IssParameter, authMethods: in.AuthMethods, algorithms: in.Algorithms, responseModes: in.ResponseModes,
		// Silence is no refusal: Entra ID says nothing and takes it, and who does not know it ignores it.
		s256: len(in.Challenges) == 0 || slices.Contains(in.Challenges, "S256"),
	}
	for _, u := range []struct {
		to   *string
		from string
		must bool
	}{
		{&m.authorization, in.Authorization, true}, {&m.token, in.Token, true}, {&m.jwks, in.JWKS, true}, {&m.userinfo, in.UserInfo, false},
	} {
		if u.from == "" && !u.must {
			continue
		}
		clean, err := upstream.CleanURL(u.from, private)
		if err != nil {
			return nil, ErrDiscovery.With(err)
		}
		*u.to = clean
	}
	if clean, err := upstream.CleanURL(in.EndSession, private); in.EndSession != "" && err == nil {
		m.endSession = clean // nobody's sign-in may fail for it
	}
	return m, nil
}
