package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/store"
)

var (
	errKeyInEnvironment = fault.New(fault.Conflict, "vestibule.key_in_environment", "The sealing key of this installation is in the environment, so this command cannot give the new one to the nodes. Set VESTIBULE_KEY to both keys, separated by a space, on every node and here, restart the nodes, then run this again.")
	errOrgName          = fault.New(fault.Invalid, "vestibule.org_name", "An organization is named REALM/HANDLE, such as main/acme.")
	errSince            = fault.New(fault.Invalid, "vestibule.since", "A time is written like 2026-03-01, 2026-03-01T12:00:00Z, or as how long ago: 36h.")
)

// sub is a word behind a command.
type sub struct {
	name, line string
	run        func(ctx context.Context, args []string, out, errs io.Writer) error
}

// runSub runs the word that args begin with.
func runSub(ctx context.Context, of string, subs []sub, args []string, out, errs io.Writer) error {
	if len(args) > 0 {
		for _, s := range subs {
			if s.name == args[0] {
				return s.run(ctx, args[1:], out, errs)
			}
		}
	}
	asked := len(args) > 0 && strings.HasPrefix(strings.TrimLeft(args[0], "-"), "h")
	if len(args) > 0 && !asked {
		fmt.Fprintf(errs, "vestibule %s has no command %q.\n\n", of, args[0])
	}
	fmt.Fprintf(errs, "Usage: vestibule %s COMMAND [flags]\n\n", of)
	for _, s := range subs {
		fmt.Fprintf(errs, "  %-8s %s\n", s.name, s.line)
	}
	fmt.Fprintf(errs, "\nvestibule %s COMMAND -h explains a command.\n", of)
	if asked {
		return errHelp
	}
	return errUsage
}

var keyCommands = []sub{
	{"list", "show the signing keys and what each is good for, and the sealing key", runKeysList},
	{"create", "make a file with a new sealing key, or publish a new signing key", runKeysCreate},
	{"rotate", "change a signing key, the sealing key, or the data keys", runKeysRotate},
	{"revoke", "take a signing key that leaked out of the key set at once", runKeysRevoke},
	{"destroy", "make the secrets of an archived organization unreadable for ever", runKeysDestroy},
}

func runKeys(ctx context.Context, args []string, out, errs io.Writer) error {
	return runSub(ctx, "keys", keyCommands, args, out, errs)
}

// keyringOf is the keyring of a use as a command has it: it changes keys, and signs nothing.
func keyringOf(db *store.Store, use string) *broker.Keyring {
	k := &broker.Keyring{Store: db, Nodes: db, Tx: db, Audit: db, Now: time.Now, Use: use}
	if use == broker.AnchorUse {
		k.Algs = []string{"EdDSA"}
	}
	return k
}

func record(ctx context.Context, db *store.Store, org directory.OrgID, act audit.Action, target audit.Ref, detail map[string]string) error {
	now := time.Now()
	return db.Record(ctx, audit.Entry{ID: string(directory.NewEntryID(now)), At: now, Org: string(org), Actor: commandLine.Ref(), Action: act,
		Target: target, Detail: detail})
}

func runKeysList(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("keys list", "", "Shows the signing keys, what each is good for and until when, and which sealing key the data is under.", errs)
	db, err := cmd.begin(ctx, args, 0, only)
	if err != nil {
		return err
	}
	defer db.Close()
	id, err := db.SealingKeyID(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "sealing key  %s\n\n", id)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tUSE\tALGORITHM\tSTATE\t")
	for _, use := range []string{"oidc", broker.AnchorUse} {
		list, now, err := keyringOf(db, use).Report(ctx, commandLine)
		if err != nil {
			return err
		}
		for _, k := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.KID, useName(k.Use), k.Alg, k.State, aboutKey(k, now))
		}
	}
	return w.Flush()
}

func useName(use string) string {
	if use == "oidc" {
		return "tokens"
	}
	return use
}

