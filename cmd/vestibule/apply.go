package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/outbound"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
	"github.com/vestibule-id/vestibule/manifest"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/mfa/code"
	"github.com/vestibule-id/vestibule/store"
)

var (
	// errChanges: a plan found something to do. It is no failure, and has an exit code of its own.
	errChanges   = errors.New("there are changes")
	errNoFiles   = fault.New(fault.Invalid, "vestibule.no_files", "Name the files with -f; it may stand several times, and - is what comes in at standard input.")
	errReadFiles = fault.New(fault.Invalid, "vestibule.read_files", "A file cannot be read.")
	errPrune     = fault.New(fault.Invalid, "vestibule.prune", "The files name nothing, so --prune would archive everything. Name the files that hold your configuration.")
)

// commandLine is who acts when an operator types a command.
var commandLine = directory.Actor{Kind: directory.Operator, ID: "command line"}

// fileList is a flag that may stand several times.
type fileList []string

func (l *fileList) String() string     { return strings.Join(*l, ",") }
func (l *fileList) Set(v string) error { *l = append(*l, v); return nil }

const aboutApply = `Makes what is there as the files say: realms, organizations, domains, connections, apps, people, looks and policy.
All of it or nothing; applied again it changes nothing. What the files do not say stays as it is.
It may run beside "vestibule serve", which follows within a second.`

func runApply(ctx context.Context, args []string, out, errs io.Writer) error {
	c, err := manifestCommand("apply", aboutApply, args, errs)
	if err != nil {
		return err
	}
	return c.run(ctx, out, errs, func(s *manifest.Service, m *manifest.Manifest) error {
		plan, err := s.Apply(ctx, commandLine, m, manifest.Options{Prune: c.prune})
		if err != nil {
			return err
		}
		printPlan(out, plan, c.settings.Issuer, "done")
		if len(plan.Changes) >= manyChanges {
			if err := store.Analyze(ctx, c.settings.storeOptions(quietLog(errs), true)); err != nil {
				fmt.Fprintln(errs, "All was applied. PostgreSQL could not be told how large its tables are now; it finds out by itself within minutes.")
			}
		}
		return nil
	})
}

// manyChanges are so many that the tables may be of another size than those who plan their queries know.
const manyChanges = 1000

const aboutPlan = `Says what "vestibule apply" would change, and changes nothing. It ends with 0 when there is nothing to do, with 2
when there is, and with 1 when the files are wrong.`

func runPlan(ctx context.Context, args []string, out, errs io.Writer) error {
	c, err := manifestCommand("plan", aboutPlan, args, errs)
	if errors.Is(err, errUsage) {
		return errMisused // 2 says that there are changes
	}
	if err != nil {
		return err
	}
	return c.run(ctx, out, errs, func(s *manifest.Service, m *manifest.Manifest) error {
		plan, err := s.Plan(ctx, commandLine, m, manifest.Options{Prune: c.prune})
		if err != nil {
			return err
		}
		printPlan(out, plan, "", "planned")
		if len(plan.Changes) > 0 {
			return errChanges
		}
		return nil
	})
}

// manifestRun is one run of apply or plan.
type manifestRun struct {
	settings *settings
	files    fileList
	prune    bool
	creates  bool // makes a database that is not there
}

func manifestCommand(name, about string, args []string, errs io.Writer) (*manifestRun, error) {
	flags := newFlags(name, "", about, errs)
	c := &manifestRun{creates: name == "apply"}
	flags.Var(&c.files, "f", "a YAML `file`, or a directory of them; may stand several times")
	flags.BoolVar(&c.prune, "prune", false, "archive what the files' realms hold and the files do not name: organizations are archived, connections disabled, apps suspended, entitlements taken back; people stay")
	read := configFlags(flags, false)
	if err := parseFlags(flags, args); err != nil {
		return nil, err
	}
	return c, c.complete(flags, read)
}

func (c *manifestRun) complete(flags *flag.FlagSet, read func() (*settings, error)) (err error) {
	if flags.NArg() != 0 {
		return misused(flags, "It takes no arguments, only flags. Files are named with -f.")
	}
	if len(c.files) == 0 {
		return errNoFiles
	}
	c.settings, err = read()
	return err
}

