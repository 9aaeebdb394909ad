package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	errCode    = fault.New(fault.Invalid, "vestibule.trace_code", "That is not a trace code. It has eight letters and digits, as on the error page: VB-7Q4K-29TM.")
	errNoTrace = fault.New(fault.NotFound, "vestibule.trace_unknown", "There is no trace with that code. Traces are kept for 14 days. A request that was refused before a login began leaves a line in the log instead, and so do logins that fail too often: look for the code there.")
)

// runTrace tells how a login went.
func runTrace(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("trace", "CODE", "Tells how the login went whose error page showed CODE.", errs)
	data := cmd.String("data", "", "the data `directory` of a demonstration, in place of --database")
	if err := cmd.parse(args, 1, "Name one code, as the error page showed it."); err != nil {
		return err
	}
	code, ok := audit.ParseCode(cmd.args[0])
	if !ok {
		return errCode
	}
	s, err := cmd.read()
	if err != nil {
		return err
	}
	if *data != "" {
		s.Database, s.KeyFile = database{Path: filepath.Join(*data, "vestibule.db")}, filepath.Join(*data, "vestibule.key")
	}
	db, err := s.openBeside(ctx, quietLog(errs))
	if err != nil {
		return err
	}
	defer db.Close()
	t, found, err := db.TraceByCode(ctx, code)
	if err != nil {
		return err
	}
	if !found {
		return errNoTrace
	}
	now := time.Now()
	err = db.Record(ctx, audit.Entry{
		ID: "ent_" + code + "-" + now.UTC().Format("20060102150405.000000"), At: now, Org: t.Org, Actor: audit.Ref{Kind: "operator"},
		Action: audit.TraceRead, Target: audit.Ref{Kind: "trace", ID: code},
	})
	if err != nil {
		return err
	}
	return printTrace(out, t)
}

func printTrace(out io.Writer, t audit.Trace) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s", audit.ShowCode(t.Code), t.At.UTC().Format(time.RFC3339), t.Outcome)
	if t.Fault != "" {
		fmt.Fprintf(&b, " (%s)", t.Fault)
	}
	fmt.Fprintf(&b, "\norganization %s, app %s\n", orNone(t.Org), orNone(t.App))
	for _, s := range t.Steps {
		fmt.Fprintf(&b, "\n%s  %-8s %s\n", s.At.UTC().Format("15:04:05.000"), s.Name, s.Text)
		if s.Code != "" {
			fmt.Fprintf(&b, "              %s\n", s.Code)
		}
		names := make([]string, 0, len(s.Facts))
		for name := range s.Facts {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(&b, "              %s: %s\n", name, s.Facts[name])
		}
		for _, c := range s.Checks {
			mark := "ok  "
			if !c.OK {
				mark = "FAIL"
			}
			fmt.Fprintf(&b, "              %s %s", mark, c.Name)
			if !c.OK {
				fmt.Fprintf(&b, ": got %q, expected %q", c.Got, c.Expected)
			}
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}