// aboutKey says in words what happens to a key next.
func aboutKey(k broker.KeyReport, now time.Time) string {
	switch k.State {
	case broker.KeyNext:
		if k.ReadyAt.IsZero() {
			return "published " + moment(k.CreatedAt) + "; signs from " + moment(k.ActiveAt) + " on if every node has it by then (not yet)"
		}
		return "published " + moment(k.CreatedAt) + "; signs from " + moment(k.ActiveAt) + " on"
	case broker.KeyActive:
		if k.RetireAt.IsZero() {
			return "signs since " + moment(k.ActiveAt)
		}
		return "signs since " + moment(k.ActiveAt) + ", until " + moment(k.RetireAt)
	case broker.KeyRetired:
		return "signed until " + moment(k.RetireAt) + "; published until " + moment(k.ExpiresAt)
	case broker.KeyRevoked:
		return "revoked " + moment(k.RevokedAt)
	}
	if now.Before(k.ExpiresAt) {
		return ""
	}
	return "over since " + moment(k.ExpiresAt)
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func runKeysCreate(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("keys create", "", "Makes a file with a new sealing key, which its owner alone may read; a file that is there is never overwritten.\nOr publishes a new signing key, which takes over from the present one (the same as `keys rotate --alg`).", errs)
	sealing := cmd.String("sealing", "", "the `file` to make, with a new sealing key in it")
	alg := cmd.String("alg", "", "publish a new signing key of this `algorithm`: ES256, RS256 or EdDSA")
	missing := cmd.Bool("if-missing", false, "with --sealing: a file that is there already is what was wanted")
	switch err := cmd.parse(args, 0, only); {
	case err != nil:
		return err
	case (*sealing == "") == (*alg == "") || *missing && *alg != "":
		return cmd.misused("Say what to make: --sealing FILE or --alg ALGORITHM.")
	case *alg != "":
		return rotateSigning(ctx, cmd, *alg, out)
	}
	id, err := store.NewSealingKeyFile(*sealing)
	if *missing && errors.Is(err, store.ErrKeyExists) {
		_, err = fmt.Fprintf(out, "%s is there already.\n", *sealing)
		return err
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Made %s with the sealing key %s.\nKeep a copy of it apart from the database: without it nobody can read the secrets in the database or in its backups.\n", *sealing, id)
	return err
}

func runKeysRotate(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("keys rotate", "", "Changes keys while the service runs:\n  --alg ES256                          a new signing key, published now, signing when apps have had time to read it\n  --sealing --new-key-file FILE        the sealing key; run it again if it was interrupted\n  --data [--org REALM/HANDLE]          new data keys, and every secret sealed anew under them", errs)
	alg := cmd.String("alg", "", "change the signing key of this `algorithm`: ES256, RS256 or EdDSA")
	sealing := cmd.Bool("sealing", false, "change the sealing key")
	file := cmd.String("new-key-file", "", "the `file` with the new sealing key, made by keys create --sealing")
	data := cmd.Bool("data", false, "change the data keys")
	org := cmd.String("org", "", "only the data key of this top-level organization, `REALM/HANDLE`")
	if err := cmd.parse(args, 0, only); err != nil {
		return err
	}
	chosen := 0
	for _, yes := range []bool{*alg != "", *sealing, *data} {
		if yes {
			chosen++
		}
	}
	switch {
	case chosen != 1:
		return cmd.misused("Say which keys to change: --alg, --sealing or --data.")
	case *sealing != (*file != ""):
		return cmd.misused("--sealing and --new-key-file go together.")
	case *org != "" && !*data:
		return cmd.misused("--org goes with --data.")
	case *sealing:
		return rotateSealing(ctx, cmd, *file, out)
	case *data:
		return rotateData(ctx, cmd, *org, out)
	}
	return rotateSigning(ctx, cmd, *alg, out)
}

func rotateSigning(ctx context.Context, cmd *tool, alg string, out io.Writer) error {
	db, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	key, err := keyringOf(db, "").Rotate(ctx, commandLine, alg)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The %s key %s is published. It signs from %s on, when every node has it.\n", alg, key.KID, moment(key.ActiveAt))
	return err
}

// rotateSealing changes the sealing key in steps that may each be the last.
func rotateSealing(ctx context.Context, cmd *tool, file string, out io.Writer) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return store.ErrKeyFile.With(err)
	}
	keys, err := store.ParseSealingKeys(string(text))
	if err != nil || len(keys) != 1 {
		return store.ErrKeyFile.With(errors.Join(err, fmt.Errorf("%s must hold exactly one key", file)))
	}
	to := keys[0].ID()
	s, err := cmd.read()
	if err != nil {
		return err
	}
	inFile := s.Key == ""
	if inFile { // first, so that nothing is ever under a key that this node's file does not hold
		if _, err := store.AddKeyLine(s.KeyFile, file); err != nil {
			return err
		}
	}
	db, err := s.openBeside(ctx, quietLog(cmd.errs))
	if err != nil {
		return err
	}
	defer db.Close()
	if !inFile && !strings.Contains(strings.Join(db.SealingKeyIDs(), " "), to) {
		return errKeyInEnvironment
	}
	if err := waitForNodes(ctx, db, to); err != nil {
		return err
	}
	n, err := db.RewrapDataKeys(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Everything is under the sealing key %s now (%d data keys were wrapped anew).\n", to, n)
	if !inFile {
		_, err = fmt.Fprintln(out, "Take the old key out of VESTIBULE_KEY on every node. Keep it, apart, as long as you keep backups from before.")
		return err
	}
	moved, err := store.KeepKeyLine(s.KeyFile, to)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s holds the new key alone.", s.KeyFile)
	if moved != "" {
		fmt.Fprintf(out, " The old one is in %s: move it to where you keep the keys of backups from before.", moved)
	}
	_, err = fmt.Fprintln(out, "\nOn other nodes take the old line out of the key file. Back the new key up now.")
	return err
}

// nodesWait is how long a change of the sealing key waits for the nodes to have read their key files.
const nodesWait = 15 * time.Second

// waitForNodes switches to a key when every live node has it.
func waitForNodes(ctx context.Context, db *store.Store, to string) error {
	deadline := time.Now().Add(nodesWait)
	for {
		err := db.InTx(ctx, func(ctx context.Context) error {
			changed, err := db.SwitchSealingKey(ctx, to)
			if err != nil || !changed {
				return err
			}
			return record(ctx, db, "", audit.SealingKeyChanged, audit.Ref{Kind: "key", ID: to}, nil)
		})
		if !errors.Is(err, store.ErrNodesLack) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func rotateData(ctx context.Context, cmd *tool, org string, out io.Writer) error {
	db, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	scopes, err := db.DataKeyScopes(ctx)
	if err != nil {
		return err
	}
	if org != "" {
		o, err := orgNamed(ctx, db, org)
		if err != nil {
			return err
		}
		if o.Parent != "" {
			return directory.ErrNotTop.Because(org)
		}
		scopes = []string{string(o.ID)}
	}
	changed := 0
	for _, scope := range scopes {
		err := db.InTx(ctx, func(ctx context.Context) error {
			had, err := db.RotateDataKey(ctx, scope)
			if err != nil || !had {
				return err
			}
			return record(ctx, db, directory.OrgID(scope), audit.DataKeyChanged, audit.Ref{Kind: "org", ID: scope}, nil)
		})
		if err != nil {
			return err
		}
		changed++
	}
	n, err := db.ResealValues(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d data keys were changed and %d secrets sealed anew.\n", changed, n)
	return err
}

// orgNamed finds an organization by REALM/HANDLE, archived ones too.
func orgNamed(ctx context.Context, db *store.Store, name string) (directory.Org, error) {
	realm, handle, ok := strings.Cut(name, "/")
	if !ok {
		return directory.Org{}, errOrgName.Because(name)
	}
	r, err := db.RealmByHandle(ctx, realm)
	if err != nil {
		return directory.Org{}, err
	}
	id, err := db.OrgOfHandle(ctx, r.ID, handle)
	if err != nil {
		return directory.Org{}, err
	}
	chain, err := db.OrgChain(ctx, id)
	if err != nil {
		return directory.Org{}, err
	}
	return chain.Org(), nil
}

func runKeysRevoke(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("keys revoke", "KID", "Takes a signing key that leaked out of the key set at once, on every node: nothing that it signed is believed any more.\nEnds the grants of sessions that its tokens were made for; people sign in to those apps again, mostly without noticing.", errs)
	since := cmd.String("since", "", "end grants made or refreshed since this `time`; otherwise since the key began to sign")
	if err := cmd.parse(args, 1, "Name one key; keys list shows them."); err != nil {
		return err
	}
	from, err := parseSince(*since, time.Now())
	if err != nil {
		return err
	}
	db, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	use := ""
	if list, err := db.Keys(ctx, broker.AnchorUse); err != nil {
		return err
	} else if hasKey(list, cmd.args[0]) {
		use = broker.AnchorUse
	}
	done, err := keyringOf(db, use).Revoke(ctx, commandLine, cmd.args[0], from, db, db)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The %s key %s is revoked: no node publishes or believes it any more. Its successor signs as soon as every node has it.\n", done.Key.Alg, done.Key.KID)
	if use == broker.AnchorUse {
		return nil
	}
	fmt.Fprintf(out, "Apps may keep the key set for ten minutes: until then they believe what was signed with it.\n\n%d apps are affected:\n", len(done.Apps))
	for _, a := range done.Apps {
		fmt.Fprintf(out, "  %s (%s): %d grants ended\n", a.Name, a.ClientID, done.Ended[a.ID])
	}
	return nil
}

func hasKey(list []broker.Key, kid string) bool {
	for _, k := range list {
		if k.KID == kid {
			return true
		}
	}
	return false
}

// parseSince reads a time, or how long ago it was; "" is none.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errSince.Because(text)
}

func runKeysDestroy(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("keys destroy", "", "Destroys the data key of an archived top-level organization: its secrets, and those of all below it, are unreadable for ever.\nBackups from before still hold them.", errs)
	org := cmd.String("org", "", "the organization, `REALM/HANDLE` (required)")
	confirm := cmd.String("confirm", "", "its `handle` again (required)")
	if err := cmd.parse(args, 0, only); err != nil {
		return err
	}
	if *org == "" || *confirm == "" {
		return cmd.misused("Name the organization with --org, and its handle again with --confirm.")
	}
	db, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	o, err := orgNamed(ctx, db, *org)
	if err != nil {
		return err
	}
	people := &directory.Service{Realms: db, Orgs: db, Tx: db, Audit: db, Now: time.Now}
	if err := people.DestroySecrets(ctx, commandLine, db, o.ID, *confirm); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The secrets of %s are destroyed. Backups from before still hold them, under the sealing key of their time.\n", *org)
	return err
}
