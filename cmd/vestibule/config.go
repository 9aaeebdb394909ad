package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/delivery/mail"
	"github.com/vestibule-id/vestibule/delivery/sms"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/password"
	"github.com/vestibule-id/vestibule/store"
)

// settings are how an operator set this installation up, read from defaults, a YAML file, the
// environment and flags, each before the last (config_sources.go). One table, options, says how each is
// called and read; docs/configuration.md is checked against it.
type settings struct {
	Issuer       string   // the origin that browsers and apps see
	Listen       []string // host:port
	TLSCert      string   // PEM files; both or none
	TLSKey       string
	Database     database
	Redis        string // a redis:// or rediss:// address; "" keeps short-lived state in the database
	Key          string // the sealing key itself, for containers; "" reads KeyFile
	KeyFile      string // of the sealing key
	Proxies      web.Proxies
	ProxyHeaders bool // everybody's forwarding headers are believed: the operator said so
	Limits       broker.Limits
	Cost         password.Cost // of hashing passwords
	Breached     string        // a file of `vestibule passwords list`; "" is none
	SMTP         mail.SMTP     // the mail server; Host "" is none
	SMTPPassword string
	MailFrom     netmail.Address
	// Gateway takes text messages; Host "" is none.
	Gateway       url.URL
	GatewaySecret []byte
	Messages      delivery.Limits
	LogFormat     string // text or json
	LogLevel      slog.Level
	AnchorFile    string // where anchors of the record are sent out; "" is nowhere
	AdminListen   string // host:port for health and, later, measurements; "" is nowhere
	Development   bool   // error pages tell the cause

	given map[string]string // where each option that was given stands, by its key
	now   func() time.Time  // of this machine; no setting changes it
	notes []string          // what the operator should read at the start, though it is no mistake
}

// database is where everything durable lies: exactly one of the two is set.
type database struct {
	Path string // a SQLite file
	URL  string // postgres://…
}

// option is one setting. Key is its name in the YAML file; the environment's is VESTIBULE_ and the key in
// capitals, the flag's is the key with hyphens.
type option struct {
	key       string
	form      string // what a value is: "address", "file", "true or false"
	otherwise string // what holds when nothing is given, in words or as written
	example   string
	help      string // one sentence
	secret    bool   // may hold a password: refused on the command line, and read from the file that VESTIBULE_…_FILE names
	hidden    bool   // is a secret itself: no flag takes it, and no file of ours holds it
	store     bool   // every command that opens the database takes its flag; else `serve` alone
	toggle    bool   // true or false
	set       func(s *settings, value string) error
}

