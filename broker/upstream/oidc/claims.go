package oidc

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// claims are what a provider said, parsed once: strings, numbers, booleans, lists and objects.
type claims map[string]any

const maxClaimNames = 500

// parseClaims reads a JSON object. A repeated name is refused by the parser, text that is no text by us:
// what two readers may read differently is not an answer.
func parseClaims(payload []byte) (claims, error) {
	if !upstream.Plain(string(payload)) {
		return nil, ErrIDToken.Because("not UTF-8 text")
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var cl claims
	if err := d.Decode(&cl); err != nil || cl == nil || d.More() {
		return nil, ErrIDToken.Because("no JSON object, or one with repeated names")
	}
	if len(cl) > maxClaimNames || !plain(map[string]any(cl)) {
		return nil, ErrIDToken.Because("too many claims, or one with NUL")
	}
	return cl, nil
}

// plain looks for escaped NULs in every name and text.
func plain(v any) bool {
	switch v := v.(type) {
	case string:
		return upstream.Plain(v)
	case []any:
		for _, e := range v {
			if !plain(e) {
				return false
			}
		}
	case map[string]any:
		for name, e := range v {
			if !upstream.Plain(name) || !plain(e) {
				return false
			}
		}
	}
	return true
}

// text gives a claim that is a string.
func (c claims) text(name string) (string, bool) {
	s, ok := c[name].(string)
	return s, ok
}

// list gives a claim that is a string or a list of strings.
func (c claims) list(name string) []string {
	switch v := c[name].(type) {
	case string:
		return []string{v}
	case []any:
		out := make([]string, 0, len(v))
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// time gives a NumericDate (RFC 7519 section 2); zero when there is none, or one that is no time.
func (c claims) time(name string) time.Time {
	n, ok := c[name].(json.Number)
	if !ok {
		return time.Time{}
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || f <= 0 || f > math.MaxInt32*100 {
		return time.Time{}
	}
	return time.Unix(int64(f), 0)
}

// flag gives a boolean; some providers write it as text.
func (c claims) flag(name string) (value, said bool) {
	switch v := c[name].(type) {
	case bool:
		return v, true
	case string:
		return v == "true", true
	}
	return false, c[name] != nil
}

// values gives a claim for mapping, by name or, when the name starts with a slash, by JSON Pointer
// (RFC 6901), for providers that nest: "/realm_access/roles".
func (c claims) values(name string) []string {
	if v, ok := c[name]; ok {
		return flatten(v)
	}
	if path, ok := strings.CutPrefix(name, "/"); ok {
		return flatten(c.pointer(path))
	}
	return nil
}

func (c claims) pointer(path string) any {
	var at any = map[string]any(c)
	for part := range strings.SplitSeq(path, "/") {
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
	}
	return at
}

// flatten writes a value as texts: one for each element of a list.
func flatten(v any) []string {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		switch e := e.(type) {
		case string:
			out = append(out, e)
		case json.Number:
			out = append(out, string(e))
		case bool:
			out = append(out, strconv.FormatBool(e))
		case map[string]any:
			if text, err := json.Marshal(e); err == nil && !ok {
				out = append(out, string(text))
			}
		}
	}
	return out
}