// planMemory is from where on a plan pays for memory with time: 100,000 organizations need about half of it
// at once, and the collector, which lets the heap grow to a multiple of what is in use (gcPercent), keeps to it.
// GOMEMLIMIT says otherwise.
const planMemory = 640 << 20

// frugal keeps the process to planMemory until it is told that it is over.
func frugal() (over func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetMemoryLimit(planMemory)
	return func() { debug.SetMemoryLimit(before) }
}

func (c *manifestRun) run(ctx context.Context, out, errs io.Writer, do func(*manifest.Service, *manifest.Manifest) error) error {
	defer frugal()()
	files, done, err := openFiles(c.files)
	defer done()
	if err != nil {
		return err
	}
	m, err := manifest.Read(files, protocols(), sources(errs))
	if err != nil {
		return err
	}
	if c.prune && m.Empty() {
		return errPrune
	}
	db, err := c.open(ctx, errs)
	if err != nil {
		return err
	}
	defer db.Close()
	return do(manifestService(db), m)
}

func (c *manifestRun) open(ctx context.Context, errs io.Writer) (*store.Store, error) {
	if c.creates {
		return store.Open(ctx, c.settings.storeOptions(quietLog(errs), true))
	}
	return c.settings.openBeside(ctx, quietLog(errs))
}

// manifestService are the use cases on a store, as far as files reach.
func manifestService(db *store.Store) *manifest.Service {
	people := &directory.Service{Realms: db, Orgs: db, Domains: db, People: db, Memberships: db, Identities: db,
		Entitlements: db, Policies: db, Revocations: db, Passwords: db, Accounts: db, Tx: db, Audit: db, Now: time.Now, AppName: appName(db)}
	return &manifest.Service{
		Directory:   people,
		Connections: &upstream.Service{Connections: db, Protocols: protocols(), Revocations: db, Tx: db, Audit: db, Now: time.Now},
		Broker:      &broker.Broker{Apps: db, Directory: people, Tx: db, Audit: db, Now: time.Now},
		Themes:      &flows.ThemeService{Themes: db, Tx: db, Audit: db, Now: time.Now},
		Flows:       flowService(db, people, &mfa.Service{Factors: factors(db, "https://localhost", code.Way{Messages: &delivery.Post{Sends: delivery.Offers{Mail: true, SMS: true}}})}, time.Now),
		Lists:       db, Revisions: db, Now: time.Now, Fetch: fetcher(),
	}
}

// errFetch: what stands at an address that a file names did not come.
var errFetch = fault.New(fault.Upstream, "vestibule.metadata_unreachable", "The metadata cannot be fetched from its address. Check the address, or name a file instead.")

// fetcher reads documents by the guarded client that serve uses: of what is private, what the connection
// may call alone.
func fetcher() func(context.Context, string, []string) ([]byte, error) {
	guard := &outbound.Guard{}
	return func(ctx context.Context, address string, private []string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, errFetch.Because("it is no address")
		}
		req.Header.Set("Accept", "application/samlmetadata+xml, application/xml;q=0.9, text/xml;q=0.8")
		res, err := guard.Client(private).Do(req)
		if err != nil {
			return nil, errFetch.With(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return nil, errFetch.Because("it answers " + res.Status)
		}
		raw, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
		switch {
		case err != nil:
			return nil, errFetch.With(err)
		case len(raw) > maxDocument:
			return nil, errFetch.Because(fmt.Sprintf("it is larger than %d MiB", maxDocument>>20))
		}
		return raw, nil
	}
}

// maxDocument is how many bytes a document beside a manifest may have.
const maxDocument = 8 << 20