// options is the table.
var options = []option{
	{key: "issuer", form: "https://host[:port]", otherwise: "http://localhost and the port it listens on", example: "https://login.example.com",
		help: "The origin under which browsers and apps reach this service, and the name in its tokens. It never changes: apps and providers know it.",
		set:  func(s *settings, v string) error { s.Issuer = v; return nil }},
	{key: "listen", form: "list of host:port", otherwise: "localhost:8080", example: "0.0.0.0:8443",
		help: "Where it listens. Several addresses are separated by commas.",
		set:  func(s *settings, v string) (err error) { s.Listen, err = addresses(v); return err }},
	{key: "tls_cert", form: "file", otherwise: "none: plain HTTP, for a proxy on the same machine or private network", example: "/etc/vestibule/tls.crt",
		help: "The certificate chain in PEM. It and tls_key are read again when they change, and on SIGHUP.",
		set:  func(s *settings, v string) error { s.TLSCert = v; return nil }},
	{key: "tls_key", form: "file", otherwise: "none", example: "/etc/vestibule/tls.key",
		help: "The private key of tls_cert in PEM.",
		set:  func(s *settings, v string) error { s.TLSKey = v; return nil }},
	{key: "database", form: "sqlite:PATH or postgres://…", otherwise: "sqlite:vestibule.db", example: "postgres://vestibule@db.internal/vestibule", secret: true, store: true,
		help: "Where everything durable lies: a SQLite file for one machine, PostgreSQL for one or many.",
		set:  func(s *settings, v string) (err error) { s.Database, err = databaseOf(v); return err }},
	{key: "redis", form: "redis:// or rediss:// address", otherwise: "none: the database keeps it", example: "rediss://cache.internal:6379/0", secret: true, store: true,
		help: "Redis or Valkey for what lives for minutes: logins in progress, codes, limits. It needs maxmemory-policy noeviction.",
		set:  func(s *settings, v string) error { s.Redis = v; return redisAddress(v) }},
	{key: "key_file", form: "file", otherwise: "vestibule.key beside a SQLite file, in the working directory with PostgreSQL", example: "/var/lib/vestibule/vestibule.key", store: true,
		help: "The sealing key, under which secrets in the database are encrypted. Back it up apart from the database.",
		set:  func(s *settings, v string) error { s.KeyFile = v; return nil }},
	{key: "key", form: "sealing key", otherwise: "what key_file holds", example: "vestibule-key-1:3q2-7w…", secret: true, hidden: true, store: true,
		help: "The sealing key itself, where files are unhandy. It is what stands in the file, with its prefix.",
		set:  func(s *settings, v string) error { s.Key = v; return nil }},
	{key: "trusted_proxies", form: "list of addresses and networks", otherwise: "none", example: "10.0.0.0/8,192.0.2.7",
		help: "The proxies whose X-Forwarded-For is believed, separated by commas. `everybody` believes it from anyone, which is right only where nobody but the proxy can connect.",
		set:  func(s *settings, v string) (err error) { s.Proxies, s.ProxyHeaders, err = proxies(v); return err }},
	{key: "limits.authorize_per_network", form: "count/time or off", otherwise: "1200/min", example: "600/min",
		help: "How many sign-ins one network (an IPv4 address, an IPv6 /64) may begin.",
		set:  func(s *settings, v string) error { return limit(&s.Limits.AuthorizePerNetwork, v) }},
	{key: "limits.authorize_per_app", form: "count/time or off", otherwise: "60000/min", example: "60000/min",
		help: "How many sign-ins may begin for one app.",
		set:  func(s *settings, v string) error { return limit(&s.Limits.AuthorizePerApp, v) }},
	{key: "limits.push_per_app", form: "count/time or off", otherwise: "60000/min", example: "60000/min",
		help: "How many authorization requests one app may push.",
		set:  func(s *settings, v string) error { return limit(&s.Limits.PushPerApp, v) }},
	{key: "limits.device_per_network", form: "count/time or off", otherwise: "3600/hour", example: "3600/hour",
		help: "How many devices of one network may ask to be signed in.",
		set:  func(s *settings, v string) error { return limit(&s.Limits.DevicePerNetwork, v) }},
	{key: "limits.user_code_per_network", form: "count/time or off", otherwise: "360/hour", example: "360/hour",
		help: "How many codes of devices one network may type, right or wrong.",
		set:  func(s *settings, v string) error { return limit(&s.Limits.UserCodePerNetwork, v) }},
	{key: "limits.per_user_code", form: "count/time or off", otherwise: "10/hour", example: "10/hour",
		help: "How many sign-ins may begin by one device's code.",
		set:  func(s *settings, v string) error { return limit(&s.Limits.PerUserCode, v) }},
	{key: "limits.stories_per_network", form: "count/time or off", otherwise: "1000/hour", example: "1000/hour",
		help: "How many traces of failed sign-ins one network may leave in the database; beyond it they are lines in the log.",
		set:  func(s *settings, v string) error { return limit(&s.Limits.StoriesPerNetwork, v) }},
	{key: "limits.stories_per_app", form: "count/time or off", otherwise: "10000/hour", example: "10000/hour",
		help: "How many traces of failed sign-ins may be left for one app.",
		set:  func(s *settings, v string) error { return limit(&s.Limits.StoriesPerApp, v) }},
	{key: "limits.passwords_per_network", form: "count/time or off", otherwise: "600/min", example: "600/min",
		help: "How many passwords one network may type, and how many links by e-mail it may ask for.",
		set:  func(s *settings, v string) error { return limit(&s.Limits.PasswordsPerNetwork, v) }},
	{key: "passwords.cost", form: "m=KiB,t=passes,p=lanes", otherwise: "m=7168,t=5,p=1", example: "m=19456,t=2,p=1",
		help: "What hashing a password with argon2id takes. Whoever signs in with a hash of another cost gets a new one on the way.",
		set:  func(s *settings, v string) (err error) { s.Cost, err = password.ParseCost(v); return err }},
	{key: "passwords.breached", form: "file", otherwise: "none: the list in the program alone", example: "/etc/vestibule/leaked.list",
		help: "Passwords that password.block_common refuses besides those that everybody knows, as `vestibule passwords list` writes them.",
		set:  func(s *settings, v string) error { s.Breached = v; return nil }},
	{key: "smtp", form: "smtp:// or smtps:// address", otherwise: "none: no e-mail is sent", example: "smtp://vestibule@mail.example.com:587", secret: true,
		help: "The mail server that takes all e-mail: smtp:// with STARTTLS, which it must offer, smtps:// with TLS from the first byte; `?tls=none` behind smtp:// for one on the same machine or private network.",
		set:  func(s *settings, v string) (err error) { s.SMTP, err = mail.Server(v); return plainly(err) }},
	{key: "smtp_password", form: "password", otherwise: "none", example: "…", secret: true, hidden: true,
		help: "The password of the user in smtp.",
		set:  func(s *settings, v string) error { s.SMTPPassword = v; return nil }},
	{key: "mail_from", form: "e-mail address, with a name if wanted", otherwise: "none: required with smtp", example: "Example Sign-in <login@example.com>",
		help: "Whom e-mail comes from. The name is used where no organization's stands in its place; SPF, DKIM and DMARC of its domain must let the mail server send for it.",
		set:  func(s *settings, v string) (err error) { s.MailFrom, err = sender(v); return err }},
	{key: "limits.mail_per_person", form: "count/time or off", otherwise: "10/hour", example: "10/hour",
		help: "How many e-mails with codes and links one person may be sent. Notices of changes to their account are not counted.",
		set:  func(s *settings, v string) error { return quota(&s.Messages.MailPerPerson, v) }},
	{key: "limits.mail_per_address", form: "count/time or off", otherwise: "10/hour", example: "10/hour",
		help: "The same for one address, whether anybody has it or not.",
		set:  func(s *settings, v string) error { return quota(&s.Messages.MailPerAddress, v) }},
	{key: "limits.mail_per_network", form: "count/time or off", otherwise: "2000/hour", example: "2000/hour",
		help: "How many e-mails browsers of one network (IPv4 /24, IPv6 /48) may cause.",
		set:  func(s *settings, v string) error { return quota(&s.Messages.MailPerNetwork, v) }},
	{key: "limits.mail_per_organization", form: "count/time or off", otherwise: "20000/day", example: "20000/day",
		help: "How many e-mails may be sent for one organization.",
		set:  func(s *settings, v string) error { return quota(&s.Messages.MailPerOrg, v) }},
	{key: "limits.mail_per_new_organization", form: "count/time or off", otherwise: "500/day", example: "500/day",
		help: "The same while the organization is younger than a week.",
		set:  func(s *settings, v string) error { return quota(&s.Messages.MailPerNewOrg, v) }},
	{key: "limits.mail_per_installation", form: "count/time or off", otherwise: "200000/day", example: "200000/day",
		help: "How many e-mails may be sent at all.",
		set:  func(s *settings, v string) error { return quota(&s.Messages.MailPerDay, v) }},
	{key: "limits.sms_per_network", form: "count/time or off", otherwise: "200/day", example: "200/day",
		help: "How many text messages browsers of one network (IPv4 /24, IPv6 /48) may cause. A person and a number get 5 a day.",
		set:  func(s *settings, v string) error { return quota(&s.Messages.SMSPerNetwork, v) }},
	{key: "sms.gateway", form: "https:// address", otherwise: "none: no text messages are sent", example: "https://sms.example.com/send", secret: true,
		help: "Where text messages are posted, as JSON with a signature. An http:// address only on this machine.",
		set:  func(s *settings, v string) (err error) { s.Gateway, err = gateway(v); return err }},
	{key: "sms.secret", form: "whsec_ and base64", otherwise: "none: required with sms.gateway", example: "whsec_dGhpcyBpcyBvbmx5IGFuIGV4YW1wbGUu", secret: true, hidden: true,
		help: "What the signature is made with, shared with the gateway.",
		set:  func(s *settings, v string) (err error) { s.GatewaySecret, err = sms.Secret(v); return plainly(err) }},
	{key: "sms.countries", form: "list of country=price", otherwise: "none: required with sms.gateway", example: "US=0.01,MX=0.05",
		help: "The countries that are written to, by their codes of ISO 3166-1, each with what one message costs in the currency of sms.daily_budget.",
		set:  func(s *settings, v string) (err error) { s.Messages.Prices, err = prices(v); return err }},
	{key: "sms.daily_budget", form: "amount", otherwise: "none: required with sms.gateway", example: "50",
		help: "What text messages may cost in 24 hours. At its end no more are sent, and an alarm stands in the record and the log.",
		set:  func(s *settings, v string) (err error) { s.Messages.SMSPerDay, err = money(v); return err }},
	{key: "sms.daily_budget_per_organization", form: "amount", otherwise: "a fifth of sms.daily_budget", example: "10",
		help: "The same for one organization.",
		set:  func(s *settings, v string) (err error) { s.Messages.SMSPerOrg, err = money(v); return err }},
	{key: "log.format", form: "text or json", otherwise: "text", example: "json",
		help: "How lines of the log are written.",
		set:  func(s *settings, v string) (err error) { s.LogFormat, err = oneOf(v, "text", "json"); return err }},
	{key: "log.level", form: "debug, info, warn or error", otherwise: "info", example: "info",
		help: "The least important line that is written.",
		set:  func(s *settings, v string) (err error) { s.LogLevel, err = level(v); return err }},
	{key: "audit.anchor_file", form: "file", otherwise: "none", example: "/var/lib/vestibule/anchors.jsonl",
		help: "Where signed anchors of the record are appended every hour, besides the database. Make it append-only, or keep it on another machine.",
		set:  func(s *settings, v string) error { s.AnchorFile = v; return nil }},
	{key: "admin_listen", form: "host:port", otherwise: "nowhere", example: "127.0.0.1:9090",
		help: "Where /healthz, /readyz and /metrics answer, apart from what the world may reach; on a loopback address /debug/pprof too.",
		set:  func(s *settings, v string) (err error) { s.AdminListen, err = address(v); return err }},
	{key: "development", form: "true or false", otherwise: "false", example: "true", toggle: true,
		help: "Error pages tell the cause, and made-up identity providers are believed. Only with an issuer on http://localhost.",
		set:  func(s *settings, v string) (err error) { s.Development, err = truth(v); return err }},
}

