package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// This file says to operators, and to developers on their own machine, how what an app sent differs from
// what is registered for it. Logs and traces have it, and the answers of development; no answer in
// production does. It never holds a secret, a code, a token or a person's data: what an app sent is shown
// where it is a word of the protocol, an address without its query, or a scope.

// maxShown is how many bytes of an address a cause shows.
const maxShown = 200

// shownURI is an address that somebody sent, fit for a line of a log: visible characters alone, and neither
// query nor fragment (S58), which may hold what is nobody's to read.
func shownURI(raw string) string {
	at, rest := raw, ""
	if i := strings.IndexAny(raw, "?#"); i >= 0 {
		at, rest = raw[:i], raw[i:i+1]+"…"
	}
	if u, err := url.Parse(at); err != nil || u.User != nil {
		return "an address that is none"
	}
	at = strings.Map(func(r rune) rune {
		if notVisible(r) {
			return '?'
		}
		return r
	}, at)
	if len(at) > maxShown {
		at, rest = at[:maxShown], "…"
	}
	return at + rest
}

// difference says how the address sent under a parameter differs from the nearest that is registered.
func difference(parameter string, registered []string, sent string) string {
	switch {
	case sent == "":
		return parameter + " is missing, is empty or comes twice"
	case len(registered) == 0:
		return fmt.Sprintf("no %s is registered, sent was %s", parameter, shownURI(sent))
	}
	best := registered[0]
	for _, r := range registered {
		if howDiffers(r, sent) != "" {
			best = r
			break
		}
	}
	return "registered is " + compared(best, sent)
}

// compared shows two addresses, and in what they differ where it is one thing.
func compared(registered, sent string) string {
	out := shownURI(registered) + ", sent was " + shownURI(sent)
	if how := howDiffers(registered, sent); how != "" {
		out += ": " + how
	}
	return out
}

// howDiffers names the one thing in which two addresses differ; "" when it is more.
func howDiffers(registered, sent string) string {
	a, err := url.Parse(registered)
	if err != nil {
		return ""
	}
	b, err := url.Parse(sent)
	if err != nil {
		return ""
	}
	var in []string
	note := func(differ bool, what string) {
		if differ {
			in = append(in, what)
		}
	}
	note(a.Scheme != b.Scheme, "the scheme ("+a.Scheme+", not "+shown(b.Scheme)+")")
	note(a.Hostname() != b.Hostname(), "the host")
	note(a.Port() != b.Port(), "the port")
	switch x, y := a.EscapedPath(), b.EscapedPath(); {
	case x == y:
	case x+"/" == y:
		in = append(in, "a slash too many at the end")
	case x == y+"/":
		in = append(in, "a slash is missing at the end")
	case strings.EqualFold(x, y):
		in = append(in, "capital letters in the path")
	default:
		in = append(in, "the path")
	}
	note(a.RawQuery != b.RawQuery || a.ForceQuery != b.ForceQuery, "the query")
	note(strings.Contains(sent, "#"), "a fragment, which is never allowed")
	if len(in) != 1 {
		return ""
	}
	return in[0]
}

// differing is an error that goes to a program or an app, with how its request differs from what is
// registered, granted or supported.
type differing struct {
	error
	how   string
	app   App    // whose request it is; the zero App where none is known
	trace string // of the login that the request belongs to; "" where there is none yet
	keep  bool   // the request begins a login or redeems its code: its story is a trace
}

func (d *differing) Unwrap() error { return d.error }

func differs(err error, how string) error { return &differing{error: err, how: how} }

// sentBy notes whose request it is that differs. Errors that say no difference stay as they are.
func sentBy(app App, err error) error {
	return changeDiffering(err, func(d *differing) { d.app = app })
}

// begins notes that the request would have begun a login.
func begins(err error) error { return changeDiffering(err, func(d *differing) { d.keep = true }) }

// asDiffering is the same difference under another error.
func asDiffering(err, as error) error {
	if d, ok := errors.AsType[*differing](err); ok {
		c := *d
		c.error = as
		return &c
	}
	return as
}

func changeDiffering(err error, change func(*differing)) error {
	d, ok := errors.AsType[*differing](err)
	if !ok {
		return err
	}
	c := *d
	change(&c)
	return &c
}

// causeOf is why a fault came about, in our own words.
func causeOf(err error) string {
	if cause := errors.Unwrap(fault.Of(err)); cause != nil {
		return cause.Error()
	}
	return fault.Of(err).Code
}

