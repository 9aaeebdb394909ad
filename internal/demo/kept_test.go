package demo

import (
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestWhatIsKeptIsTheSameAtTheNextStartAndItsOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	first, err := Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others may read the file", info.Mode(), err)
	}
	second, err := Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	a, b := first.kept, second.kept
	if !maps.Equal(a.Ports, b.Ports) || !maps.Equal(a.Keys, b.Keys) || !maps.Equal(a.Secrets, b.Secrets) {
		t.Error("the second start is another world")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Made-up providers vouch for anybody, so they never come near a database that is not made up.
func TestS54ADatabaseThatIsNoDemonstrationsIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "vestibule.db")
	if err := os.WriteFile(file, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, time.Now); !errors.Is(err, ErrNotDemo) {
		t.Errorf("opened: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the directory was changed: %v", entries)
	}
}

func TestListenTakesBothLoopbackAddressesOrNone(t *testing.T) {
	list, port, err := Listen(0)
	if err != nil || port == 0 {
		t.Fatalf("%v %d %v", list, port, err)
	}
	for _, l := range list { // one, where the machine has no IPv6
		if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
			t.Errorf("listens on %s", ip)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	other := list[len(list)-1].Addr().(*net.TCPAddr)
	half, err := net.ListenTCP("tcp", other)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	if _, _, err := Listen(other.Port); !errors.Is(err, ErrPort) {
		t.Errorf("somebody else has half of the address: %v", err)
	}
	if four, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(other.Port)); len(list) > 1 {
		if err != nil {
			t.Fatalf("the other half was not given back: %v", err)
		}
		four.Close()
	}
}
