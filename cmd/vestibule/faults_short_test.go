//go:build !long && !quick

package main

import "time"

// Each fault once. `make test-long` has the long form.
const (
	faultNodes   = 2
	faultsFor    = 0
	frozenFor    = 6 * time.Second
	sampleOf     = 150
	reportFaults = false
)