func (o option) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(o.key, ".", "_"))
}

func (o option) flag() string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(o.key)
}

const envPrefix = "VESTIBULE_"

// errSettings: the sentence says what is wrong, where, and how it is right.
var errSettings = fault.New(fault.Invalid, "vestibule.settings", "The configuration cannot be used.")

// wrong is a fault with a sentence of its own.
func wrong(declared *fault.Error, format string, args ...any) error {
	f := *declared
	f.Public = fmt.Sprintf(format, args...)
	return &f
}

// flagValue keeps what a flag was given until all sources are read.
type flagValue struct {
	given  map[string]string
	option option
}

func (v *flagValue) String() string   { return "" }
func (v *flagValue) IsBoolFlag() bool { return v.option.toggle }

func (v *flagValue) Set(value string) error {
	if v.option.secret && passworded(value) {
		return fmt.Errorf("a password on the command line can be read by every program on this machine; put it into %s or into a file that %s names",
			v.option.env(), v.option.env()+"_FILE")
	}
	v.given[v.option.key] = value
	return nil
}

// configFlags declares --config and the flags of the options that a command takes: all for serve, else
// those of the database. The function it returns reads all sources, after the flags were parsed.
func configFlags(f *flag.FlagSet, all bool) func() (*settings, error) {
	given := map[string]string{}
	file := f.String("config", "", "a YAML `file` with settings ("+envPrefix+"CONFIG)")
	for _, o := range options {
		if !all && !o.store || o.hidden {
			continue
		}
		usage := fmt.Sprintf("%s `%s` (%s; otherwise %s)", o.help, strings.ReplaceAll(o.form, "`", ""), o.env(), o.otherwise)
		if o.toggle {
			usage = fmt.Sprintf("%s (%s; otherwise %s)", o.help, o.env(), o.otherwise)
		} else {
			usage = strings.ReplaceAll(o.help, "`", "'") + fmt.Sprintf(" `%s` (%s; otherwise %s)", o.form, o.env(), o.otherwise)
		}
		f.Var(&flagValue{given, o}, o.flag(), usage)
	}
	return func() (*settings, error) { return readSettings(*file, given, os.Environ()) }
}

