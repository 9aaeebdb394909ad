// Command vestibule is the whole service in one binary: `vestibule serve` runs it, `vestibule demo` shows
// it, `vestibule trace` tells how a login went. This package reads the command line, wires the house from top to bottom, and
// is the only one that knows the clock, the environment and the network it listens on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
)

// A command is one word of the command line.
type command struct {
	name, line string
	run        func(ctx context.Context, args []string, out, errs io.Writer) error
}

var commands = []command{
	{"serve", "run the service", runServe},
	{"apply", "make what is there as YAML files say", runApply},
	{"plan", "say what apply would change", runPlan},
	{"export", "write what is there as YAML", runExport},
	{"demo", "start a made-up world to click through, on this machine alone", runDemo},
	{"policy", "show and change what organizations, realms and apps ask for", runPolicy},
	{"guardrails", "show and change the platform's defaults and limits", runGuardrails},
	{"factor", "list, remove and reset somebody's second steps, let them in once without", runFactor},
	{"flow", "show, draft, publish and roll back organizations' sign-in flows", runFlow},
	{"keys", "list and change signing keys, the sealing key and data keys", runKeys},
	{"passwords", "make a list of passwords that nobody may use", runPasswords},
	{"app", "register apps, show them, change their secrets, let them register themselves", runApp},
	{"backup", "write everything into one file, while the service runs", runBackup},
	{"restore", "check a backup, or restore it into an empty place", runRestore},
	{"migrate", "bring the database to this version's schema, or say whether it is", runMigrate},
	{"audit", "verify, export and prune the record", runAudit},
	{"doctor", "examine the installation, and say what to put right", runDoctor},
	{"trace", "tell how the login with a trace code went", runTrace},
	{"version", "print the version", runVersion},
}

// gcPercent lets the heap grow to three times what is in use before it is collected. What is in use is a
// few megabytes, so this costs little memory and saves a twelfth of the processor time of a login.
const gcPercent = 200

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	otel.SetTracerProvider(noop.NewTracerProvider()) // what libraries of ours would trace, our own tracing tells
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) == 2 && args[0] == "help" {
		args = []string{args[1], "-h"}
	}
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		usage(out)
		return 0
	}
	if args[0] == "-version" || args[0] == "--version" {
		args[0] = "version"
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], out, errs)
		switch {
		case err == nil, errors.Is(err, errHelp):
			return 0
		case errors.Is(err, errUsage), errors.Is(err, errChanges):
			return 2
		case errors.Is(err, errMisused):
			return 1
		}
		explain(errs, err)
		return 1
	}
	fmt.Fprintf(errs, "vestibule has no command %q.\n\n", args[0])
	usage(errs)
	return 2
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Vestibule signs the people of your customers' organizations in to your apps.\n\nUsage: vestibule COMMAND [flags]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.line)
	}
	fmt.Fprint(w, "\nvestibule COMMAND -h explains a command.\n")
}

// explain says what went wrong to whoever runs the command: what happened, then the cause, which on
// their own machine they may read.
func explain(w io.Writer, err error) {
	f := fault.Of(err)
	fmt.Fprintf(w, "vestibule: %s\n", strings.ReplaceAll(f.Public, "\n", "\nvestibule: "))
	if problems, ok := errors.AsType[yamlfile.Problems](err); ok {
		fmt.Fprintln(w, problems)
		return
	}
	if cause := f.Unwrap(); cause != nil {
		fmt.Fprintf(w, "  because: %v\n", cause)
	}
}

var (
	errHelp  = errors.New("help was asked for")
	errUsage = errors.New("the command line was wrong")
	// errMisused is errUsage for a command whose 2 means something else.
	errMisused = errors.New("the command line was wrong")
)

func runVersion(_ context.Context, _ []string, out, _ io.Writer) error {
	_, err := fmt.Fprintln(out, "vestibule", version())
	return err
}
