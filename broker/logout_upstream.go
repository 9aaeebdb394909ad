package broker

// This file is what comes after a logout: the providers where the person is signed in still, by the choice
// of each connection, and the farewell. The session here has ended before any of it begins.

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/templates"
)

// leaving is a browser that was logged out, on its way to the providers or to the app.
type leaving struct {
	App     string          `json:"app,omitempty"` // its name
	Home    string          `json:"hom,omitempty"`
	After   string          `json:"aft,omitempty"` // where the app wants the browser; registered
	State   string          `json:"st,omitempty"`
	Org     directory.OrgID `json:"org,omitempty"` // whose look the farewell has
	Rest    string          `json:"rst,omitempty"` // a kept request that ends what is left; "" when nothing is
	Remains []string        `json:"rem,omitempty"` // where the person is signed in still, in words
	Queue   []provider      `json:"que,omitempty"` // providers to go to
	Asks    []provider      `json:"ask,omitempty"` // providers that the person may choose to go to
}

// provider is an identity provider where the person is signed in still.
type provider struct {
	Connection directory.ConnectionID `json:"con"`
	Name       string                 `json:"nam"`
	Hint       string                 `json:"hnt,omitempty"`
}

func (req logoutRequest) leaving(org directory.OrgID) leaving {
	return leaving{App: req.app.Name, Home: req.app.Home, After: req.after, State: req.state, Org: org}
}

// meets adds the providers that vouched for an ended session.
func (b *Broker) meets(ctx context.Context, d *leaving, s brought) {
	for _, p := range s.Proofs {
		c, err := b.Judge.Connections.ConnectionByID(ctx, p.Connection)
		if err != nil {
			continue
		}
		chain, err := b.Directory.OrgChain(ctx, p.Org)
		if err != nil {
			continue
		}
		v := provider{Connection: c.ID, Name: c.Name + " · " + chain.Org().Name, Hint: s.person.Email}
		same := func(x provider) bool { return x.Connection == v.Connection && x.Hint == v.Hint }
		switch {
		case c.Status != upstream.Active || c.Logout != upstream.LogoutAsk && c.Logout != upstream.LogoutUpstream:
			if !slices.Contains(d.Remains, v.Name) {
				d.Remains = append(d.Remains, v.Name)
			}
		case slices.ContainsFunc(d.Queue, same) || slices.ContainsFunc(d.Asks, same):
		case c.Logout == upstream.LogoutUpstream:
			d.Queue = append(d.Queue, v)
		default:
			d.Asks = append(d.Asks, v)
		}
	}
}

const (
	// signOutLife is how long a provider may take to send the browser back.
	signOutLife = 15 * time.Minute
	// signOutWait bounds what a logout waits for a provider's documents.
	signOutWait = 3 * time.Second
)

func leavingKey(id string) string { return "leaving/" + id }

// goOn sends the browser to the next provider, or says farewell. A provider that cannot be asked is one
// where the person is signed in still: it holds nobody up.
func (b *Broker) goOn(w http.ResponseWriter, r *http.Request, d leaving) error {
	for len(d.Queue) > 0 {
		next := d.Queue[0]
		d.Queue = d.Queue[1:]
		id := directory.NewSecret()
		to, ok := b.signOutAt(r.Context(), next, id)
		if !ok {
			d.Remains = append(d.Remains, next.Name)
			continue
		}
		if err := b.keepLeaving(r.Context(), id, d); err != nil {
			b.Log.WarnContext(r.Context(), "a logout cannot go on to the provider", "error", err)
			d.Remains = append(d.Remains, next.Name)
			continue
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	}
	return b.farewell(w, r, d)
}

// signOutAt is where a provider ends the person's session; ok is false when it cannot be asked to.
func (b *Broker) signOutAt(ctx context.Context, p provider, state string) (to string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, signOutWait)
	defer cancel()
	c, err := b.Judge.Connections.ConnectionByID(ctx, p.Connection)
	if err != nil {
		return "", false
	}
	up, err := b.Flows.Upstreams.Open(ctx, c)
	if err != nil {
		return "", false
	}
	out, can := up.(interface {
		SignOut(ctx context.Context, s upstream.SignOut) (upstream.Departure, bool, error)
	})
	if !can {
		return "", false
	}
	at, ok, err := out.SignOut(ctx, upstream.SignOut{Hint: p.Hint, Return: upstream.SignedOutURL(b.Issuer), State: state})
	if err != nil {
		b.Log.InfoContext(ctx, "a provider cannot be asked to sign somebody out", "connection", p.Connection, "error", err)
	}
	return at.URL, ok
}

func (b *Broker) keepLeaving(ctx context.Context, id string, d leaving) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return b.Brief.Put(ctx, leavingKey(id), raw, signOutLife)
}

// taken gives what was kept for a browser, once; false when it is over.
func (b *Broker) taken(ctx context.Context, id string) (d leaving, ok bool, err error) {
	raw, err := b.Brief.Take(ctx, leavingKey(id))
	if errors.Is(err, brief.ErrGone) {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	return d, true, json.Unmarshal(raw, &d)
}

// logoutReturned takes a browser back from a provider. It ends nothing and tells nothing: whoever comes
// without a state of ours reads the plain farewell.
func (b *Broker) logoutReturned(w http.ResponseWriter, r *http.Request) error {
	q, err := web.Query(r)
	if err != nil {
		return err
	}
	d, ok, err := b.taken(r.Context(), q.Get("state"))
	if err != nil {
		return err
	}
	if !ok {
		d = leaving{}
	}
	return b.goOn(w, r, d)
}

// logoutUpstream goes to a provider that the person chose on the farewell.
func (b *Broker) logoutUpstream(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	d, _, err := b.taken(r.Context(), r.URL.Query().Get("continue"))
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(d.Asks, func(p provider) bool { return string(p.Connection) == form.Get("connection") }); i >= 0 {
		d.Queue = append(d.Queue, d.Asks[i])
		d.Asks = slices.Delete(d.Asks, i, i+1)
	}
	return b.goOn(w, r, d)
}

// farewell sends the browser back to the app, or says in the look and language of the organization what
// ended and what did not, where there is something to choose.
func (b *Broker) farewell(w http.ResponseWriter, r *http.Request, d leaving) error {
	if d.After != "" && d.Rest == "" && len(d.Asks) == 0 {
		w.Header().Set("Location", d.back())
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	page := templates.LogoutDonePage{App: d.App, AppURL: d.Home, Remains: d.Remains}
	if d.After != "" {
		page.AppURL = d.back()
	}
	if d.Rest != "" {
		page.Part, page.RestAction = true, "/logout/confirm?continue="+d.Rest
	}
	if len(d.Asks) > 0 {
		id := directory.NewSecret()
		if err := b.keepLeaving(r.Context(), id, d); err != nil {
			return err
		}
		page.ProviderAction = "/logout/upstream?continue=" + id
		for _, p := range d.Asks {
			page.Providers = append(page.Providers, templates.LogoutProvider{Value: string(p.Connection), Name: p.Name})
		}
	}
	return b.page(w, r, d.Org, d.App, page)
}

// back is the app's address with its state (OpenID Connect RP-Initiated Logout section 3).
func (d leaving) back() string {
	if d.State == "" {
		return d.After
	}
	return withQuery(d.After, url.Values{"state": {d.State}})
}
