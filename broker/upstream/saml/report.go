package saml

import (
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
)

// notes fills the doctor's check list. What it holds is shown to administrators (S23, S44).
type notes struct{ report upstream.Report }

func (n *notes) add(name string, ok bool, got, expected string) bool {
	n.report = append(n.report, audit.Check{Name: name, OK: ok, Got: upstream.Shown(got), Expected: upstream.Shown(expected)})
	return ok
}

func at(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339)
}
