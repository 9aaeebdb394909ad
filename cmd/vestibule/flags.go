package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// newFlags makes a command's flags, with a usage that says what the command does.
func newFlags(name, args, about string, errs io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(errs)
	f.Usage = func() {
		fmt.Fprintf(errs, "Usage: vestibule %s [flags] %s\n\n%s\n\n", name, args, about)
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
