package main

import (
	"bytes"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
)

// file writes a file of a test and gives its path.
func file(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWithoutAnyConfigurationItServesLocalhost(t *testing.T) {
	s, err := readSettings("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Issuer != "http://localhost:8080" || s.Listen[0] != "localhost:8080" || s.Database.Path != "vestibule.db" || s.KeyFile != "vestibule.key" ||
		s.Redis != "" || len(s.Proxies) != 0 || s.Limits != broker.DefaultLimits() || s.LogLevel != slog.LevelInfo || s.AdminListen != "" || s.Development {
		t.Errorf("%+v", s)
	}
}

func TestFlagsWinOverTheEnvironmentAndTheEnvironmentOverTheFile(t *testing.T) {
	path := file(t, "vestibule.yaml", `
issuer: https://from.file.example
listen: [127.0.0.1:1, "[::1]:1"]
database: sqlite:/from/file.db
trusted_proxies:
  - 10.0.0.0/8
  - 192.0.2.7
limits:
  authorize_per_network: 5/min
  authorize_per_app: off
log: {format: json}
redis:
`, 0o644)
	s, err := readSettings(path, map[string]string{"listen": ":3"},
		[]string{"VESTIBULE_LISTEN=:2", "VESTIBULE_DATABASE=sqlite:/from/env.db", "VESTIBULE_LIMITS_STORIES_PER_APP=7/hour", "VESTIBULE_ISSUER=", "PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	limits := broker.DefaultLimits()
	limits.AuthorizePerNetwork.Most, limits.AuthorizePerApp.Most, limits.StoriesPerApp.Most = 5, 0, 7
	proxies := web.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")}
	if s.Issuer != "https://from.file.example" || s.Listen[0] != ":3" || s.Database.Path != "/from/env.db" || s.KeyFile != "/from/vestibule.key" ||
		s.Limits != limits || s.LogFormat != "json" || !reflect.DeepEqual(s.Proxies, proxies) {
		t.Errorf("%+v", s)
	}
	if s.given["issuer"] != path+":2:9" || s.given["listen"] != "--listen" || s.given["database"] != "VESTIBULE_DATABASE" {
		t.Errorf("%v", s.given)
	}
}

func TestAnIssuerOnThisMachineSaysWhereToListen(t *testing.T) {
	for _, tc := range []struct {
		env            []string
		issuer, listen string
	}{
		{[]string{"VESTIBULE_ISSUER=http://localhost:9000"}, "http://localhost:9000", "localhost:9000"},
		{[]string{"VESTIBULE_LISTEN=127.0.0.1:9001"}, "http://localhost:9001", "127.0.0.1:9001"},
		{[]string{"VESTIBULE_ISSUER=http://localhost:9000", "VESTIBULE_LISTEN=:9002"}, "http://localhost:9000", ":9002"},
		{[]string{"VESTIBULE_ISSUER=https://login.example.com"}, "https://login.example.com", "localhost:8080"},
	} {
		s, err := readSettings("", nil, tc.env)
		if err != nil || s.Issuer != tc.issuer || s.Listen[0] != tc.listen {
			t.Errorf("%v: %+v, %v", tc.env, s, err)
		}
	}
}

// Each of these is a mistake that somebody makes at a terminal; the sentence is all that they see.
func TestABrokenOrUnknownSettingIsRefusedWithItsRemedy(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		name, yaml, env string
		flags           map[string]string
		says            string
	}{
		{"unknown variable", "", "VESTIBULE_ISUER=https://a.example", nil, "VESTIBULE_ISUER: there is no such setting. Did you mean VESTIBULE_ISSUER?"},
		{"unknown variable far from all", "", "VESTIBULE_COLOUR_OF_THE_SKY=1", nil, "`vestibule serve -h` lists those there are; variables of other programs must not begin with VESTIBULE_."},
		{"unknown key", "isuer: https://a.example", "", nil, "c.yaml:1:1: isuer: There is no key \"isuer\" here. Did you mean issuer?"},
		{"unknown key in a group", "limits:\n  authorise_per_network: 1/min", "", nil, "c.yaml:2:3: limits.authorise_per_network: There is no key \"authorise_per_network\" here. Did you mean authorize_per_network?"},
		{"a key twice", "issuer: https://a.example\nissuer: https://b.example", "", nil, "c.yaml:2:1: issuer: This key stands here twice."},
		{"not YAML", "issuer: [", "", nil, "c.yaml:1: This is not YAML:"},
		{"a list of nothing", "- issuer", "", nil, "c.yaml:1:1: A map (key: value) is expected here, not a list."},
		{"a group that is none", "log: json", "", nil, "c.yaml:1:6: log: A map (key: value) is expected here, not \"json\"."},
		{"a map where a value belongs", "issuer: {a: b}", "", nil, "c.yaml:1:9: issuer: A list (lines that begin with -) is expected here, not a map."},
		{"two documents", "issuer: https://a.example\n---\nrealms: []", "", nil, "c.yaml:3:1: A configuration file has one document."},
		{"anchors", "issuer: &a https://a.example", "", nil, "c.yaml:1:9: Anchors (&name) and aliases (*name) are not read. Write the value out."},
		{"http beyond this machine", "issuer: http://login.example.com", "", nil, "c.yaml:1:9: The issuer must be https://host[:port]"},
		{"issuer with a path", "", "VESTIBULE_ISSUER=https://a.example/", nil, "VESTIBULE_ISSUER: The issuer must be https://host[:port]"},
		{"issuer that is none", "", "", map[string]string{"issuer": "a.example"}, "--issuer: The issuer must be https://host[:port]"},
		{"listening for all without a name", "", "VESTIBULE_LISTEN=0.0.0.0:8080", nil, "VESTIBULE_LISTEN: whoever listens beyond this machine has a name. Set the issuer (VESTIBULE_ISSUER)"},
		{"address without port", "", "VESTIBULE_LISTEN=localhost", nil, `VESTIBULE_LISTEN: an address is host:port, such as localhost:8080 or [::1]:8080, not "localhost".`},
		{"address twice", "listen: [':1', ':1']", "", nil, "c.yaml:1:9: :1 stands here twice."},
		{"admin address", "admin_listen: 9090", "", nil, "c.yaml:1:15: an address is host:port"},
		{"certificate without key", "issuer: https://a.example\ntls_cert: a.pem", "", nil, "c.yaml:2:11: a certificate and its key belong together. Give both, or neither."},
		{"certificate for http", "tls_cert: a.pem\ntls_key: b.pem", "", nil, "c.yaml:1:11: with a certificate the issuer must begin with https://, not http://localhost:8080."},
		{"path as database", "", "VESTIBULE_DATABASE=vestibule.db", nil, "VESTIBULE_DATABASE: a database is sqlite:PATH or postgres://user@host:port/database."},
		{"SQLite nowhere", "", "VESTIBULE_DATABASE=sqlite:", nil, "VESTIBULE_DATABASE: a SQLite database is sqlite: and the path of its file"},
		{"PostgreSQL without database", "", "VESTIBULE_DATABASE=postgres://db", nil, "VESTIBULE_DATABASE: a PostgreSQL database is postgres://user@host:port/database"},
		{"both ways of saying it", "", "VESTIBULE_DATABASE=sqlite:a.db\nVESTIBULE_DATABASE_FILE=" + file(t, "dsn", "sqlite:b.db\n", 0o600), nil, "VESTIBULE_DATABASE and VESTIBULE_DATABASE_FILE say the same thing. Keep one of them."},
		{"no such secret", "", "VESTIBULE_DATABASE_FILE=" + dir + "/none", nil, "VESTIBULE_DATABASE_FILE: there is no file " + dir + "/none"},
		{"an empty secret", "", "VESTIBULE_DATABASE_FILE=" + file(t, "dsn", "\n", 0o600), nil, "dsn is empty"},
		{"a directory as secret", "", "VESTIBULE_DATABASE_FILE=" + dir, nil, dir + " is not a file"},
		{"a secret that others may write", "", "VESTIBULE_DATABASE_FILE=" + file(t, "dsn", "sqlite:b.db", 0o666), nil, "can be written by others than its owner (-rw-rw-rw-). Run: chmod 600 "},
		{"a mail server that is none", "smtp: mail.example.com:25\nmail_from: a@b.example", "", nil, "c.yaml:1:7: A mail server is smtp://user@host:port (STARTTLS) or smtps://user@host:port (TLS)."},
		{"mail from nobody", "smtp: smtp://mail.example.com", "", nil, "c.yaml:1:7: e-mail comes from somebody. Set mail_from (VESTIBULE_MAIL_FROM), such as login@example.com."},
		{"mail from two", "mail_from: a@b.example, c@d.example", "", nil, "c.yaml:1:12: an address is login@example.com or Example <login@example.com>"},
		{"a password of nobody", "smtp: smtp://mail.example.com\nmail_from: a@b.example", "VESTIBULE_SMTP_PASSWORD=geheim", nil, "VESTIBULE_SMTP_PASSWORD: a password belongs to a user."},
		{"two passwords", "smtp: smtp://u:x@mail.example.com\nmail_from: a@b.example", "VESTIBULE_SMTP_PASSWORD=geheim", nil, "VESTIBULE_SMTP_PASSWORD: there is a password in smtp too. Keep one of them."},
		{"a password in the open", "smtp: smtp://u@mail.example.com?tls=none\nmail_from: a@b.example", "VESTIBULE_SMTP_PASSWORD=geheim", nil, "c.yaml:1:7: no password is sent without TLS."},
		{"a gateway without secret", "sms:\n  gateway: https://sms.example.com/", "", nil, "c.yaml:2:12: text messages need sms.secret, sms.countries with their prices, and sms.daily_budget."},
		{"a gateway in the open", "sms:\n  gateway: http://sms.example.com/", "", nil, "c.yaml:2:12: a gateway is an https:// address; http:// only on this machine."},
		{"a secret that is none", "", "VESTIBULE_SMS_SECRET=geheim", nil, "VESTIBULE_SMS_SECRET: The secret of an SMS gateway is whsec_ and at least 24 random bytes in base64"},
		{"a country that is none", "sms:\n  countries: [UK=0.05]", "", nil, "c.yaml:2:14: a country is its code of two capitals, such as US=0.01, not \"UK=0.05\"."},
		{"a country without price", "sms:\n  countries: [US]", "", nil, "c.yaml:2:14: US: an amount is a number such as 0.05 or 50"},
		{"no money", "sms:\n  daily_budget: 0", "", nil, "c.yaml:2:17: an amount is a number such as 0.05 or 50, not \"0\"."},
		{"more than all", "sms:\n  daily_budget: 5\n  daily_budget_per_organization: 6", "", nil, "c.yaml:3:34: one organization cannot have more than sms.daily_budget."},
		{"Redis that is none", "redis: localhost:6379", "", nil, "c.yaml:1:8: Redis is redis://host:port/0"},
		{"everybody as proxy", "trusted_proxies: 0.0.0.0/0", "", nil, "c.yaml:1:18: 0.0.0.0/0 trusts far more than proxies: anybody there could claim any address."},
		{"half of everybody", "trusted_proxies: [128.0.0.0/1]", "", nil, "128.0.0.0/1 trusts far more than proxies"},
		{"all of IPv6", "trusted_proxies: ['::/0']", "", nil, "::/0 trusts far more than proxies"},
		{"a proxy that is none", "trusted_proxies: proxy.internal", "", nil, `c.yaml:1:18: a proxy is an address or a network, such as 192.0.2.7 or 10.0.0.0/8, not "proxy.internal".`},
		{"an address for a network", "trusted_proxies: 10.1.2.3/8", "", nil, "10.1.2.3/8 is an address inside a network; the network is 10.0.0.0/8."},
		{"a limit without time", "limits: {authorize_per_app: 100}", "", nil, `c.yaml:1:29: a limit is a count for a second, min, hour or day, such as 1200/min, or off; not "100".`},
		{"a limit of nothing", "", "VESTIBULE_LIMITS_STORIES_PER_NETWORK=0/min", nil, `or off; not "0/min".`},
		{"log format", "log: {format: jsno}", "", nil, `c.yaml:1:15: There is no value "jsno" here. Did you mean json?`},
		{"log level", "", "VESTIBULE_LOG_LEVEL=verbose", nil, `VESTIBULE_LOG_LEVEL: There is no value "verbose" here. Known: debug, info, warn, error.`},
		{"development that is no truth", "development: yes", "", nil, `c.yaml:1:14: true or false is expected, not "yes".`},
		{"development for the world", "issuer: https://a.example\ndevelopment: true", "", nil, "c.yaml:2:14: error pages that tell causes are for http://localhost alone."},
		{"two mistakes at once", "isuer: x", "VESTIBULE_LOG_LEVEL=loud", nil, "VESTIBULE_LOG_LEVEL: There is no value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := ""
			if tc.yaml != "" {
				path = filepath.Join(t.TempDir(), "c.yaml")
				if err := os.WriteFile(path, []byte(tc.yaml), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := readSettings(path, tc.flags, strings.Split(tc.env, "\n"))
			if err == nil {
				t.Fatal("it was taken")
			}
			if said := fault.Of(err).Public; !strings.Contains(said, tc.says) {
				t.Errorf("it says\n%s\nand not\n%s", said, tc.says)
			}
		})
	}
	if _, err := readSettings(dir+"/none.yaml", nil, nil); err == nil || !strings.Contains(fault.Of(err).Public, "--config: there is no file") {
		t.Errorf("%v", err)
	}
	if _, err := readSettings("", nil, []string{"VESTIBULE_CONFIG=" + dir + "/none.yaml"}); err == nil || !strings.Contains(fault.Of(err).Public, "VESTIBULE_CONFIG: there is no file") {
		t.Errorf("%v", err)
	}
}

// Kubernetes gives every container variables of the services around it, and one may be called vestibule.
func TestVariablesOfServiceLinksAreNoSettings(t *testing.T) {
	_, err := readSettings("", nil, []string{
		"VESTIBULE_SERVICE_HOST=10.0.0.1", "VESTIBULE_SERVICE_PORT=80", "VESTIBULE_SERVICE_PORT_HTTP=80", "VESTIBULE_PORT=tcp://10.0.0.1:80",
		"VESTIBULE_PORT_80_TCP=tcp://10.0.0.1:80", "VESTIBULE_PORT_80_TCP_ADDR=10.0.0.1", "VESTIBULE_REDIS_SERVICE_HOST=10.0.0.2", "VESTIBULE_REDIS_PORT=tcp://10.0.0.2:6379",
	})
	if err != nil {
		t.Error(fault.Of(err).Public)
	}
}

func TestS60NoPasswordOnTheCommandLine(t *testing.T) {
	for _, line := range []string{
		"-database postgres://u:geheim@db/v", "--redis=redis://:geheim@cache:6379", "-database postgres://db/v?password=geheim", "-database postgres://u:gehe%im@db/v",
	} {
		var said bytes.Buffer
		f := newFlags("serve", "", "", &said)
		configFlags(f, true)
		if err := parseFlags(f, strings.Fields(line)); err == nil {
			t.Errorf("%s was taken", line)
		}
		if !strings.Contains(said.String(), "can be read by every program on this machine; put it into VESTIBULE_") {
			t.Errorf("%s: %s", line, &said)
		}
	}
	dsn := "postgres://u:geheim@db/v"
	path := file(t, "dsn", dsn+"\n", 0o600)
	for _, env := range []string{"VESTIBULE_DATABASE=" + dsn, "VESTIBULE_DATABASE_FILE=" + path} {
		s, err := readSettings("", nil, []string{env})
		if err != nil || s.Database.URL != dsn || len(s.notes) != 0 {
			t.Errorf("%s: %+v, %v", env, s, err)
		}
	}
	// In a file: as in a file with a secret.
	if s, err := readSettings(file(t, "c.yaml", "database: "+dsn, 0o600), nil, nil); err != nil || len(s.notes) != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if s, err := readSettings(file(t, "c.yaml", "database: "+dsn, 0o644), nil, nil); err != nil || len(s.notes) != 1 {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := readSettings(file(t, "c.yaml", "database: "+dsn, 0o666), nil, nil); err == nil || !strings.Contains(fault.Of(err).Public, "can be written by others") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("%v", err)
	}
}

// What is wrong with a secret is said without it.
func TestErrorsOfSettingsShowNoSecret(t *testing.T) {
	for _, env := range []string{
		"VESTIBULE_DATABASE=postgres://u:geheim@db", "VESTIBULE_DATABASE=mysql://u:geheim@db/v", "VESTIBULE_REDIS=http://:geheim@cache", "VESTIBULE_DATABASE=postgres://u:geheim%zz@db/v",
		"VESTIBULE_DATABASE_FILE=" + file(t, "dsn", "mysql://u:geheim@db/v", 0o600), "VESTIBULE_SMTP=http://u:geheim@mail", "VESTIBULE_SMTP=smtp://u:geheim@mail:x", "VESTIBULE_SMTP=smtp://u:geheim@mail",
		"VESTIBULE_SMTP_PASSWORD=geheim", "VESTIBULE_SMS_SECRET=geheim", "VESTIBULE_SMS_GATEWAY=http://sms.example.com/?key=geheim", "VESTIBULE_SMS_GATEWAY=https://u:geheim@sms.example.com/",
	} {
		_, err := readSettings("", nil, []string{env})
		if err == nil || strings.Contains(err.Error()+fault.Of(err).Public, "geheim") {
			t.Errorf("%s: %v", env, err)
		}
	}
}

func TestEverybodyMayBeTrustedByWord(t *testing.T) {
	s, err := readSettings("", nil, []string{"VESTIBULE_TRUSTED_PROXIES=everybody"})
	if err != nil || !s.ProxyHeaders || len(s.Proxies) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

// The table is the one place where settings are: each has all its texts, its example is taken, and every
// limit of the broker's has one.
func TestTheTableOfSettingsIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range options {
		if seen[o.key] || seen[o.env()] {
			t.Errorf("%s stands twice", o.key)
		}
		seen[o.key], seen[o.env()] = true, true
		if o.form == "" || o.otherwise == "" || o.example == "" || !strings.HasSuffix(o.help, ".") || o.set == nil {
			t.Errorf("%s has a gap: %+v", o.key, o)
		}
		if err := o.set(defaults(), o.example); err != nil {
			t.Errorf("the example of %s: %v", o.key, err)
		}
	}
	all := reflect.TypeFor[broker.Limits]()
	for i := range all.NumField() {
		name := all.Field(i).Name
		o, ok := optionOf("limits." + snake(name))
		if !ok {
			t.Errorf("broker.Limits.%s has no setting limits.%s", name, snake(name))
			continue
		}
		s := defaults()
		if err := o.set(s, "42/day"); err != nil {
			t.Fatal(err)
		}
		if l := reflect.ValueOf(s.Limits).Field(i).Interface().(web.Limit); l.Most != 42 || l.Per != 24*time.Hour || l.Name == "" {
			t.Errorf("%s sets %s to %+v", o.key, name, l)
		}
		// What the table says of the default is the default.
		if err := o.set(s, o.otherwise); err != nil || s.Limits != broker.DefaultLimits() {
			t.Errorf("%s: the default is not %s", o.key, o.otherwise)
		}
	}
}

// Every limit of messages that has a setting is set by it, and by default what the table says.
func TestTheTableOfSettingsNamesTheLimitsOfMessages(t *testing.T) {
	s := defaults()
	for _, o := range options {
		if !strings.HasPrefix(o.key, "limits.mail_") && !strings.HasPrefix(o.key, "limits.sms_") {
			continue
		}
		if err := o.set(s, "42/min"); err != nil || reflect.DeepEqual(s.Messages, delivery.DefaultLimits()) {
			t.Errorf("%s sets nothing (%v)", o.key, err)
		}
		if err := o.set(s, o.otherwise); err != nil || !reflect.DeepEqual(s.Messages, delivery.DefaultLimits()) {
			t.Errorf("%s: the default is not %s (%v)", o.key, o.otherwise, err)
		}
	}
}

func snake(name string) string {
	var b strings.Builder
	for i, c := range name {
		if c >= 'A' && c <= 'Z' && i > 0 {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToLower(string(c)))
	}
	return b.String()
}

// Every setting is a flag of serve; commands that open the database take its flags.
func TestHelpNamesEverySetting(t *testing.T) {
	var said bytes.Buffer
	run(t.Context(), []string{"help", "serve"}, &said, &said)
	for _, o := range options {
		if o.hidden {
			continue // no command line may hold it
		}
		if !strings.Contains(said.String(), "-"+o.flag()+" ") && !strings.Contains(said.String(), "-"+o.flag()+"\n") {
			t.Errorf("no --%s in\n%s", o.flag(), &said)
		}
		if !strings.Contains(said.String(), o.env()) {
			t.Errorf("no %s", o.env())
		}
	}
	f := newFlags("trace", "", "", &said)
	configFlags(f, false)
	var names []string
	f.VisitAll(func(one *flag.Flag) { names = append(names, one.Name) })
	if got := strings.Join(names, " "); got != "config database key-file redis" {
		t.Errorf("a command takes %s", got)
	}
}
