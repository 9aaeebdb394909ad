package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/vestibule-id/vestibule/store"
)

// newFlags makes a command's flags, with a usage that says what the command does.
func newFlags(name, args, about string, errs io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(errs)
	f.Usage = func() {
		fmt.Fprintf(errs, "Usage: vestibule %s\n\n%s\n\n", strings.TrimSpace(name+" [flags] "+args), about)
		f.PrintDefaults()
	}
	return f
}

// parseFlags reads the flags; what is wrong with them has been printed when it returns errUsage.
func parseFlags(f *flag.FlagSet, args []string) error {
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return errHelp
	case err != nil:
		return errUsage
	}
	return nil
}

// misused says what is wrong with the command line, then how it is right.
func misused(f *flag.FlagSet, what string) error {
	fmt.Fprintf(f.Output(), "vestibule %s: %s\n\n", f.Name(), what)
	f.Usage()
	return errUsage
}

// parseAnywhere reads flags that may stand before and behind the arguments, and returns the arguments.
func parseAnywhere(f *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := parseFlags(f, args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
}

// tool is a command of an operator that works on the store of an installation, beside a serve that may be
// running.
type tool struct {
	*flag.FlagSet
	read     func() (*settings, error)
	args     []string  // that are no flags, once they are parsed
	settings *settings // once the store is open
	errs     io.Writer
}

// newTool makes a command with the flags that say where the store is.
func newTool(name, args, about string, errs io.Writer) *tool {
	t := &tool{FlagSet: newFlags(name, args, about, errs), errs: errs}
	t.read = configFlags(t.FlagSet, false)
	return t
}

// only is what is said where a command takes no arguments.
const only = "It takes no arguments, only flags."

// parse reads a command line with n arguments, and says otherwise what is wrong.
func (t *tool) parse(args []string, n int, otherwise string) (err error) {
	if t.args, err = parseAnywhere(t.FlagSet, args); err != nil {
		return err
	}
	if len(t.args) != n {
		return t.misused(otherwise)
	}
	return nil
}

// open reads the settings and opens the store.
func (t *tool) open(ctx context.Context) (db *store.Store, err error) {
	if t.settings, err = t.read(); err != nil {
		return nil, err
	}
	return t.settings.openBeside(ctx, quietLog(t.errs))
}

// given are the flags that stand on the command line.
func (t *tool) given() map[string]bool {
	out := map[string]bool{}
	t.Visit(func(f *flag.Flag) { out[f.Name] = true })
	return out
}

func (t *tool) misused(what string) error { return misused(t.FlagSet, what) }

// begin is parse and open.
func (t *tool) begin(ctx context.Context, args []string, n int, otherwise string) (*store.Store, error) {
	if err := t.parse(args, n, otherwise); err != nil {
		return nil, err
	}
	return t.open(ctx)
}
