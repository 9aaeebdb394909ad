package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/internal/demo"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/store"
	"github.com/vestibule-id/vestibule/store/redis"
)

// When doctor speaks up, before it is too late.
const (
	clockAsk      = time.Second         // clocks that differ by more are worth a word
	certificateIn = 14 * 24 * time.Hour // a certificate of ours that ends within it
	providerIn    = 30 * 24 * time.Hour // one of a provider's, whose people need longer
	secretIn      = 30 * 24 * time.Hour // an app's client secret
	keyLate       = time.Hour           // a signing key that ought to sign by now
	spaceWarn     = 1 << 30             // bytes free
	spaceFail     = 100 << 20
	memoryWarn    = 80 // percent of Redis's maxmemory
)

// doctor is one examination.
type doctor struct {
	findings
	offline bool

	settings *settings
	issuer   *url.URL
	db       *store.Store
	signs    []string // ids of the keys that tokens are signed with now
}

// examine looks at one part after the other. What rests on a part that failed is left out: it would only
// say the same again.
func (d *doctor) examine(ctx context.Context, read func() (*settings, error)) {
	if !d.configuration(read) {
		return
	}
	d.space()
	d.redis(ctx)
	if d.openDatabase(ctx) {
		defer d.db.Close()
		d.database(ctx)
		d.keys(ctx)
	}
	if !d.offline {
		d.outside(ctx)
		d.messages(ctx)
	}
	if d.db != nil {
		d.connections(ctx)
		d.apps(ctx)
	}
}

func (d *doctor) configuration(read func() (*settings, error)) bool {
	const check = "configuration"
	s, err := read()
	if err != nil {
		for line := range strings.SplitSeq(fault.Of(err).Public, "\n") {
			d.fail(check, "", "%s", line)
		}
		return false
	}
	d.settings = s
	if d.issuer, err = issuerOf(s.Issuer); err != nil {
		d.broke(check, err)
		return false
	}
	d.fine(check, "The issuer is %s; %s.", s.Issuer, listening(s))
	for _, note := range s.notes {
		d.warn(check, "", "%s", note)
	}
	if s.Database.Path != "" && demo.Keeps(filepath.Dir(s.Database.Path)) {
		d.broke(check, errDemoData.Because(filepath.Dir(s.Database.Path)))
		return false
	}
	if s.ProxyHeaders {
		d.warn(check, "Name the proxies' addresses in trusted_proxies.", "X-Forwarded-For is believed from everybody: whoever reaches this service past its proxy is limited as whomever they like.")
	}
	d.certificate()
	return true
}

func listening(s *settings) string {
	if s.TLSCert == "" {
		return "it listens without TLS on " + strings.Join(s.Listen, ", ")
	}
	return "it listens with TLS on " + strings.Join(s.Listen, ", ")
}

// certificate looks at the files that serve would read.
func (d *doctor) certificate() {
	s := d.settings
	if s.TLSCert == "" {
		return
	}
	p, err := openPair(s.TLSCert, s.TLSKey, d.issuer.Hostname(), time.Now())
	if err != nil {
		d.broke("certificate", err)
		return
	}
	d.until("certificate", s.TLSCert, p.now.Load().Leaf.NotAfter)
}

// until judges the end of a certificate of ours.
func (d *doctor) until(check, what string, end time.Time) {
	if time.Until(end) < certificateIn {
		d.warn(check, "Renew it.", "%s ends on %s.", what, moment(end))
		return
	}
	d.fine(check, "%s is good until %s.", what, moment(end))
}

// space looks at the disk that a SQLite file lies on. A full one ends every sign-in.
func (d *doctor) space() {
	if d.settings.Database.Path == "" {
		return
	}
	dir := filepath.Dir(d.settings.Database.Path)
	free, ok := freeBytes(dir)
	switch {
	case !ok:
	case free < spaceFail:
		d.fail("disk", "Free some: a full disk ends every sign-in.", "Only %d MiB are free where the database lies.", free>>20)
	case free < spaceWarn:
		d.warn("disk", "Free some: a full disk ends every sign-in.", "Only %d MiB are free where the database lies.", free>>20)
	default:
		d.fine("disk", "%d GiB are free where the database lies.", free>>30)
	}
}

