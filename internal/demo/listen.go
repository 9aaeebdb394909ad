package demo

import (
	"errors"
	"io/fs"
	"net"
	"strconv"
	"syscall"

	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrPort = fault.New(fault.Conflict, "demo.port", "The port that the demonstration wants is in use. Stop the program that uses it, or name another port with -port.")
	// ErrKeptPort: providers cannot move, because a connection never changes whom it trusts.
	ErrKeptPort = fault.New(fault.Conflict, "demo.kept_port", "A port that this demonstration had before is in use now. Stop the program that uses it (it may be the same demonstration, still running), or name an empty directory with -data.")
	ErrListen   = fault.New(fault.Unavailable, "demo.listen", "The demonstration cannot listen on this machine's loopback addresses.")
)

// Listen listens where the demonstration's own address leads, http://localhost:port: on both loopback
// addresses of this machine and on nothing else (S54). Port 0 takes any that is free.
func Listen(port int) ([]net.Listener, int, error) {
	four, err := fakeidp.Listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), false)
	if err != nil {
		return nil, 0, refused(ErrPort, err)
	}
	port = four.Addr().(*net.TCPAddr).Port
	six, err := fakeidp.Listen(net.JoinHostPort("::1", strconv.Itoa(port)), false)
	switch {
	case err == nil:
		return []net.Listener{four, six}, port, nil
	case errors.Is(err, syscall.EADDRINUSE):
		four.Close()
		return nil, 0, refused(ErrPort, err)
	}
	// A machine without IPv6 has no other loopback address.
	return []net.Listener{four}, port, nil
}

func refused(taken *fault.Error, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, fs.ErrPermission) {
		return taken.With(err)
	}
	return ErrListen.With(err)
}

// door is where a provider or an app listens.
type door struct {
	listener net.Listener
	base     string // http://127.0.0.1:port
	host     string // 127.0.0.1:port
}

// listen opens a door for every provider and app: the one that it had before, else any that is free.
func (w *World) listen(dir string) error {
	for _, handle := range doorsOfCast() {
		l, err := fakeidp.Listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(w.kept.Ports[handle])), false)
		if err != nil {
			return refused(ErrKeptPort, err)
		}
		host := l.Addr().String()
		w.doors[handle] = door{l, "http://" + host, host}
		w.kept.Ports[handle] = l.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// Address is where a company's provider or an app is reached, by handle; "" for what is neither.
func (w *World) Address(handle string) string { return w.doors[handle].base }
