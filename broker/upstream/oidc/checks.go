package oidc

import (
	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// checks is the doctor's list of one arrival as it grows. It is what Reports are made of: only parsed
// values, fit to be shown, ever get in (S23).
type checks struct{ list upstream.Report }

// want notes a check and returns the fault when it failed.
func (c *checks) want(name string, ok bool, f *fault.Error, got, expected string) error {
	c.note(name, ok, got, expected)
	if !ok {
		return f.Because(name)
	}
	return nil
}

// fail notes a check that failed and returns err.
func (c *checks) fail(name string, err error, got, expected string) error {
	c.note(name, false, got, expected)
	return err
}

func (c *checks) note(name string, ok bool, got, expected string) {
	if c.list == nil {
		c.list = make([]audit.Check, 0, usualChecks)
	}
	c.list = append(c.list, audit.Check{Name: name, OK: ok, Got: upstream.Shown(got), Expected: upstream.Shown(expected)})
}

// usualChecks are as many as an answer without any peculiarity passes.
const usualChecks = 12
