//go:build long && !quick

package main

import "time"

// Faults at random for minutes, and the report of them.
const (
	faultNodes   = 3
	faultsFor    = 4 * time.Minute
	frozenFor    = 8 * time.Second
	sampleOf     = 1000
	reportFaults = true
)
