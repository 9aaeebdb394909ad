package policy

import (
	"encoding/json"
	"slices"
	"strings"
)

// Typed makes a document's value of what somebody typed: 8h, true, 12, passkey,totp. A list is separated by
// commas, and the empty text is the empty list. Whether it is a value that the setting can have is Check's
// to say.
func Typed(key, text string) (json.RawMessage, error) {
	r, ok := rules.byKey[key]
	if !ok {
		return nil, unknown(key)
	}
	text = strings.TrimSpace(text)
	f := r.about().form
	switch f.kind {
	case Switch:
		if text != "true" && text != "false" {
			return nil, say(ErrValue, "%s: %v.", r.title(), errSwitch)
		}
		return json.RawMessage(text), nil
	case Number:
		if text != "" && strings.Trim(text, "0123456789") == "" {
			return json.RawMessage(text), nil
		}
	case Words, Networks, Names:
		list := slices.DeleteFunc(strings.Split(text, ","), func(s string) bool { return strings.TrimSpace(s) == "" })
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		if f.kind == Names && len(list) == 1 && list[0] == anyName {
			break
		}
		return marshal(append([]string{}, list...)), nil
	}
	return marshal(text), nil
}

func marshal(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // text and lists of it
	}
	return raw
}

// Value is a setting's value as documents hold it, for programs. nil is no setting's.
func (e Effective) Value(key string) json.RawMessage {
	r, ok := rules.byKey[key]
	if !ok {
		return nil
	}
	_, v := r.ends()
	if e.folded != nil {
		v = e.folded.slots[r.place()].value
	}
	return r.about().form.raw(r, v)
}

// raw is a value as documents hold it.
func (f form) raw(r rule, v any) json.RawMessage {
	switch {
	case f.kind == Time:
		return marshal(r.show(v))
	case f.kind == Number && r.show(v) == f.besides:
		return marshal(f.besides)
	}
	return marshal(v)
}

// unknown names a setting that is none, and what may have been meant.
func unknown(key string) error {
	for _, k := range Keys() {
		if _, name, _ := strings.Cut(k, "."); name == key || strings.ReplaceAll(k, "_", "") == strings.ReplaceAll(strings.ToLower(key), "_", "") {
			return say(ErrUnknown, "There is no setting called %q. Did you mean %s?", key, k)
		}
	}
	return say(ErrUnknown, "There is no setting called %q.", key)
}
