package manifest_test

import (
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/manifest"
)

// A flow in a file is published, left alone where it is the same, kept as a version where it changes, and
// refused with the step where nobody could complete it.
func TestAFlowIsAppliedFromAFile(t *testing.T) {
	w := newWorld(t)
	file := func(flow string) string {
		return "realms: [{handle: main}]\norganizations:\n  - handle: acme\n    realm: main\n    name: Acme\n" + flow
	}
	notice := func(text string) string {
		return "    flow:\n      items:\n        - step: notice\n          if: '!device.known'\n          settings: {text: {en: " + text + "}}\n"
	}
	w.apply(file(notice("Hello")))
	nothing := func(text string) {
		t.Helper()
		if plan, err := w.try(manifest.Options{}, text); err != nil || len(plan.Changes) > 0 {
			t.Errorf("%+v, %v", plan, err)
		}
	}
	nothing(file(notice("Hello")))
	w.apply(file(notice("Goodbye")))
	nothing(file("")) // what a file does not name stays
	if text := w.everything(); !strings.Contains(text, "Goodbye") || !strings.Contains(text, "device.known") {
		t.Errorf("exported:\n%s", text)
	}
	for flow, says := range map[string]string{
		"    flow: {items: [{step: deny, settings: {text: {en: No}}}]}\n": "item 1 (deny)",
		"    flow: {items: [{step: survey}]}\n":                           "item 1 (survey)",
		"    flow: {items: [{step: notice, colour: red}]}\n":              "colour",
	} {
		if _, err := w.try(manifest.Options{}, file(flow)); err == nil || !strings.Contains(said(err), says) {
			t.Errorf("%s: %v", flow, err)
		}
	}
	w.apply(file("    flow: null\n"))
	nothing(file("    flow: null\n"))
}
