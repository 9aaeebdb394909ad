package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"

	"github.com/vestibule-id/vestibule/internal/pgtest"
)

// roles are what the test binary plays when a test starts it again as a process of its own, to be
// measured or killed: by the value of VESTIBULE_TEST_ROLE.
var roles = map[string]func() error{
	"crash":     serveCrash,
	"vestibule": playVestibule,
	"demo":      playDemo,
	"load":      serveLoad,
}

func TestMain(m *testing.M) {
	role := os.Getenv("VESTIBULE_TEST_ROLE")
	if role == "" {
		code := m.Run()
		pgtest.Stop()
		os.Exit(code)
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
