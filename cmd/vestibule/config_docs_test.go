package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var updateDocs = flag.Bool("update-docs", false, "rewrite the table of settings in docs/configuration.md")

// row is an option's line in the manual.
func (o option) row() string {
	name := "`--" + o.flag() + "` (serve)"
	switch {
	case o.hidden:
		name = "none"
	case o.store:
		name = "`--" + o.flag() + "` (all)"
	}
	env := "`" + o.env() + "`"
	if o.secret && o.key != "key" {
		env += ", `" + o.env() + "_FILE`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s, such as `%s`. %s | %s |\n", o.key, env, name, o.form, o.example, o.help, o.otherwise)
}

// The manual's table is the table of the program.
func TestTheManualNamesEverySetting(t *testing.T) {
	const path = "../../docs/configuration.md"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, o := range options {
		table.WriteString(o.row())
	}
	before, rest, ok := strings.Cut(string(raw), "| --- | --- | --- | --- | --- |\n")
	_, after, ok2 := strings.Cut(rest, "\nA list is separated")
	if !ok || !ok2 {
		t.Fatal("the table of settings is not where it was")
	}
	want := before + "| --- | --- | --- | --- | --- |\n" + table.String() + "\nA list is separated" + after
	if *updateDocs {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(raw) != want {
		t.Error("the table in docs/configuration.md is not that of the program; run: go test ./cmd/vestibule -run TestTheManualNamesEverySetting -update-docs")
	}
}

// The example of a configuration holds every setting, and is one that can be used.
func TestTheExampleOfAConfigurationIsWhole(t *testing.T) {
	const path = "../../examples/vestibule.yaml"
	s, err := readSettings(path, nil, []string{"VESTIBULE_SMTP_PASSWORD=secret", "VESTIBULE_SMS_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range options {
		if _, ok := s.given[o.key]; !ok && !o.hidden {
			t.Errorf("%s has no %s", path, o.key)
		}
	}
	if _, err := readSettings("../../examples/blackbox-config.yaml", nil, nil); err != nil {
		t.Error(err)
	}
}
