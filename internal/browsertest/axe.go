package browsertest

// This file holds the accessibility check.

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// axeVersion is pinned so that a new rule fails on the day we choose.
const axeVersion = "4.14.1"

// axeSource is read once a process: it is half a megabyte.
var axeSource = sync.OnceValues(func() (string, error) {
	path, err := fetchAxe()
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(path)
	return string(source), err
})

// Axe fails the test for every violation that axe-core finds on the page, all its rules.
func (p *Page) Axe() {
	p.t.Helper()
	p.complain("")
}

// AxeWCAG is Axe with the rules of WCAG 2.2 A and AA alone: what is shown inside another program has no
// landmarks of its own.
func (p *Page) AxeWCAG() {
	p.t.Helper()
	p.complain(`runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], `)
}

func (p *Page) complain(options string) {
	p.t.Helper()
	for _, violation := range p.violations(options) {
		p.t.Errorf("browser: accessibility of %s: %s", p.URL(), violation)
	}
}

// violations runs axe-core. Scripts are switched on for it alone where the page has none.
func (p *Page) violations(options string) []string {
	p.t.Helper()
	source, err := axeSource()
	p.must(err, "get axe-core")
	if p.opts.NoScript {
		p.scripts(true)
		defer p.scripts(false)
	}
	eval[any](p, `typeof axe === "undefined" && (() => {`+source+"\n})(), null")
	type violation struct {
		ID, Help string
		Where    []string
	}
	var out []string
	for _, v := range eval[[]violation](p, `axe.run(document, {`+options+`resultTypes: ["violations"]}).then(r => r.violations.map(v => ({
		ID: v.id, Help: v.help, Where: v.nodes.map(n => n.target.join(" ") + ": " + n.failureSummary.replace(/\s+/g, " "))})))`) {
		out = append(out, fmt.Sprintf("%s: %s\n  %s", v.ID, v.Help, strings.Join(v.Where, "\n  ")))
	}
	return out
}

// fetchAxe installs axe-core with npm into the person's cache, once a version, and says where it is.
func fetchAxe() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir() // no home, as in a bare container
	}
	home := filepath.Join(cache, "vestibule-test", "axe-core-"+axeVersion)
	script := filepath.Join(home, "node_modules", "axe-core", "axe.min.js")
	if _, err := os.Stat(script); err == nil {
		return script, nil
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(home), "axe-core-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	cmd := exec.Command("npm", "install", "--prefix", fresh, "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "axe-core@"+axeVersion)
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm could not install axe-core (run `make test`, which installs npm on Debian and Ubuntu): %w\n%s", err, said)
	}
	// Another package's tests may have been first; theirs is the same.
	if err := os.Rename(fresh, home); err != nil {
		if _, there := os.Stat(script); there != nil {
			return "", err
		}
	}
	return script, nil
}
