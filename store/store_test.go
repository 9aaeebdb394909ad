package store

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/vestibule-id/vestibule/store/storetest"
)

var _ storetest.Store = (*Store)(nil)

func options(t testing.TB, clock *storetest.Clock) Options {
	return Options{Path: filepath.Join(t.TempDir(), "vestibule.db"), Now: clock.Now, Log: slog.New(slog.DiscardHandler)}
}

func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, clock *storetest.Clock) storetest.Store {
		return openTest(t, options(t, clock))
	})
}

// Every function given to InTx may run twice; here each does.
func TestStoreRunsEveryFunctionTwice(t *testing.T) {
	storetest.Run(t, func(t *testing.T, clock *storetest.Clock) storetest.Store {
		o := options(t, clock)
		o.Twice = true
		return openTest(t, o)
	})
}
