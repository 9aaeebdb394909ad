package main

import (
	"bufio"
	"context"
	"io"

	"github.com/vestibule-id/vestibule/manifest"
)

const aboutExport = `Writes what is there as YAML that "vestibule apply" reads into an empty installation, with the ids that apps and providers
know. Secrets are not among it: where each was stands {env: NAME}, to be filled in before it is applied.`

func runExport(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := newFlags("export", "", aboutExport, errs)
	var o manifest.ExportOptions
	flags.BoolVar(&o.Hashes, "with-hashes", false, "write the SHA-256 of client secrets, so that apps keep theirs")
	people := flags.Bool("without-people", false, "leave people out")
	read := configFlags(flags, false)
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if flags.NArg() != 0 {
		return misused(flags, "It takes no arguments, only flags.")
	}
	s, err := read()
	if err != nil {
		return err
	}
	db, err := s.openBeside(ctx, quietLog(errs))
	if err != nil {
		return err
	}
	defer db.Close()
	o.People = !*people
	to := bufio.NewWriter(out)
	if err := manifestService(db).Export(ctx, commandLine, to, o); err != nil {
		return err
	}
	return to.Flush()
}
