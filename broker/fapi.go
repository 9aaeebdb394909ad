package broker

import (
	"net/url"
	"slices"
)

// checkFAPI holds an app to what the FAPI 2.0 Security Profile (section 5.3) wants of its registration. At
// each request it is held to the rest: pushed requests and what was pushed alone (pushes), tokens bound to a
// key (binds), algorithms (signAlgs), refresh tokens that stay (keepsRefresh).
func (a App) checkFAPI() error {
	switch {
	case !a.FAPI:
		return nil
	case a.Method != PrivateKey:
		return ErrAppSettings.Because("FAPI: private_key_jwt")
	case a.IDTokenAlg == "RS256":
		return ErrAppSettings.Because("FAPI: id tokens in ES256 or EdDSA")
	case a.PKCEExempt:
		return ErrAppSettings.Because("FAPI: PKCE is required")
	}
	for _, r := range slices.Concat(a.RedirectURIs, a.PostLogoutURIs) {
		u, err := url.Parse(r)
		if err != nil || u.Scheme == "http" && !a.Native {
			return ErrAppSettings.Because("FAPI: https, or http on the machine of a native app: " + r)
		}
	}
	return nil
}
