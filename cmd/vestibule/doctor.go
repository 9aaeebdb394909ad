package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// errAiling is how doctor says by its status that something failed.
var errAiling = fault.New(fault.Unavailable, "vestibule.doctor", "Something has to be put right: see the lines that begin with fail.")

const aboutDoctor = `Examines an installation and changes nothing: the configuration, the database, the short-lived store, keys, clocks, the
issuer as browsers and apps reach it, each connection to an identity provider, and apps with settings that invite trouble.
It runs beside "vestibule serve", with the same settings. Status 1 says that something failed; a warning fails nothing.`

// How a finding is judged.
const (
	fine = "ok"
	warn = "warn"
	fail = "fail"
)

// finding is one line of doctor.
type finding struct {
	Status string `json:"status"` // ok, warn or fail
	Check  string `json:"check"`  // what was looked at: "database", "connection"
	About  string `json:"about,omitempty"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"` // what to do, where something is to be done
}

// findings gathers what is found, by several goroutines at once, in the order in which it is to be read.
type findings struct {
	mu   sync.Mutex
	list []finding
}

func (f *findings) add(one finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, one)
}

func (f *findings) fine(check, format string, args ...any) {
	f.add(finding{Status: fine, Check: check, Text: fmt.Sprintf(format, args...)})
}

func (f *findings) warn(check, remedy, format string, args ...any) {
	f.add(finding{Status: warn, Check: check, Text: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (f *findings) fail(check, remedy, format string, args ...any) {
	f.add(finding{Status: fail, Check: check, Text: fmt.Sprintf(format, args...), Remedy: remedy})
}

// broke is a fault that says itself what is wrong and what to do. Its cause is of this installation's own
// parts and not of a stranger's answer, so its operator may read it.
func (f *findings) broke(check string, err error) {
	of := fault.Of(err)
	text := of.Public
	if cause := of.Unwrap(); cause != nil {
		text += " (" + cause.Error() + ")"
	}
	f.add(finding{Status: fail, Check: check, Text: text})
}

func (f *findings) failed() (n int) {
	for _, one := range f.list {
		if one.Status == fail {
			n++
		}
	}
	return n
}

func runDoctor(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := newFlags("doctor", "", aboutDoctor, errs)
	read := configFlags(flags, true)
	asJSON := flags.Bool("json", false, "print one JSON document, for programs")
	offline := flags.Bool("offline", false, "leave out what calls others: the issuer from outside, and identity providers")
	rest, err := parseAnywhere(flags, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return misused(flags, only)
	}
	d := &doctor{offline: *offline}
	d.examine(ctx, read)
	if err := d.print(out, *asJSON); err != nil {
		return err
	}
	if d.failed() > 0 {
		return errAiling
	}
	return nil
}

func (f *findings) print(out io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"version": version(), "healthy": f.failed() == 0, "findings": f.list})
	}
	for _, one := range f.list {
		what := one.Check
		if one.About != "" {
			what += " " + one.About
		}
		fmt.Fprintf(out, "%-5s %s: %s\n", one.Status, oneLine(what), oneLine(one.Text))
		if one.Remedy != "" {
			fmt.Fprintf(out, "      -> %s\n", oneLine(one.Remedy))
		}
	}
	return nil
}

// oneLine keeps names that others chose from drawing on the operator's terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return ' '
		}
		return r
	}, s)
}
