package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"
)

// roles are what the test binary plays when a test starts it again as a process of its own, to be
// measured or killed: by the value of VESTIBULE_TEST_ROLE.
var roles = map[string]func() error{
	"crash": serveCrash,
	"demo":  playDemo,
	"load":  serveLoad,
}

func TestMain(m *testing.M) {
	role := os.Getenv("VESTIBULE_TEST_ROLE")
	if role == "" {
		os.Exit(m.Run())
	}
	play, ok := roles[role]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such role:", role)
		os.Exit(2)
	}
	debug.SetGCPercent(gcPercent)
	if err := play(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
