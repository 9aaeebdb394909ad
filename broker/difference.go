package broker

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

// This file says to operators, and to developers on their own machine, how what an app sent differs from
// what is registered for it. It is the cause of a fault: logs and the error pages of development have it,
// and no answer in production does.

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
	best, how := registered[0], ""
	for _, r := range registered {
		if h := howDiffers(r, sent); h != "" {
			best, how = r, ": "+h
			break
		}
	}
	return fmt.Sprintf("registered is %s, sent was %s%s", shownURI(best), shownURI(sent), how)
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

// notThatWay logs that an app authenticated in another way than the registered one.
func (b *Broker) notThatWay(ctx context.Context, app App, sent ClientMethod) {
	b.Log.InfoContext(ctx, "client refused: another way to authenticate is registered", "client_id", app.ClientID, "registered", string(app.Method), "sent", string(sent))
}