// sources are where a manifest's secrets come from: this machine's files and environment.
func sources(errs io.Writer) manifest.Sources {
	told := map[string]bool{}
	return manifest.Sources{
		Secret: func(path string) (string, error) {
			value, note, err := readSecret(path)
			if note != "" && !told[path] {
				told[path] = true
				fmt.Fprintln(errs, note)
			}
			return value, err
		},
		Document: func(path string) (string, error) {
			f, err := os.Open(path)
			if err != nil {
				return "", unreadable(path, err)
			}
			defer f.Close()
			raw, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
			switch {
			case err != nil:
				return "", unreadable(path, err)
			case len(raw) > maxDocument:
				return "", fmt.Errorf("%s is larger than %d MiB", path, maxDocument>>20)
			}
			return string(raw), nil
		},
		Env: os.LookupEnv,
	}
}

// openFiles opens what -f names: files, directories of YAML files, and - for standard input. done closes
// them.
func openFiles(names []string) (files []manifest.File, done func(), err error) {
	var opened []*os.File
	done = func() {
		for _, f := range opened {
			f.Close()
		}
	}
	for _, name := range names {
		if name == "-" {
			files = append(files, manifest.File{Name: "-", From: os.Stdin})
			continue
		}
		paths, err := yamlFiles(name)
		if err != nil {
			return nil, done, err
		}
		for _, path := range paths {
			f, err := os.Open(path)
			if err != nil {
				return nil, done, wrong(errReadFiles, "%s.", sentence(unreadable(path, err)))
			}
			opened = append(opened, f)
			files = append(files, manifest.File{Name: path, From: f})
		}
	}
	return files, done, nil
}

func sentence(err error) string {
	s := err.Error()
	if strings.HasPrefix(s, "there") {
		return "There" + s[5:]
	}
	return s
}

func yamlFiles(name string) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, wrong(errReadFiles, "%s.", sentence(unreadable(name, err)))
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var out []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		found, err := filepath.Glob(filepath.Join(name, pattern))
		if err != nil {
			return nil, errReadFiles.With(err)
		}
		out = append(out, found...)
	}
	slices.Sort(out)
	if len(out) == 0 {
		return nil, wrong(errReadFiles, "The directory %s holds no file that ends in .yaml or .yml.", name)
	}
	return out, nil
}

// signs are how a plan marks what happens.
var signs = map[manifest.Kind]string{manifest.Create: "+", manifest.Alter: "~", manifest.Archive: "-"}

// printPlan lists what changes or changed. issuer, where there is one, gives the addresses that a new
// connection's provider must know.
func printPlan(out io.Writer, plan *manifest.Plan, issuer, how string) {
	counts := map[manifest.Kind]int{}
	for _, c := range plan.Changes {
		counts[c.Kind]++
		fmt.Fprintf(out, "%s %s %s\n", signs[c.Kind], c.Noun, c.Name)
		for _, f := range c.Fields {
			fmt.Fprintf(out, "    %s\n", fieldLine(c.Kind, f))
		}
		if c.Noun == "connection" && c.Kind == manifest.Create && issuer != "" {
			fmt.Fprintf(out, "    its provider returns people to %s\n", upstream.ReturnURL(issuer, directory.ConnectionID(c.ID)))
			fmt.Fprintf(out, "    our SAML metadata, if it speaks SAML: %s\n", upstream.MetadataURL(issuer, directory.ConnectionID(c.ID)))
		}
	}
	if len(plan.Changes) == 0 {
		fmt.Fprintln(out, "Nothing to change.")
		return
	}
	fmt.Fprintf(out, "%d made, %d changed, %d archived (%s).\n", counts[manifest.Create], counts[manifest.Alter], counts[manifest.Archive], how)
}

func fieldLine(kind manifest.Kind, f manifest.Field) string {
	switch {
	case f.Secret:
		return f.Name + ": (a secret changes)"
	case kind == manifest.Create || f.Before == "":
		return f.Name + ": " + yamlfileShown(f.After)
	case f.After == "":
		return f.Name + ": " + yamlfileShown(f.Before) + " → (unset)"
	}
	return f.Name + ": " + yamlfileShown(f.Before) + " → " + yamlfileShown(f.After)
}

// yamlfileShown keeps what came from a database from writing control characters to a terminal.
func yamlfileShown(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return yamlfile.Quote(s)
	}
	return s
}
