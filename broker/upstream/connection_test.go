package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
)

// memory keeps connections and the record; a failed transaction leaves neither.
type memory struct {
	connections map[directory.ConnectionID]Connection
	entries     []audit.Entry
	orders      []directory.Revocation
	failAudit   bool
}

func (m *memory) Revoke(_ context.Context, _ directory.OrgID, r directory.Revocation) error {
	m.orders = append(m.orders, r)
	return nil
}

func (m *memory) ConnectionByID(_ context.Context, id directory.ConnectionID) (Connection, error) {
	c, ok := m.connections[id]
	if !ok {
		return Connection{}, ErrConnectionNotFound
	}
	return c, nil
}

func (m *memory) ConnectionsFor(context.Context, directory.OrgID) ([]Connection, error) {
	return nil, nil
}

func (m *memory) CreateConnection(_ context.Context, org directory.OrgID, c Connection) error {
	if c.Org != org {
		return ErrConnectionNotFound
	}
	m.connections[c.ID] = c
	return nil
}

func (m *memory) UpdateConnection(_ context.Context, org directory.OrgID, id directory.ConnectionID, change func(*Connection) error) error {
	c, ok := m.connections[id]
	if !ok || c.Org != org {
		return ErrConnectionNotFound
	}
	// Twice, as a store may when somebody else was faster.
	first := c
	if err := change(&first); err != nil {
		return err
	}
	if err := change(&c); err != nil {
		return err
	}
	c.Version++
	m.connections[id] = c
	return nil
}

func (m *memory) Record(_ context.Context, e audit.Entry) error {
	if m.failAudit {
		return errors.New("no disk")
	}
	m.entries = append(m.entries, e)
	return nil
}

func (m *memory) InTx(ctx context.Context, fn func(context.Context) error) error {
	before := map[directory.ConnectionID]Connection{}
	for k, v := range m.connections {
		before[k] = v
	}
	entries := slices.Clone(m.entries)
	err := fn(ctx)
	if err != nil {
		m.connections, m.entries = before, entries
	}
	return err
}

var operator = directory.Actor{Kind: directory.Operator, ID: "cli"}

// office is a service over a memory, with a protocol whose pin is the word of its settings.
func office() (*Service, *memory) {
	m := &memory{connections: map[directory.ConnectionID]Connection{}}
	pins := func(c Connection) string {
		var word struct{ Subject string }
		json.Unmarshal(c.Config, &word)
		return word.Subject
	}
	check := func(c Connection) (Connection, error) {
		if c.Issuer == "" {
			return c, ErrConfig.Because("no issuer")
		}
		return c, nil
	}
	return &Service{Connections: m, Revocations: m, Tx: m, Audit: m, Now: time.Now, Protocols: Protocols{"p": {Check: check, Pins: pins}, "q": {Check: check, Pins: pins}}}, m
}

func draft() Connection {
	return Connection{Type: "p", Name: "Okta", Issuer: "https://idp.example", Config: json.RawMessage(`{"subject":"sub"}`)}
}

func TestAConnectionIsCreatedWithItsEntry(t *testing.T) {
	s, m := office()
	c, err := s.Create(t.Context(), operator, "org_1", draft())
	if err != nil || !directory.ValidID("con_", string(c.ID)) || c.Status != Draft || m.connections[c.ID].Org != "org_1" {
		t.Fatalf("%+v, %v", c, err)
	}
	if len(m.entries) != 1 || m.entries[0].Action != audit.ConnectionCreated || m.entries[0].Target.ID != string(c.ID) || m.entries[0].Org != "org_1" {
		t.Errorf("%+v", m.entries)
	}
}

func TestWithoutItsEntryNothingChanges(t *testing.T) {
	s, m := office()
	m.failAudit = true
	if _, err := s.Create(t.Context(), operator, "org_1", draft()); err == nil || len(m.connections) != 0 {
		t.Errorf("%v with %d connections", err, len(m.connections))
	}
}

func TestOnlyWhoMayManageSignInChangesConnections(t *testing.T) {
	s, m := office()
	c, _ := s.Create(t.Context(), operator, "org_1", draft())
	for _, nobody := range []directory.Actor{{}, {Kind: directory.Engine}, {Kind: "person"}} {
		if _, err := s.Create(t.Context(), nobody, "org_1", draft()); !errors.Is(err, directory.ErrDenied) {
			t.Errorf("%v creates: %v", nobody, err)
		}
		err := s.Update(t.Context(), nobody, "org_1", c.ID, func(c *Connection) error { c.Name = "x"; return nil })
		if !errors.Is(err, directory.ErrDenied) || m.connections[c.ID].Name != "Okta" {
			t.Errorf("%v changes: %v", nobody, err)
		}
	}
	err := s.Update(t.Context(), operator, "org_2", c.ID, func(c *Connection) error { return nil })
	if !errors.Is(err, ErrConnectionNotFound) {
		t.Errorf("another organization's: %v", err)
	}
}

