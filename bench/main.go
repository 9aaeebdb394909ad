// Command bench measures the binary as apps and browsers see it: it builds it, gives it databases and
// identity providers of its own, drives complete logins and the requests of apps through it, sixteen at
// once, and prints what each cost in processor time of the service's process and of its databases.
//
// It knows nothing of the code that it measures: what it says can be said of any release. `make bench`
// runs it; `go run ./bench -h` lists what it can be told. Machines differ and are noisy, so processor
// time for each operation and its ratios matter, and operations a second say more about the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// plan is what is measured.
type plan struct {
	Binary        string // "" builds it
	Backends      []string
	Organizations []int
	Operations    []string
	For           time.Duration // how long each operation is measured
	Count         int           // or how often it is run; 0: For decides
	Browsers      int           // at once
	People        int           // who sign in, in turn
	Profiles      string        // directory for a profile of each row; "" makes none
}

const (
	onSQLite   = "SQLite"
	onPostgres = "PostgreSQL + Redis"
)

var backends = map[string]string{"sqlite": onSQLite, "postgres+redis": onPostgres}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = measureAll(ctx, p, os.Stdout, os.Stderr, "go run ./bench "+strings.Join(os.Args[1:], " "))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func parse(args []string, errs io.Writer) (plan, error) {
	p := plan{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errs)
	f.StringVar(&p.Binary, "binary", "", "the `file` to measure (otherwise it is built)")
	on := f.String("backends", "sqlite,postgres+redis", "`list` of sqlite and postgres+redis")
	organizations := f.String("organizations", "10,10000", "`list` of how many organizations there are")
	ops := f.String("operations", strings.Join(names(operations), ","), "`list` of operations; empty measures none: the start, the memory and the page alone")
	f.DurationVar(&p.For, "for", 5*time.Second, "how long each operation is measured")
	f.IntVar(&p.Count, "count", 0, "how often each operation is run, in place of -for")
	f.IntVar(&p.Browsers, "c", 16, "how many browsers and apps come at once")
	f.IntVar(&p.People, "people", 1000, "how many people sign in, in turn")
	f.StringVar(&p.Profiles, "profiles", "", "a `directory` for a processor profile of each operation")
	if err := f.Parse(args); err != nil {
		return p, err
	}
	if f.NArg() != 0 || p.Browsers < 1 || p.People < 1 || p.Count < 0 {
		return p, errors.New("it takes no arguments, and its numbers are positive: -h lists the flags")
	}
	return p, errors.Join(p.choose(*on), p.size(*organizations), p.operate(*ops))
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func (p *plan) choose(list string) error {
	for _, name := range split(list) {
		if backends[name] == "" {
			return fmt.Errorf("there is no backend %q", name)
		}
		p.Backends = append(p.Backends, backends[name])
	}
	return nil
}

func (p *plan) size(list string) error {
	for _, word := range split(list) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no number of organizations", word)
		}
		p.Organizations = append(p.Organizations, n)
	}
	return nil
}

func (p *plan) operate(list string) error {
	p.Operations = split(list)
	for _, name := range p.Operations {
		if !slices.Contains(names(operations), name) {
			return fmt.Errorf("there is no operation %q", name)
		}
	}
	return nil
}

func names(all []operation) (out []string) {
	for _, o := range all {
		out = append(out, o.name)
	}
	return out
}

// measureAll measures what the plan says and prints the tables.
func measureAll(ctx context.Context, p plan, out, errs io.Writer, command string) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if p.Binary == "" {
		if p.Binary, err = build(ctx, dir, "-trimpath", "-ldflags", "-s -w"); err != nil {
			return err
		}
	}
	load := loadAverage() // before ours
	var all []result
	for _, backend := range p.Backends {
		for _, organizations := range p.Organizations {
			fmt.Fprintf(errs, "%s, %d organizations…\n", backend, organizations)
			r, err := measure(ctx, p, dir, backend, organizations, errs)
			if err != nil {
				return fmt.Errorf("%s, %d organizations: %w", backend, organizations, err)
			}
			all = append(all, r)
		}
	}
	return print(out, p, all, command, load)
}

// build makes the binary.
func build(ctx context.Context, dir string, flags ...string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("run it inside the module: %w", err)
	}
	to := filepath.Join(dir, "vestibule")
	c := exec.CommandContext(ctx, "go", append(append([]string{"build"}, flags...), "-o", to, "./cmd/vestibule")...)
	c.Dir = strings.TrimSpace(string(root))
	if said, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, said)
	}
	return to, nil
}

// result is what was measured of one world.
type result struct {
	backend       string
	organizations int
	apply         time.Duration // how long the manifest took
	start         time.Duration // from exec to the first answer, the least of several
	idle, peak    int64         // resident bytes of the service's process
	page          pageCost
	rows          []row
}

// row is one operation in one world.
type row struct {
	name              string
	count             int
	took              time.Duration
	broker, pg, redis time.Duration // processor time of each process tree
	signature         time.Duration // processor time of an ES256 signature and its check, right before
	p50, p99          time.Duration
}

// each is processor time for one operation, in milliseconds.
func (r row) each(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000 / float64(max(r.count, 1))
}

const starts = 3

func measure(ctx context.Context, p plan, dir, backend string, organizations int, errs io.Writer) (result, error) {
	r := result{backend: backend, organizations: organizations}
	w, err := newWorld(ctx, p, dir, backend, organizations)
	if err != nil {
		return r, err
	}
	defer w.close()
	began := time.Now()
	if err := w.apply(ctx); err != nil {
		return r, err
	}
	r.apply = time.Since(began)
	for range starts {
		w.stop()
		took, err := w.serve(ctx)
		if err != nil {
			return r, err
		}
		if r.start == 0 || took < r.start {
			r.start = took
		}
	}
	if err := w.settle(); err != nil {
		return r, err
	}
	if r.idle, _, err = resident(w.pid()); err != nil {
		return r, err
	}
	if r.page, err = w.driver().page(ctx); err != nil {
		return r, err
	}
	for _, o := range operations {
		if !slices.Contains(p.Operations, o.name) {
			continue
		}
		line, err := w.run(ctx, p, o)
		if err != nil {
			return r, fmt.Errorf("%s: %w", o.name, err)
		}
		fmt.Fprintf(errs, "  %-18s %.3f ms\n", o.name, line.each(line.broker+line.pg+line.redis))
		r.rows = append(r.rows, line)
	}
	_, r.peak, err = resident(w.pid())
	return r, err
}
