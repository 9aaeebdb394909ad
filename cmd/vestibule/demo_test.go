package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/demo"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// startDemo runs the demonstration in this process until the test, or whoever calls the function that it
// gives, ends it.
func startDemo(t *testing.T, port int, data string) (*demonstration, func()) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := openDemo(t.Context(), port, data, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	stopped := false
	stop := func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		if err := <-ended; err != nil {
			t.Errorf("the demonstration ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return d, stop
}

// testLog fails the test for what the demonstration complains about.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Errorf("the demonstration logged: %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// playDemo is `vestibule demo` as a process of its own.
func playDemo() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if code := run(ctx, append([]string{"demo"}, strings.Fields(os.Getenv("VESTIBULE_TEST_ARGS"))...), os.Stdout, os.Stderr); code != 0 {
		return fmt.Errorf("exit status %d", code)
	}
	return nil
}

// spawnDemo starts `vestibule demo` as a process and waits until it says that it is ready.
func spawnDemo(t *testing.T, port int, data string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "VESTIBULE_TEST_ROLE=demo", fmt.Sprintf("VESTIBULE_TEST_ARGS=-port %d -data %s", port, data))
	return started(t, cmd)
}

// started starts a program that is a demonstration, and waits until it says that it is ready.
func started(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line := make([]byte, 256)
	n, err := io.ReadAtLeast(out, line, len("Open http://"))
	if err != nil || !strings.HasPrefix(string(line[:n]), "Open http://localhost:") {
		t.Fatalf("the demonstration said %q (%v)", line[:n], err)
	}
	return cmd
}