func TestS4TheSubjectsSourceIsFixedOnceSwitchedOn(t *testing.T) {
	change := func(subject string, status Status) func(*Connection) error {
		return func(c *Connection) error {
			c.Config, c.Status = json.RawMessage(`{"subject":"`+subject+`","other":1}`), status
			return nil
		}
	}
	s, m := office()
	c, _ := s.Create(t.Context(), operator, "org_1", draft())
	step := func(name string, want error, f func(*Connection) error) {
		t.Helper()
		before := m.connections[c.ID]
		if err := s.Update(t.Context(), operator, "org_1", c.ID, f); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if want != nil && string(m.connections[c.ID].Config) != string(before.Config) {
			t.Errorf("%s: changed all the same", name)
		}
	}
	step("a draft may change", nil, change("oid", Draft))
	step("even as it is switched on", nil, change("sub", Active))
	step("not when active", ErrImmutable, change("oid", Active))
	step("not by way of a draft", ErrImmutable, change("sub", Draft))
	if len(m.orders) > 0 {
		t.Errorf("ended before it was switched off: %v", m.orders)
	}
	step("switching off", nil, change("sub", Disabled))
	if len(m.orders) != 1 || m.orders[0].Kind != directory.RevokeConnection || m.orders[0].Ref != string(c.ID) || m.orders[0].Org != "org_1" {
		t.Errorf("ended by switching it off: %v", m.orders)
	}
	step("not when off", ErrImmutable, change("oid", Disabled))
	step("not by another type", ErrImmutable, func(c *Connection) error { c.Type = "q"; return nil })
	step("other settings may", nil, func(c *Connection) error { c.Config = json.RawMessage(`{"subject":"sub","other":2}`); return nil })
}

func TestWhoseAConnectionIsNeverChanges(t *testing.T) {
	s, m := office()
	c, _ := s.Create(t.Context(), operator, "org_1", draft())
	err := s.Update(t.Context(), operator, "org_1", c.ID, func(c *Connection) error {
		c.ID, c.Org, c.Realm, c.Version = "con_2", "org_2", "rlm_2", 99
		return nil
	})
	got := m.connections[c.ID]
	if err != nil || got.ID != c.ID || got.Org != "org_1" || got.Realm != "" || got.Version != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheRecordNamesFieldsAndNoValues(t *testing.T) {
	s, m := office()
	c, _ := s.Create(t.Context(), operator, "org_1", draft())
	err := s.Update(t.Context(), operator, "org_1", c.ID, func(c *Connection) error {
		c.Secret, c.Name = json.RawMessage(`{"client_secret":"hunter2"}`), "New"
		return nil
	})
	text, _ := json.Marshal(m.entries)
	if err != nil || m.entries[1].Detail["fields"] != "name, secret" || strings.Contains(string(text), "hunter2") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestConnectionsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Connection){
		"no name":                  func(c *Connection) { c.Name = "" },
		"a long name":              func(c *Connection) { c.Name = strings.Repeat("x", 101) },
		"a name with NUL":          func(c *Connection) { c.Name = "a\x00" },
		"an unknown type":          func(c *Connection) { c.Type = "ldap" },
		"an unknown status":        func(c *Connection) { c.Status = "on" },
		"an unknown rule":          func(c *Connection) { c.JIT = "always" },
		"an hour of skew":          func(c *Connection) { c.Skew = time.Hour },
		"negative skew":            func(c *Connection) { c.Skew = -1 },
		"what the protocol says":   func(c *Connection) { c.Issuer = "" },
		"a private network":        func(c *Connection) { c.Private = []string{"10.0.0.0/8"} },
		"a private host":           func(c *Connection) { c.Private = []string{"10.0.0.5"} },
		"a private star":           func(c *Connection) { c.Private = []string{"*:443"} },
		"a private port too large": func(c *Connection) { c.Private = []string{"a:70000"} },
		"capitals":                 func(c *Connection) { c.Private = []string{"A:443"} },
		"seventeen private":        func(c *Connection) { c.Private = slices.Repeat([]string{"a:1"}, 17) },
	} {
		s, m := office()
		c := draft()
		change(&c)
		if _, err := s.Create(t.Context(), operator, "org_1", c); !errors.Is(err, ErrConfig) || len(m.connections) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestS23OnlyTheOperatorOpensPrivateTargets(t *testing.T) {
	s, _ := office()
	before, after := draft(), draft()
	before.Status, after.Status = Draft, Draft
	after.Private = []string{"10.0.0.5:443"}
	tenant := directory.Actor{Kind: "person", ID: "per_1"}
	if _, err := s.check(tenant, before, after); !errors.Is(err, directory.ErrDenied) {
		t.Errorf("a tenant opens: %v", err)
	}
	if _, err := s.check(tenant, after, after); err != nil {
		t.Errorf("a tenant keeps what the operator opened: %v", err)
	}
	if _, err := s.check(operator, before, after); err != nil {
		t.Errorf("the operator opens: %v", err)
	}
}