func (d *doctor) redis(ctx context.Context) {
	s := d.settings
	if s.Redis == "" {
		if s.Database.URL != "" {
			d.fine("short-lived state", "The PostgreSQL database keeps it.")
		} else {
			d.fine("short-lived state", "A file beside the database keeps it, for the one process that serves.")
		}
		return
	}
	c, err := redis.Open(redis.Options{URL: s.Redis, Now: time.Now})
	if err != nil {
		d.broke("redis", err)
		return
	}
	defer c.Close()
	before := time.Now()
	f, err := c.Look(ctx)
	if err != nil {
		d.broke("redis", err)
		return
	}
	d.fine("redis", "Version %s, noeviction, %d replicas.", f.Version, f.Replicas)
	if !f.AOF {
		d.warn("redis", "Set `appendonly yes` if its restarts should end nobody's sign-in.", "It keeps nothing of the last moments over a restart, so whoever is signing in then starts again. Nothing is accepted twice.")
	}
	if f.MaxMemory > 0 && f.Memory*100 > f.MaxMemory*memoryWarn {
		d.warn("redis", "Raise maxmemory.", "%d of %d MiB are in use. When it is full, nobody signs in.", f.Memory>>20, f.MaxMemory>>20)
	}
	d.clock("redis clock", apart(f.Clock, before, time.Now()))
}

// apart is how far a clock that was asked between two moments is off, at least.
func apart(said, before, after time.Time) time.Duration {
	switch {
	case said.Before(before):
		return before.Sub(said)
	case said.After(after):
		return said.Sub(after)
	}
	return 0
}

// clockMost is what a node calls itself not ready beyond (S46).
const clockMost = 5 * time.Second

func (d *doctor) clock(check string, off time.Duration) {
	const remedy = "Set both machines' clocks by NTP."
	switch off = off.Round(time.Millisecond); {
	case off > clockMost:
		d.fail(check, remedy, "It and this machine's clock differ by %s. Nodes that are more than %s off let nobody in.", off, clockMost)
	case off > clockAsk:
		d.warn(check, remedy, "It and this machine's clock differ by %s.", off)
	default:
		d.fine(check, "It and this machine's clock agree.")
	}
}

// openDatabase opens the store where that changes nothing: no migration is run, no key is made.
func (d *doctor) openDatabase(ctx context.Context) bool {
	s := d.settings
	if s.Database.Path != "" {
		if _, err := os.Stat(s.Database.Path); err != nil {
			d.broke("database", errNoDatabase.With(err))
			return false
		}
	}
	o := s.storeOptions(slog.New(slog.DiscardHandler), true)
	have, want, err := store.PendingMigrations(ctx, o)
	switch {
	case err != nil:
		d.broke("database", err)
		return false
	case have < want:
		d.fail("database", "Run `vestibule migrate`, or start `vestibule serve`, which does so by itself.", "It is at schema %d, and this version wants %d.", have, want)
		return false
	case have > want:
		d.warn("database", "Bring this node to the version of the others.", "It is at schema %d of a newer version, on which this version (schema %d) runs too.", have, want)
	}
	if !d.keyFile() {
		return false
	}
	db, err := store.Open(ctx, o)
	if err != nil {
		d.broke("database", err)
		return false
	}
	d.db = db
	return true
}

