package web

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Form reads the body of a POST as a form, alone: nothing of the query is mixed in. A field that comes
// twice, is not UTF-8 or holds a NUL refuses the whole.
func Form(r *http.Request) (url.Values, error) {
	ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || ct != "application/x-www-form-urlencoded" {
		return nil, ErrForm.Because("content type")
	}
	if err := r.ParseForm(); err != nil {
		return nil, bodyFault(err)
	}
	return r.PostForm, Plain(r.PostForm)
}

// Query reads the parameters of the address under the same rules.
func Query(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, ErrForm.With(err)
	}
	return q, Plain(q)
}

// Plain refuses parameters that come twice (RFC 6749 section 3.1), are not UTF-8 or hold a NUL.
func Plain(v url.Values) error {
	for name, values := range v {
		if len(values) > 1 {
			return ErrForm.Because("repeated: " + clean(name))
		}
		for _, s := range append(values, name) {
			if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
				return ErrForm.Because("not text: " + clean(name))
			}
		}
	}
	return nil
}

func bodyFault(err error) error {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return ErrTooLarge.With(large)
	}
	return ErrForm.With(err)
}
