package manifest

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/internal/yamlfile"
)

// Sources are where a file's secrets and documents come from. All fields are required.
type Sources struct {
	// Secret reads a file that holds one secret. Its error is the end of a sentence and quotes nothing.
	Secret func(path string) (string, error)
	// Document reads a file that holds no secret, such as SAML metadata.
	Document func(path string) (string, error)
	Env      func(name string) (string, bool)
}

// reader takes files apart.
type reader struct {
	yamlfile.Reader
	from  Sources
	visit func(path string, known []string) // tests see which keys there are
}

// Fields reads a map.
func (r *reader) Fields(v yamlfile.Value, known map[string]func(yamlfile.Value)) bool {
	if r.visit != nil {
		r.visit(v.Path, sorted(known))
	}
	return r.Reader.Fields(v, known)
}

// elsewhere resolves a path in a file: it is relative to the file that names it.
func elsewhere(v yamlfile.Value, path string) string {
	if filepath.IsAbs(path) || v.File == "-" {
		return path
	}
	return filepath.Join(filepath.Dir(v.File), path)
}

// secret is {file: PATH} or {env: NAME}. What was written instead is never quoted: it may be the secret.
func (r *reader) secret(v yamlfile.Value) string {
	if !v.IsMap() {
		r.Say(v, "A secret does not stand in this file. Write {env: NAME} or {file: PATH} to say where it is.")
		return ""
	}
	found, said := "", 0
	r.Fields(v, map[string]func(yamlfile.Value){
		"env":  func(at yamlfile.Value) { found, said = r.fromEnv(at), said+1 },
		"file": func(at yamlfile.Value) { found, said = r.fromFile(at, r.from.Secret), said+1 },
	})
	if said != 1 {
		r.Say(v, "A secret is in one place: {env: NAME} or {file: PATH}.")
	}
	return found
}

func (r *reader) fromEnv(v yamlfile.Value) string {
	name := r.Text(v)
	if name == "" {
		return ""
	}
	value, ok := r.from.Env(name)
	if !ok || value == "" {
		r.Say(v, "The environment has no variable %s. Set it, or name another place.", yamlfile.Quote(name))
	}
	return value
}

func (r *reader) fromFile(v yamlfile.Value, read func(string) (string, error)) string {
	path := r.Text(v)
	if path == "" {
		return ""
	}
	value, err := read(elsewhere(v, path))
	if err != nil {
		r.Say(v, "%s.", upper(err.Error()))
	}
	return value
}

func upper(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' || strings.HasPrefix(s, "/") {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// metadata is a text in place, {file: PATH}, or {url: ADDRESS}.
func (r *reader) metadata(v yamlfile.Value) (text, address string) {
	if v.IsScalar() {
		return r.Text(v), ""
	}
	said := 0
	isMap := r.Fields(v, map[string]func(yamlfile.Value){
		"file": func(at yamlfile.Value) { text, said = r.fromFile(at, r.from.Document), said+1 },
		"url":  func(at yamlfile.Value) { address, said = r.Text(at), said+1 },
	})
	if isMap && said != 1 {
		r.Say(v, "Metadata is in one place: {file: PATH}, {url: ADDRESS}, or as text.")
	}
	return text, address
}

// spaced are the lists that RFC 7591 and OAuth write as one text with spaces between.
var spaced = []string{"scope", "scopes", "grant_types"}

func (r *reader) words(v yamlfile.Value, key string) []string {
	if v.IsScalar() && slices.Contains(spaced, key) {
		return strings.Fields(r.Text(v))
	}
	return r.Texts(v)
}

// duration is 30d, 8h, 90s, or a whole number of seconds as the RFCs have it.
func (r *reader) duration(v yamlfile.Value) time.Duration {
	if !v.IsScalar() || v.Null() {
		r.Say(v, "A duration is expected here, such as 8h, 30m or 30d.")
		return 0
	}
	text := r.Text(v)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && n < 1e10 {
		return time.Duration(n) * time.Second
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseInt(days, 10, 64); err == nil && n >= 0 && n < 1e5 {
			return time.Duration(n) * 24 * time.Hour
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		r.Say(v, "A duration is expected here, such as 8h, 30m or 30d, not %s.", yamlfile.Quote(text))
	}
	return d
}

// raw is any value as JSON; a text is JSON already.
func (r *reader) raw(v yamlfile.Value) json.RawMessage {
	if v.IsScalar() && !v.Null() {
		if text := r.Text(v); json.Valid([]byte(text)) {
			return json.RawMessage(text)
		}
		r.Say(v, "A map, or a text that holds JSON, is expected here.")
		return nil
	}
	out, err := json.Marshal(r.Plain(v))
	if err != nil {
		r.Say(v, "This cannot be written as JSON.")
	}
	return out
}

// moment is a time in RFC 3339, or a day, which begins at midnight UTC.
func (r *reader) moment(v yamlfile.Value) time.Time {
	if v.Null() {
		return time.Time{}
	}
	text := r.Text(v)
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC()
		}
	}
	r.Say(v, "A time such as 2030-01-31 or 2030-01-31T12:00:00Z is expected here, not %s.", yamlfile.Quote(text))
	return time.Time{}
}