func (d *doctor) keyFile() bool {
	const check = "sealing key"
	s := d.settings
	if s.Key != "" {
		return true // of the environment
	}
	info, err := os.Stat(s.KeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.fail(check, "Put the key file of this database in its place; without it nobody can read its secrets. Only where nothing was ever served from it: make one with `vestibule keys create --sealing "+s.KeyFile+"`.", "There is no file %s.", s.KeyFile)
		return false
	case err != nil:
		d.fail(check, "Let this user read it.", "%s cannot be read.", s.KeyFile)
		return false
	case info.Mode().Perm()&0o077 != 0 && !strings.HasPrefix(s.KeyFile, "/run/"): // where secrets of containers are mounted
		d.warn(check, "chmod 600 "+s.KeyFile, "Others on this machine may read %s (mode %04o).", s.KeyFile, info.Mode().Perm())
	}
	return true
}

func (d *doctor) database(ctx context.Context) {
	const check = "database"
	f, err := d.db.Facts(ctx)
	if err != nil {
		d.broke(check, err)
		return
	}
	d.fine(check, "%s, at this version's schema or later.", f.Server)
	if f.Refused != nil {
		d.broke(check, f.Refused)
	}
	if !f.Fsync {
		d.fail(check, "Set fsync = on and restart PostgreSQL.", "Its fsync is off, so a power cut may destroy it.")
	}
	d.nodes(f)
	if d.settings.Database.URL != "" {
		d.clock("database clock", f.Ahead)
	}
}

func (d *doctor) nodes(f store.Facts) {
	if f.Nodes == 0 {
		d.warn("nodes", "Start `vestibule serve`.", "Nobody serves from this database now.")
		return
	}
	if f.Most > 0 && f.Nodes*f.Pool > f.Most {
		d.warn("nodes", "Raise PostgreSQL's max_connections, or lower pool_max_conns in the database's address.",
			"%d nodes of %d connections each may want more than the %d that PostgreSQL has.", f.Nodes, f.Pool, f.Most)
		return
	}
	d.fine("nodes", "%d serve from this database.", f.Nodes)
}

func (d *doctor) keys(ctx context.Context) {
	id, err := d.db.SealingKeyID(ctx)
	if err != nil {
		d.broke("sealing key", err)
		return
	}
	d.fine("sealing key", "%s opens the data.", id)
	d.signingKeys(ctx, "oidc", "ES256", "RS256", "EdDSA")
	d.signingKeys(ctx, broker.AnchorUse, "EdDSA")
}

func (d *doctor) signingKeys(ctx context.Context, use string, algs ...string) {
	list, now, err := keyringOf(d.db, use).Report(ctx, commandLine)
	if err != nil {
		d.broke("signing key", err)
		return
	}
	for _, alg := range algs {
		d.signingKey(use, alg, list, now)
	}
}

// signingKey looks whether one key of an algorithm signs, and whether its successor is in time.
func (d *doctor) signingKey(use, alg string, list []broker.KeyReport, now time.Time) {
	check := "signing key"
	about := alg + " for " + useName(use)
	of := slices.DeleteFunc(slices.Clone(list), func(k broker.KeyReport) bool { return k.Alg != alg })
	active := slices.IndexFunc(of, func(k broker.KeyReport) bool { return k.State == broker.KeyActive })
	for _, k := range of {
		if k.State == broker.KeyNext && now.After(k.ActiveAt.Add(keyLate)) {
			d.add(finding{Status: warn, Check: check, About: about, Text: "The key " + k.KID + " should sign since " + moment(k.ActiveAt) + ", and some node does not have it yet.",
				Remedy: "Look at the logs of the nodes for signing keys that cannot be followed."})
		}
	}
	if active < 0 {
		d.add(finding{Status: fail, Check: check, About: about, Text: "No key signs.", Remedy: "Start `vestibule serve`, which makes one, or run `vestibule keys rotate --alg " + alg + "`."})
		return
	}
	if use == "oidc" {
		d.signs = append(d.signs, of[active].KID)
	}
	d.add(finding{Status: fine, Check: check, About: about, Text: of[active].KID + " " + aboutKey(of[active], now) + "."})
}
