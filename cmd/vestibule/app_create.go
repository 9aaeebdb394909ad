package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/store"
)

var (
	errClientID    = fault.New(fault.Invalid, "vestibule.client_id", "Give a client id by --client-id: none can be made of that name.")
	errClientTaken = fault.New(fault.Conflict, "vestibule.client_id_taken", "An app has or had that client id, and none is given out twice. Choose another by --client-id, or look at it with `vestibule app show`.")
	errNoSecret    = fault.New(fault.Invalid, "vestibule.no_secret", "That app authenticates without a secret, so there is none to change.")
)

const aboutAppCreate = `Registers an app as its framework expects it, and prints its .env and the lines of code that sign people in.
NAME is what people read. The secret is shown once and kept as a hash. It may run beside "vestibule serve", which follows within a second.`

// runAppCreate registers an app and prints what its developer needs.
func runAppCreate(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("app create", "NAME --for FRAMEWORK", aboutAppCreate, errs)
	framed := cmd.String("for", "", "the `framework`: "+frameworkNames())
	at := cmd.String("url", "", "the app's `address`; otherwise that of the framework's development server")
	id := cmd.String("client-id", "", "its client `id`; otherwise NAME in lower case")
	realm := cmd.String("realm", "main", "the `handle` of the realm that the app is of")
	orgs := cmd.String("org", "", "`handles` of organizations whose people may use it, separated by commas")
	everyone := cmd.Bool("everyone", false, "all organizations of the realm that are there now, and those below them, may use it")
	const named = "Name the app, in quotes if the name has spaces."
	switch err := cmd.parse(args, 1, named); {
	case err != nil:
		return err
	case strings.TrimSpace(cmd.args[0]) == "":
		return cmd.misused(named)
	case *everyone && *orgs != "":
		return cmd.misused("It is --org or --everyone.")
	}
	f, err := frameworkNamed(*framed)
	if err != nil {
		return err
	}
	app, secret, err := newApp(f, cmd.args[0], *id, *at)
	if err != nil {
		return err
	}
	db, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	users, err := usersOf(ctx, db, &app, *realm, *orgs, *everyone)
	if err != nil {
		return err
	}
	if err := addApp(ctx, db, app, users); err != nil {
		return err
	}
	return printQuickstart(out, f, app, handed{Issuer: cmd.settings.Issuer, ClientID: app.ClientID, Secret: secret, URL: strings.TrimSuffix(app.Home, "/"), Random: randomText()}, len(users) > 0)
}

// newApp is an app of a framework that is not registered yet, and its secret.
func newApp(f framework, name, clientID, at string) (broker.App, string, error) {
	if at == "" {
		at = f.local
	}
	at, err := appURL(at)
	if err != nil {
		return broker.App{}, "", err
	}
	if clientID == "" {
		clientID = clientIDOf(name)
	}
	if clientID == "" {
		return broker.App{}, "", errClientID
	}
	now := time.Now()
	app := broker.App{ID: directory.NewAppID(now), ClientID: clientID, Name: strings.TrimSpace(name), Status: directory.Active, Settings: f.settings(at)}
	secret := ""
	if f.method != broker.NoSecret {
		text, kept := broker.NewClientSecret(now)
		secret, app.Secrets = text, []broker.Secret{kept}
	}
	app, err = app.Checked()
	return app, secret, err
}

var notInClientID = regexp.MustCompile(`[^a-z0-9]+`)

// clientIDOf makes a client id of a name: "My Shop" is my-shop.
func clientIDOf(name string) string {
	id := strings.Trim(notInClientID.ReplaceAllString(strings.ToLower(name), "-"), "-")
	return strings.TrimRight(id[:min(len(id), 64)], "-")
}