// log is the log that the settings ask for.
func (s *settings) log(to io.Writer) *slog.Logger {
	how := &slog.HandlerOptions{Level: s.LogLevel}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, how))
	}
	return slog.New(slog.NewTextHandler(to, how))
}

// storeOptions is how the store of these settings is opened. beside is for a command that runs next to
// a serve.
func (s *settings) storeOptions(log *slog.Logger, beside bool) store.Options {
	return store.Options{Path: s.Database.Path, DSN: s.Database.URL, Redis: s.Redis, Key: s.Key, KeyFile: s.KeyFile, Now: time.Now, Log: log, Beside: beside}
}

// errNoDatabase: a command that asks or changes makes no database where there is none.
var errNoDatabase = fault.New(fault.NotFound, "vestibule.no_database", "There is no database there. Name the one that the service uses with --database or VESTIBULE_DATABASE; `vestibule serve` makes a new one.")

// openBeside opens the store for one command of an operator, next to a serve that may be running.
func (s *settings) openBeside(ctx context.Context, log *slog.Logger) (*store.Store, error) {
	if s.Database.Path != "" {
		if _, err := os.Stat(s.Database.Path); err != nil {
			return nil, errNoDatabase.With(err)
		}
	}
	return store.Open(ctx, s.storeOptions(log, true))
}

