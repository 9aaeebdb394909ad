//go:build !long

package browsertest

// Thorough says that pages are looked at in every way there is, not in the most telling ones: with
// -tags long, which `make test-long` sets.
const Thorough = false
