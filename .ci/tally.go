// Command tally reads what `go test -json` writes and tells people what they need of it: a line for each
// package, everything that a failed test said, and how many tests passed, failed and were skipped.
//
// It fails where a test failed or was skipped, where something did not compile, and where a run broke
// off. The counts of several runs add up in the file of -counts: -sum prints them in a sentence,
// -final as the last line of a build: "N passed, N failed, N skipped".
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

type event struct {
	Action, Package, ImportPath, Test, Output, FailedBuild string
	Elapsed                                                float64
}

type counts struct{ passed, failed, skipped int }

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

func (c counts) good() bool { return c.failed == 0 && c.skipped == 0 && c.passed > 0 }

func main() {
	file := flag.String("counts", "", "the file in which the counts of several runs add up")
	name := flag.String("name", "", "what to call the run, where the package alone does not say it")
	sum := flag.Bool("sum", false, "print what the file holds, and read nothing")
	final := flag.Bool("final", false, "the same, alone on its line")
	flag.Parse()
	if *sum || *final {
		total := load(*file)
		if *sum {
			fmt.Print("== ")
		}
		fmt.Println(total)
		exit(total.good())
	}
	t := &tally{name: *name, said: map[string][]string{}, open: map[string]bool{}, of: map[string]*counts{}}
	t.read(os.Stdin)
	t.brokenOff()
	save(*file, t.total)
	exit(t.total.failed == 0 && t.total.skipped == 0)
}

func exit(good bool) {
	if !good {
		os.Exit(1)
	}
}

// tally is one run.
type tally struct {
	name  string
	total counts
	of    map[string]*counts
	said  map[string][]string // output by package and test, until it is known whether anybody needs it
	open  map[string]bool     // packages that began and did not end
}

func (t *tally) read(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Print(string(line)) // go itself says something
			} else {
				t.take(e)
			}
		}
		if err != nil {
			return
		}
	}
}

func (t *tally) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Print(e.Output)
	case "build-fail":
		t.total.failed++
		fmt.Printf("FAIL  %s does not compile\n", e.ImportPath)
	case "start":
		t.open[e.Package] = true
		t.of[e.Package] = &counts{}
	case "output":
		t.said[key] = append(t.said[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.ended(e)
		} else {
			t.test(e)
		}
		delete(t.said, key)
	}
}

func (t *tally) test(e event) {
	c := t.of[e.Package]
	if c == nil {
		c = &counts{}
		t.of[e.Package] = c
	}
	switch e.Action {
	case "pass":
		c.passed++
		t.total.passed++
		return
	case "fail":
		c.failed++
		t.total.failed++
	case "skip":
		c.skipped++
		t.total.skipped++
		fmt.Printf("SKIP  %s %s: a test that was skipped has proved nothing\n", e.Package, e.Test)
	}
	t.say(e.Package + " " + e.Test)
}

// ended prints a package's line. One that failed without a failed test has failed as a whole: it
// panicked, ran out of time, or its TestMain said no.
func (t *tally) ended(e event) {
	delete(t.open, e.Package)
	c := t.of[e.Package]
	switch {
	case e.Action == "skip": // no tests in it
		return
	case e.Action == "fail":
		if (c == nil || c.failed == 0) && e.FailedBuild == "" {
			t.total.failed++
		}
		t.say(e.Package + " ")
		for key := range t.said { // tests that were running when it broke off
			if strings.HasPrefix(key, e.Package+" ") {
				t.say(key)
			}
		}
		fmt.Printf("FAIL  %s %s %.1fs\n", short(e.Package), t.name, e.Elapsed)
	default:
		fmt.Printf("ok    %s %s %.1fs, %d tests\n", short(e.Package), t.name, e.Elapsed, c.passed)
	}
}

func (t *tally) say(key string) {
	for _, line := range t.said[key] {
		fmt.Print("      " + line)
	}
	delete(t.said, key)
}

func (t *tally) brokenOff() {
	for pkg := range t.open {
		t.total.failed++
		fmt.Printf("FAIL  %s broke off\n", short(pkg))
	}
}

func short(pkg string) string {
	if _, rest, ok := strings.Cut(pkg, "/vestibule/"); ok {
		return rest
	}
	return pkg
}

// load adds up the lines of the counts file; a run that counted nothing is no good one.
func load(path string) (total counts) {
	text, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "No test ran:", err)
		return counts{failed: 1}
	}
	for line := range strings.Lines(string(text)) {
		var c counts
		if _, err := fmt.Sscanf(line, "%d passed, %d failed, %d skipped", &c.passed, &c.failed, &c.skipped); err != nil {
			c = counts{failed: 1}
		}
		total.passed, total.failed, total.skipped = total.passed+c.passed, total.failed+c.failed, total.skipped+c.skipped
	}
	return total
}

func save(path string, c counts) {
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintln(f, c)
		if closed := f.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "The counts could not be kept:", err)
		os.Exit(1)
	}
}