// told gives the description that the answer to a refused request has. Where the request differs from what
// is registered, the log says how; a request that belongs to a login leaves a trace as well, in which an
// operator finds it. In development the answer says all of that.
func (b *Broker) told(ctx context.Context, err error, code, description string) string {
	d, ok := errors.AsType[*differing](err)
	if !ok {
		return description
	}
	attrs := []any{"error", code, "client_id", d.app.ClientID, "difference", printable(d.how)}
	at := b.story(ctx, d, code, description)
	if at != "" {
		attrs = append(attrs, "trace", audit.ShowCode(at))
	}
	b.Log.InfoContext(ctx, "request refused", attrs...)
	if !b.Development {
		return description
	}
	description += ": " + d.how
	if at != "" {
		description += " (" + audit.ShowCode(at) + ")"
	}
	return printable(description)
}

// story keeps how a request was refused in the trace of its login, or in a new one where no login has begun,
// and gives the trace's code; "" where none is kept. Whoever knows an app can be refused as often as they
// like, so no more are kept than of logins that fail (S53).
func (b *Broker) story(ctx context.Context, d *differing, code, description string) string {
	if d.app.ID == "" || !d.keep && d.trace == "" {
		return ""
	}
	if b.Limits.StoriesPerNetwork.Check(ctx, b.Counter, networkOf(ctx)) != nil || b.Limits.StoriesPerApp.Check(ctx, b.Counter, string(d.app.ID)) != nil {
		return d.trace
	}
	now, fresh := b.Now(), audit.NewCode()
	at := ""
	err := b.Tx.InTx(context.WithoutCancel(ctx), func(ctx context.Context) error {
		t := audit.Trace{Code: fresh, At: now, App: string(d.app.ID), Outcome: "refused", Fault: code}
		if d.trace != "" {
			t.Code = d.trace
			// A login that a running session answered at once left no trace: it begins here.
			if was, found, err := b.Traces.TraceByCode(ctx, d.trace); err != nil {
				return err
			} else if found && was.App == t.App {
				t = was
			}
		}
		t.Add(audit.Step{At: now, Name: "refused", Text: d.how, Code: code, Facts: map[string]string{"client": d.app.ClientID, "error": description}})
		return b.Traces.SaveTrace(ctx, t)
	})
	if at = fresh; d.trace != "" {
		at = d.trace
	}
	if err != nil {
		b.Log.ErrorContext(ctx, "a trace could not be kept", "trace", audit.ShowCode(at), "error", err)
	}
	return at
}

// networkKey is under which a request's context holds the network that it came from.
type networkKey struct{}

// from is a request's context, with the network that it came from.
func (b *Broker) from(r *http.Request) context.Context {
	return context.WithValue(r.Context(), networkKey{}, b.network(r))
}

func networkOf(ctx context.Context) string {
	network, _ := ctx.Value(networkKey{}).(string)
	return network
}

// printable is text of ours that may quote an app's, as error_description may hold it (RFC 6749 section 5.2).
func printable(s string) string {
	s = strings.NewReplacer("…", "...", `"`, "'", `\`, "/").Replace(s)
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxTold)]
}

const (
	maxWord = 64
	maxTold = 600
)

// word is what an app sent where a word of the protocol belongs.
func word(sent string) string {
	switch {
	case sent == "":
		return "none"
	case len(sent) > maxWord || strings.ContainsFunc(sent, notVisible):
		return "something that is no name"
	}
	return sent
}

// maxWords is how many words a cause shows.
const maxWords = 12

func words(sent []string) string {
	if len(sent) == 0 {
		return "none"
	}
	out := make([]string, 0, maxWords)
	for _, s := range sent[:min(len(sent), maxWords)] {
		out = append(out, word(s))
	}
	if len(sent) > maxWords {
		out = append(out, "…")
	}
	return strings.Join(out, " ")
}

// uris shows addresses, the first few of them.
func uris(list []string) string {
	out := make([]string, 0, maxWords)
	for _, u := range list[:min(len(list), maxWords)] {
		out = append(out, shownURI(u))
	}
	return strings.Join(out, " ")
}

// oneOf says what could have been sent, and what was: "registered are a b, sent was c".
func oneOf(what string, had []string, sent string) string {
	is := " are "
	if len(had) < 2 {
		is = " is "
	}
	return what + is + words(had) + ", sent was " + word(sent)
}

func grantNames(list []Grant) []string {
	out := make([]string, len(list))
	for i, g := range list {
		out[i] = string(g)
	}
	return out
}

// otherGrant says which grant types are registered for an app, and which was sent.
func (s Settings) otherGrant(sent Grant) string {
	had := slices.Clone(s.Grants)
	if len(had) == 0 {
		had = []Grant{GrantCode}
	}
	return oneOf("registered", grantNames(had), string(sent))
}

// otherKey says that something is bound to a key that the request was not proved with.
func otherKey(what, jkt string) string {
	if jkt == "" {
		return what + " is bound to a DPoP key, and no proof was sent"
	}
	return what + " is bound to another DPoP key than the proof's"
}
