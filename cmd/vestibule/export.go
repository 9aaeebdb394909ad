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
	cmd := newTool("export", "", aboutExport, errs)
	var o manifest.ExportOptions
	cmd.BoolVar(&o.Hashes, "with-hashes", false, "write the SHA-256 of client secrets, so that apps keep theirs")
	people := cmd.Bool("without-people", false, "leave people out")
	db, err := cmd.begin(ctx, args, 0, only)
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
