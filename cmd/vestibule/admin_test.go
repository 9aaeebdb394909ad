package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/internal/redistest"
	"github.com/vestibule-id/vestibule/store"
	"github.com/vestibule-id/vestibule/store/redis"
)

// A proxy reads the status, an operator which part it is and why.
func TestReadyzSaysOfEachPartWhetherItIsAsItShouldBe(t *testing.T) {
	v, logged := inProcess(t, "VESTIBULE_ISSUER=http://localhost:0")
	ask := func() (int, http.Header, readiness) {
		w := httptest.NewRecorder()
		v.sideDoor.Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
		var is readiness
		if err := json.Unmarshal(w.Body.Bytes(), &is); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		return w.Code, w.Header(), is
	}
	status, head, is := ask()
	if status != 200 || !is.Ready || head.Get("Content-Type") != "application/json" {
		t.Errorf("%d %+v", status, is)
	}
	for _, part := range []string{"database", "changes", "clock", "short_lived", "epoch", "keys"} {
		if is.Parts[part] != (standing{OK: true}) {
			t.Errorf("%s: %+v", part, is.Parts[part])
		}
	}
	if err := v.house.store.Close(); err != nil {
		t.Fatal(err)
	}
	status, head, is = ask()
	if status != 503 || is.Ready || head.Get("Retry-After") == "" {
		t.Errorf("%d %v %+v", status, head, is)
	}
	for part, ok := range map[string]bool{"database": false, "short_lived": false, "keys": true, "epoch": true} {
		if got := is.Parts[part]; got.OK != ok || (got.Why == "") != ok || strings.Contains(got.Why, "sql") {
			t.Errorf("%s: %+v", part, got)
		}
	}
	if !strings.Contains(logged.String(), "part=database") {
		t.Errorf("the log does not say why: %s", logged)
	}
}

func TestReadyzSaysWhatItKnowsBestAndNothingInternal(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{brief.ErrUnavailable.With(store.ErrShared.With(redis.ErrUnreachable.Because("dial tcp 10.0.0.7:6379"))), redis.ErrUnreachable.Public},
		{fmt.Errorf("looking: %w", store.ErrUnavailable.Because("disk I/O error")), store.ErrUnavailable.Public},
		{fmt.Errorf("reading: %w", context.DeadlineExceeded), "It did not answer within two seconds."},
		{errors.New("pq: password of user vestibule"), "Something broke on our side."},
	} {
		if got := whyNot(tc.err); got != tc.want {
			t.Errorf("%v: %q", tc.err, got)
		}
	}
}

// S46: of the nodes of one database the one whose clock is off is not ready, says what to do, and says so
// in its log; the others go on. A proxy that asks gives it nobody.
func TestS46ANodeWhoseClockIsOffIsNotReadyAndNamesTheRemedy(t *testing.T) {
	dsn, key := pgtest.Database(t), filepath.Join(t.TempDir(), "key")
	if _, err := store.NewSealingKeyFile(key); err != nil {
		t.Fatal(err)
	}
	shared := redistest.Shared(t)
	for _, n := range []struct {
		off   time.Duration
		redis string
		parts []string // that say so
	}{{0, "", nil}, {3 * time.Second, shared, nil}, {8 * time.Second, "", []string{"clock"}}, {-8 * time.Second, shared, []string{"clock", "short_lived"}}} {
		env := []string{"VESTIBULE_ISSUER=http://localhost:0", "VESTIBULE_DATABASE=" + dsn, "VESTIBULE_KEY_FILE=" + key}
		if n.redis != "" {
			env = append(env, "VESTIBULE_REDIS="+n.redis)
		}
		v, logged := inProcessBy(t, func() time.Time { return time.Now().Add(n.off) }, env...)
		w := httptest.NewRecorder()
		v.sideDoor.Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
		var is readiness
		if err := json.Unmarshal(w.Body.Bytes(), &is); err != nil {
			t.Fatal(err)
		}
		if is.Ready != (n.parts == nil) || (w.Code == http.StatusOK) != is.Ready {
			t.Errorf("%s off: %d %+v", n.off, w.Code, is)
		}
		for _, part := range n.parts {
			if why := is.Parts[part].Why; !strings.Contains(why, "differ by more than five seconds") || !strings.Contains(why, "NTP") {
				t.Errorf("%s off: %s says %q", n.off, part, why)
			}
			if !strings.Contains(logged.String(), "part="+part) {
				t.Errorf("%s off: the log says nothing of %s: %s", n.off, part, logged)
			}
		}
	}
}
