package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatTurnsABuildRed(t *testing.T) {
	const start = `{"Action":"start","Package":"p"}` + "\n"
	for _, c := range []struct {
		name, stream string
		want         counts
	}{
		{"all passed", start + `{"Action":"pass","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"pass","Package":"p","Test":"TestA/b"}` + "\n" +
			`{"Action":"pass","Package":"p"}`, counts{passed: 2}},
		{"one failed", start + `{"Action":"fail","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"fail","Package":"p"}`, counts{failed: 1}},
		{"one was skipped", start + `{"Action":"skip","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"pass","Package":"p"}`, counts{skipped: 1}},
		{"a package without tests", start + `{"Action":"skip","Package":"p"}`, counts{}},
		{"a package that panicked", start + `{"Action":"run","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"fail","Package":"p"}`, counts{failed: 1}},
		{"a run that was killed", start + `{"Action":"pass","Package":"p","Test":"TestA"}`, counts{passed: 1, failed: 1}},
		{"what does not compile", `{"ImportPath":"p","Action":"build-fail"}` + "\n" + start + `{"Action":"fail","Package":"p","FailedBuild":"p"}`, counts{failed: 1}},
		{"go's own words", "go: downloading\n" + start + `{"Action":"pass","Package":"p"}`, counts{}},
	} {
		r := &tally{said: map[string][]string{}, open: map[string]bool{}, of: map[string]*counts{}}
		r.read(strings.NewReader(c.stream))
		r.brokenOff()
		if r.total != c.want {
			t.Errorf("%s: %v", c.name, r.total)
		}
	}
}

func TestRunsAddUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counts")
	if load(path).good() {
		t.Error("a build in which nothing ran is green")
	}
	save(path, counts{passed: 3})
	save(path, counts{passed: 4})
	if got := load(path); got != (counts{passed: 7}) || !got.good() || got.String() != "7 passed, 0 failed, 0 skipped" {
		t.Errorf("%v", got)
	}
	save(path, counts{skipped: 1})
	if load(path).good() {
		t.Error("a build with a skipped test is green")
	}
	if err := os.WriteFile(path, []byte("3 pas"), 0o644); err != nil {
		t.Fatal(err)
	}
	if load(path).good() {
		t.Error("a build whose counts cannot be read is green")
	}
}
