package main

import (
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/templates"
)

// A page that offers to start again says so in words, and never that it is of no use.
func TestWhereAPageOffersToStartAgainItsWordsDoToo(t *testing.T) {
	for _, code := range mendable {
		p := templates.FaultOf("en", code, templates.Names{})
		if !strings.Contains(p.Remedy, "again") || strings.Contains(p.Cause+p.Remedy, "won’t help") {
			t.Errorf("%s: %s %s", code, p.Cause, p.Remedy)
		}
	}
}
