package store

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/pgtest"
)

const (
	crashDir   = "STORE_CRASH_DIR"
	crashRound = "STORE_CRASH_ROUND"
)

// TestMain lets this binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir, os.Getenv(crashRound))
	}
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

// writeUntilKilled writes from many sides and says on its output what was acknowledged.
func writeUntilKilled(dir, round string) {
	ctx := context.Background()
	s, err := Open(ctx, Options{Path: filepath.Join(dir, "vestibule.db"), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	var out sync.Mutex
	for side := range 16 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("ent_%s_%d_%d", round, side, i)
				if err := s.Spend(ctx, "org_a", "crash", id, time.Now().Add(time.Hour)); err != nil {
					panic(err)
				}
				if err := record(ctx, s, id); err != nil {
					panic(err)
				}
				out.Lock()
				fmt.Println(id)
				out.Unlock()
			}
		}()
	}
	select {}
}

// kill -9 in the middle of everything: what was acknowledged is there, once; what was spent is spent.
func TestKill9LosesNothingThatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		acked := crash(t, dir, round)
		s := openTest(t, Options{Path: filepath.Join(dir, "vestibule.db"), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		for _, id := range acked {
			if n := pending(t, s, id); n != 1 {
				t.Fatalf("round %d: %s is there %d times", round, id, n)
			}
		}
		must(t, s.chainAll(t.Context()))
		if _, err := s.VerifyAudit(t.Context(), ""); err != nil {
			t.Error(err)
		}
		for _, id := range acked[:10] {
			if err := s.Spend(t.Context(), "org_a", "crash", id, time.Now()); err == nil {
				t.Errorf("%s was spent twice", id)
			}
		}
		must(t, s.Close())
	}
}

// crash runs the writer for a moment, kills it, and gives what it had acknowledged.
func crash(t *testing.T, dir string, round int) []string {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^$")
	c.Env = append(os.Environ(), crashDir+"="+dir, crashRound+"="+fmt.Sprint(round))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	var acked []string
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		acked = append(acked, strings.TrimSpace(line))
		if len(acked) == 300 {
			must(t, c.Process.Kill())
		}
	}
	_ = c.Wait()
	return acked
}
