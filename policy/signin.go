package policy

import (
	"encoding/json"
	"errors"
)

// DeviceGrant lets people sign devices in that have no browser of their own, by a code that they type here
// (RFC 8628). Whoever talks somebody into typing a code gets a device signed in as them, so it can be
// switched off; an app can use it only where the operator let it (S49).
var DeviceGrant = &Rule[bool]{
	Key:       "login.device_grant",
	Group:     "Sign-in",
	Title:     "Signing devices in by a code",
	Help:      "People may sign in televisions, terminals and other devices by typing the code that the device shows.",
	Default:   true,
	Limit:     true,
	Loosest:   true,
	Strictest: false,
	Tighter:   both,
	Read:      readSwitch,
	Show:      showSwitch,
	Samples:   []bool{true, false},
}

// both is tighter where true is loose: what one level forbids stays forbidden.
func both(a, b bool) bool { return a && b }

var errSwitch = errors.New("true or false is wanted")

func readSwitch(raw json.RawMessage) (bool, error) {
	var v *bool
	if err := json.Unmarshal(raw, &v); err != nil || v == nil {
		return false, errSwitch
	}
	return *v, nil
}

func showSwitch(v bool) string {
	if v {
		return "allowed"
	}
	return "not allowed"
}