// usersOf finds the app's realm and the organizations that may use it.
func usersOf(ctx context.Context, db *store.Store, app *broker.App, realm, handles string, everyone bool) ([]directory.Entitlement, error) {
	r, orgs, err := placesOf(ctx, db, realm, handles)
	if err != nil {
		return nil, err
	}
	app.Realm = r
	var users []directory.Entitlement
	for _, o := range orgs {
		users = append(users, directory.Entitlement{Org: o, App: app.ID})
	}
	if !everyone {
		return users, nil
	}
	list, err := db.OrgList(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, o := range list {
		if o.Parent == "" && o.Status == directory.Active {
			users = append(users, directory.Entitlement{Org: o.ID, App: app.ID, Below: true})
		}
	}
	return users, nil
}

// addApp registers the app and lets organizations use it: all of it or nothing.
func addApp(ctx context.Context, db *store.Store, app broker.App, users []directory.Entitlement) error {
	s := manifestService(db)
	err := db.InTx(ctx, func(ctx context.Context) error {
		if err := s.Broker.AddApp(ctx, commandLine, app); err != nil {
			return err
		}
		for _, e := range users {
			if err := s.Directory.Entitle(ctx, commandLine, e); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, broker.ErrClientIDTaken) {
		return errClientTaken.Because(app.ClientID)
	}
	return err
}

// randomText is what a framework seals its own cookies with: 32 bytes, as base64url without padding has them.
func randomText() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

func printQuickstart(out io.Writer, f framework, app broker.App, with handed, used bool) error {
	q, err := f.quickstart(with)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s (%s) is registered, for %s.\n", app.Name, app.ClientID, f.title)
	for _, u := range app.RedirectURIs {
		fmt.Fprintf(&b, "#   redirect URI           %s\n", u)
	}
	for _, u := range app.PostLogoutURIs {
		fmt.Fprintf(&b, "#   after signing out      %s\n", u)
	}
	fmt.Fprintf(&b, "#   client authentication  %s\n#   id token algorithm     %s\n", app.Method, app.IDTokenAlg)
	if !used {
		b.WriteString("# No organization may use it yet: name it under `apps` of an organization and run `vestibule apply`.\n")
	}
	b.WriteString("\n# .env")
	if with.Secret != "" {
		b.WriteString(" (the client secret is shown this once)")
	}
	fmt.Fprintf(&b, "\n%s\n# install\n%s\n", q.env, q.install)
	for _, c := range q.code {
		fmt.Fprintf(&b, "# %s\n%s\n", c.name, c.text)
	}
	fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(strings.TrimSpace(q.start), "\n", "\n# "))
	_, err = io.WriteString(out, b.String())
	return err
}

// runAppList prints the apps of all realms.
func runAppList(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("app list", "", "Shows the apps that there are.", errs)
	db, err := cmd.begin(ctx, args, 0, only)
	if err != nil {
		return err
	}
	defer db.Close()
	realms, err := db.RealmList(ctx)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CLIENT ID\tNAME\tREALM\tSTATUS\tAUTHENTICATION\tREDIRECT URI")
	for _, r := range realms {
		list, err := db.AppList(ctx, r.ID)
		if err != nil {
			return err
		}
		for _, a := range list {
			first := ""
			if len(a.RedirectURIs) > 0 {
				first = a.RedirectURIs[0]
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", a.ClientID, plainLine(a.Name), r.Handle, a.Status, a.Method, first)
		}
	}
	return t.Flush()
}

// plainLine is text for a terminal: apps that registered themselves chose their own names.
func plainLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

// appCommand reads the command line of a command about one app and finds it.
func appCommand(ctx context.Context, name, about string, args []string, errs io.Writer, more func(f flagSetter)) (*store.Store, broker.App, error) {
	cmd := newTool(name, "CLIENT_ID", about, errs)
	if more != nil {
		more(cmd)
	}
	db, err := cmd.begin(ctx, args, 1, "Name the app by its client id; `vestibule app list` shows them.")
	if err != nil {
		return nil, broker.App{}, err
	}
	app, err := db.AppByClientID(ctx, cmd.args[0])
	if err != nil {
		db.Close()
		return nil, broker.App{}, err
	}
	return db, app, nil
}

// flagSetter is what a command adds flags of its own to.
type flagSetter interface {
	DurationVar(p *time.Duration, name string, value time.Duration, usage string)
}

// runAppShow prints what an app is registered as.
func runAppShow(ctx context.Context, args []string, out, errs io.Writer) error {
	db, a, err := appCommand(ctx, "app show", "Shows what an app is registered as. A redirect URI must be sent exactly as it stands here.", args, errs, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(t, "%s\t%s\n", name, plainLine(value)) }
	line("client id", a.ClientID)
	line("name", a.Name)
	line("status", string(a.Status))
	for _, u := range a.RedirectURIs {
		line("redirect URI", u)
	}
	for _, u := range a.PostLogoutURIs {
		line("after signing out", u)
	}
	line("client authentication", string(a.Method))
	line("id token algorithm", a.IDTokenAlg)
	grants := []string{string(broker.GrantCode)}
	if len(a.Grants) > 0 {
		grants = nil
		for _, g := range a.Grants {
			grants = append(grants, string(g))
		}
	}
	line("grant types", strings.Join(grants, ", "))
	for _, s := range a.Secrets {
		until := "no end"
		if !s.Until.IsZero() {
			until = "good until " + s.Until.UTC().Format(time.RFC3339)
		}
		line("secret", "made "+s.CreatedAt.UTC().Format(time.RFC3339)+", "+until)
	}
	return t.Flush()
}

// runAppRotateSecret gives an app another secret, beside the one that it has for a while.
func runAppRotateSecret(ctx context.Context, args []string, out, errs io.Writer) error {
	var keep time.Duration
	db, a, err := appCommand(ctx, "app rotate-secret", "Makes a new client secret and prints it, once. The ones before it serve for a while longer.", args, errs, func(f flagSetter) {
		f.DurationVar(&keep, "keep", 24*time.Hour, "how long the secrets before it serve; 0 ends them at once")
	})
	if err != nil {
		return err
	}
	defer db.Close()
	if a.Method != broker.SecretBasic && a.Method != broker.SecretPost {
		return errNoSecret.Because(string(a.Method))
	}
	now := time.Now()
	secret, kept := broker.NewClientSecret(now)
	err = manifestService(db).Broker.ChangeApp(ctx, commandLine, a.ID, func(app *broker.App) error {
		app.Secrets = append(outgoing(app.Secrets, now, now.Add(max(keep, 0))), kept)
		return nil
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, secret)
	return err
}

// outgoing are the secrets that are still good, each until then at most.
func outgoing(have []broker.Secret, now, until time.Time) []broker.Secret {
	var out []broker.Secret
	for _, s := range have {
		if s.Until.IsZero() || s.Until.After(until) {
			s.Until = until
		}
		if s.Until.After(now) {
			out = append(out, s)
		}
	}
	return out
}