// freePort is one that nobody listens on now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestTheDemonstrationSaysWhatIsInItsWay(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := strconv.Itoa(busy.Addr().(*net.TCPAddr).Port)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	real, torn := t.TempDir(), t.TempDir()
	write(t, filepath.Join(real, "vestibule.db"), "a database")
	write(t, filepath.Join(torn, "demo.json"), "{")
	for name, c := range map[string]struct {
		args []string
		want *fault.Error
	}{
		"the port is in use":                         {[]string{"-port", taken}, demo.ErrPort},
		"no port has that number":                    {[]string{"-port", "65536"}, errDemoPort},
		"the directory cannot be written":            {[]string{"-port", "0", "-data", filepath.Join(file, "data")}, demo.ErrDirectory},
		"the directory is a file":                    {[]string{"-port", "0", "-data", file}, demo.ErrDirectory},
		"the directory holds a database of no world": {[]string{"-port", "0", "-data", real}, demo.ErrNotDemo},
		"the file of the directory cannot be read":   {[]string{"-port", "0", "-data", torn}, demo.ErrFile},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), append([]string{"demo"}, c.args...), &out, &errs); code != 1 {
				t.Errorf("exit status %d", code)
			}
			if out.Len() > 0 || !strings.HasPrefix(errs.String(), "vestibule: "+c.want.Public+"\n") {
				t.Errorf("said %q and %q, want %q", out.String(), errs.String(), c.want.Public)
			}
		})
	}
	for _, args := range [][]string{{"-nonsense"}, {"something"}, {"-port", "eighty"}} {
		if code := run(t.Context(), append([]string{"demo"}, args...), io.Discard, io.Discard); code != 2 {
			t.Errorf("%q: exit status %d, want 2", args, code)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAProviderOfTheDemonstrationNeverMoves(t *testing.T) {
	data := t.TempDir()
	d, stop := startDemo(t, 0, data)
	provider := d.world.Address("techcorp")
	stop()
	again, stop := startDemo(t, 0, data)
	if got := again.world.Address("techcorp"); got != provider {
		t.Errorf("TechCorp's provider moved from %s to %s", provider, got)
	}
	stop()
	busy, err := net.Listen("tcp", strings.TrimPrefix(provider, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if _, err := openDemo(t.Context(), 0, data, slog.New(slog.DiscardHandler)); !errors.Is(err, demo.ErrKeptPort) {
		t.Errorf("a provider's port is in use: %v", err)
	}
}

func TestTwoDemonstrationsDoNotShareADirectory(t *testing.T) {
	data := t.TempDir()
	startDemo(t, 0, data)
	_, err := openDemo(t.Context(), 0, data, slog.New(slog.DiscardHandler))
	if !errors.Is(err, demo.ErrKeptPort) {
		t.Errorf("the second start: %v", err)
	}
}

func TestADatabaseOfAnotherDemonstrationIsRefused(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, other} {
		_, stop := startDemo(t, 0, dir)
		stop()
	}
	if err := os.Rename(filepath.Join(other, "demo.json"), filepath.Join(one, "demo.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := openDemo(t.Context(), 0, one, slog.New(slog.DiscardHandler)); !errors.Is(err, demo.ErrOtherWorld) {
		t.Errorf("a demo.json of another demonstration: %v", err)
	}
}

// S54: providers that vouch for anybody are reached from this machine alone.
func TestS54TheDemonstrationAnswersOnLoopbackAlone(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var ports []string
	for _, l := range d.listeners {
		a := l.Addr().(*net.TCPAddr)
		if !a.IP.IsLoopback() {
			t.Errorf("the house listens on %s", a)
		}
		ports = append(ports, strconv.Itoa(a.Port))
	}
	for _, who := range []string{"techcorp", "globalretail", "mightybank-americas", "acme-bank", "mexbanco", "mightybank-emea", "payments", "partner-desk"} {
		host, port, err := net.SplitHostPort(strings.TrimPrefix(d.world.Address(who), "http://"))
		if err != nil || host != "127.0.0.1" {
			t.Errorf("%s listens on %q", who, d.world.Address(who))
		}
		ports = append(ports, port)
	}
	for _, a := range addresses {
		ip := a.(*net.IPNet).IP
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		for _, port := range ports {
			if c, err := net.DialTimeout("tcp", net.JoinHostPort(ip.String(), port), time.Second); err == nil {
				c.Close()
				t.Errorf("somebody answers on %s port %s", ip, port)
			}
		}
	}
}

// A page of another site that lets its own name point here reaches nothing.
func TestTheDemonstrationAnswersUnderItsOwnNamesAlone(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	for _, at := range []string{d.issuer, d.world.Address("payments")} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", at, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "rebound.example"
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s as rebound.example: %s", at, res.Status)
		}
	}
}

func TestTheDemonstrationIsReadySoonAndLeavesNothing(t *testing.T) {
	before := time.Now()
	d, stop := startDemo(t, 0, "")
	res, err := http.Get(d.issuer)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if took := time.Since(before); res.StatusCode != http.StatusOK || took > 20*time.Second {
		// Two seconds are promised, and it takes a fifth of one; a test machine may be busy.
		t.Errorf("%s after %v", res.Status, took)
	}
	dir := d.temporary
	stop()
	if _, err := os.Stat(dir); dir == "" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q is still there: %v", dir, err)
	}
}

func TestAStartFindsTheWorldAsTheLastOneLeftIt(t *testing.T) {
	data := t.TempDir()
	_, stop := startDemo(t, 0, data)
	stop()
	entries := func() int {
		count := 0
		d, stop := startDemo(t, 0, data)
		defer stop()
		for _, handle := range []string{"main", "alpha", "bravo"} {
			realm, err := d.house.store.RealmByHandle(t.Context(), handle)
			if err != nil {
				t.Fatal(err)
			}
			for _, org := range []string{"techcorp", "globalretail", "mightybank-americas", "acme-bank", "mexbanco", "mightybank-emea"} {
				id, err := d.house.store.OrgByHandle(t.Context(), realm.ID, org)
				if err != nil {
					continue
				}
				list, err := d.house.store.ConnectionsFor(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				count += len(list)
			}
		}
		return count
	}
	// Each company's own, and MightyBank's at its two banks.
	for range 2 {
		if got := entries(); got != 8 {
			t.Errorf("%d connections are offered, want 8", got)
		}
	}
}

func TestTheDemonstrationStopsWhenItIsTold(t *testing.T) {
	cmd := spawnDemo(t, freePort(t), t.TempDir())
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("still running after five seconds")
	}
}

// The story on the page is the one that the command tells, beside the running demonstration.
func TestTheCommandTellsTheDemonstrationsStories(t *testing.T) {
	data := t.TempDir()
	d, _ := startDemo(t, 0, data)
	s := newSurfer(t)
	s.get(d.world.Address("payments") + strings.Replace(robin, "unverified-email", "no-email", 1))
	_, rest, found := strings.Cut(s.get(d.issuer).body, `href="/demo/trace/`)
	code, _, _ := strings.Cut(rest, `"`)
	if !found {
		t.Fatal("the first page tells no story")
	}
	page := s.get(d.issuer + "/demo/trace/" + code).body
	if !strings.Contains(page, "vestibule trace -data "+data) {
		t.Error("the page does not say how to ask the command")
	}
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"trace", "-data", data, code}, &out, &errs); status != 0 {
		t.Fatalf("%d: %s", status, errs.String())
	}
	for _, want := range []string{"flows.email_missing", "An answer of TechCorp ID arrived."} {
		if !strings.Contains(out.String(), want) || !strings.Contains(page, want) {
			t.Errorf("%q is missing in what the command says or on the page:\n%s", want, out.String())
		}
	}
	for _, unknown := range []string{"ZZZZZZZZ", "not-a-code"} {
		if got := s.get(d.issuer + "/demo/trace/" + unknown); got.status != http.StatusNotFound {
			t.Errorf("the story %s: %d", unknown, got.status)
		}
	}
}