// house is the configuration of the whole, as wire.go builds it.
func (s *settings) house(log *slog.Logger, own func() []netip.AddrPort) config {
	return config{Issuer: s.Issuer, Database: s.Database, Key: s.Key, KeyFile: s.KeyFile, Redis: s.Redis, AnchorFile: s.AnchorFile, Own: own, Limits: s.Limits, Cost: s.Cost, Breached: s.Breached, Messages: s.messages(own), Proxies: s.Proxies,
		Development: s.Development, Real: !s.Development, Log: log, Now: s.now}
}

func defaults() *settings {
	return &settings{
		Listen: []string{"localhost:8080"}, Database: database{Path: "vestibule.db"},
		Limits: broker.DefaultLimits(), Messages: delivery.DefaultLimits(), LogFormat: "text", given: map[string]string{}, now: time.Now,
	}
}

// complete fills what follows from other settings, and refuses what does not go together.
func (s *settings) complete() error {
	if err := s.completeIssuer(); err != nil {
		return err
	}
	if s.KeyFile == "" {
		s.KeyFile = "vestibule.key"
		if s.Database.Path != "" {
			s.KeyFile = filepath.Join(filepath.Dir(s.Database.Path), "vestibule.key")
		}
	}
	if err := s.completeMessages(); err != nil {
		return err
	}
	secure := strings.HasPrefix(s.Issuer, "https:")
	switch {
	case (s.TLSCert == "") != (s.TLSKey == ""):
		return wrong(errSettings, "%s: a certificate and its key belong together. Give both, or neither.", s.where("tls_cert", "tls_key"))
	case s.TLSCert != "" && !secure:
		return wrong(errSettings, "%s: with a certificate the issuer must begin with https://, not %s.", s.where("tls_cert"), s.Issuer)
	case s.Development && secure:
		return wrong(errSettings, "%s: error pages that tell causes are for http://localhost alone. Take the setting out, or use another issuer.", s.where("development"))
	}
	if secure && s.TLSCert == "" && len(s.Proxies) == 0 {
		s.notes = append(s.notes, "The issuer is https and there is no certificate here, so a proxy stands in front; it is not in trusted_proxies, so all requests count as one network's.")
	}
	return nil
}

func (s *settings) completeIssuer() error {
	_, port, _ := net.SplitHostPort(s.Listen[0])
	if s.Issuer == "" {
		host, _, _ := net.SplitHostPort(s.Listen[0])
		if a, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !a.IsLoopback()) {
			return wrong(errSettings, "%s: whoever listens beyond this machine has a name. Set the issuer (%s), such as https://login.example.com.", s.where("listen"), envPrefix+"ISSUER")
		}
		s.Issuer = "http://localhost:" + port
		return nil
	}
	u, err := issuerOf(s.Issuer)
	if err != nil {
		return wrong(errSettings, "%s: %s", s.where("issuer"), fault.Of(err).Public)
	}
	if _, given := s.given["listen"]; !given && u.Scheme == "http" {
		s.Listen = []string{"localhost:" + portOf(u)}
	}
	return nil
}

// issuerOf reads an issuer: an origin and nothing more (S42).
func issuerOf(issuer string) (*url.URL, error) {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(issuer, "?#"):
		return nil, errIssuer.Because(issuer)
	case u.Host != strings.ToLower(u.Host):
		return nil, errIssuer.Because(issuer)
	case u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost"):
		return nil, errIssuer.Because(issuer)
	}
	return u, nil
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// where names where the first of these options that was given stands.
func (s *settings) where(keys ...string) string {
	for _, k := range keys {
		if at, ok := s.given[k]; ok {
			return at
		}
	}
	return strings.Join(keys, ", ")
}

func optionOf(key string) (option, bool) {
	i := slices.IndexFunc(options, func(o option) bool { return o.key == key })
	if i < 0 {
		return option{}, false
	}
	return options[i], true
}

// quietLog is the log of a command: what its operator must know, on the terminal.
func quietLog(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
