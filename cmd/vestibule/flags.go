package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
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
