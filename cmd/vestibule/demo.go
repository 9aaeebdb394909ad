package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/internal/demo"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var errDemoPort = fault.New(fault.Invalid, "vestibule.demo_port", "A port is a number from 0 to 65535; 0 takes any that is free.")

// runDemo shows the house in a made-up world until it is told to stop.
func runDemo(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) > 0 && args[0] == "provider" {
		return runDemoProvider(ctx, args[1:], out, errs)
	}
	flags := newFlags("demo", "", "Starts a made-up world to click through. It listens on this machine alone.", errs)
	port := flags.Int("port", 8080, "the port of the address to open; 0 takes any that is free")
	data := flags.String("data", "", "a directory to keep the world in, so that it is the same at the next start; without it nothing is kept")
	verbose := flags.Bool("verbose", false, "print what the service logs, so that every trace code can be looked up")
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if flags.NArg() != 0 {
		return misused(flags, only)
	}
	if *port < 0 || *port > 65535 {
		return errDemoPort
	}
	level := slog.LevelWarn
	if *verbose {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: level}))
	slog.SetDefault(log) // libraries talk to it, and whoever tries this wants to read one address
	d, err := openDemo(ctx, *port, *data, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Open %s\nStop with Ctrl+C.\n", d.issuer)
	return d.run(ctx)
}

// demonstration is a running `vestibule demo`.
type demonstration struct {
	issuer    string
	house     *house
	world     *demo.World
	inbox     *demo.Inbox
	listeners []net.Listener
	server    *http.Server
	temporary string // removed at the end; "" where the person named a directory
}

// openDemo builds the house in its world, up to where it answers.
func openDemo(ctx context.Context, port int, data string, log *slog.Logger) (*demonstration, error) {
	d := &demonstration{}
	if err := d.open(ctx, port, data, log); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *demonstration) open(ctx context.Context, port int, data string, log *slog.Logger) (err error) {
	if d.listeners, port, err = demo.Listen(port); err != nil {
		return err
	}
	dir := data
	if data == "" {
		if d.temporary, err = os.MkdirTemp("", "vestibule-demo-*"); err != nil {
			return demo.ErrDirectory.With(err)
		}
		dir = d.temporary
	}
	if d.world, err = demo.Open(dir, time.Now); err != nil {
		return err
	}
	d.inbox = &demo.Inbox{Now: time.Now}
	d.issuer = fmt.Sprintf("http://localhost:%d", port)
	d.house, err = build(ctx, config{
		Issuer: d.issuer, DataDir: dir, Own: d.own, Limits: broker.DefaultLimits(), Messages: demoMessaging(d.inbox), Log: log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	h := d.house
	stories := &demo.Stories{Traces: h.store, Record: h.store}
	h.engine.Traces, h.broker.Traces, h.broker.Audit = stories, stories, stories.Recorder()
	err = d.world.Start(ctx, demo.House{
		Directory: h.directory, Connections: h.connections, Broker: h.broker, Themes: h.store, Stories: stories, Inbox: d.inbox,
		Assets: h.assets, Mux: h.mux, Log: log, Now: time.Now, Data: data,
	})
	d.server = h.server(log)
	return err
}

// demoMessaging has every message end in the inbox. Nothing is paid for, and numbers of every country do.
func demoMessaging(inbox *demo.Inbox) messaging {
	l := delivery.DefaultLimits()
	l.Prices, l.SMSPerDay, l.SMSPerOrg = map[string]int64{}, 1e6, 1e6
	for _, country := range delivery.Countries() {
		l.Prices[country] = 1
	}
	return messaging{Mail: inbox.Mail(), SMS: inbox.SMS(), Limits: l}
}

// own is where the house listens: no provider may make it call itself.
func (d *demonstration) own() []netip.AddrPort {
	var out []netip.AddrPort
	for _, l := range d.listeners {
		out = append(out, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return out
}

// stopWithin is how long the requests under way may take once the demonstration is told to stop.
const stopWithin = 2 * time.Second

// run answers until ctx ends.
func (d *demonstration) run(ctx context.Context) error {
	defer d.close()
	ended := make(chan error, len(d.listeners))
	for _, l := range d.listeners {
		go func() { ended <- d.server.Serve(l) }()
	}
	select {
	case err := <-ended:
		return demo.ErrListen.With(err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if err := d.server.Shutdown(bounded); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// close takes down what was built, and removes what was not to be kept.
func (d *demonstration) close() {
	if d.server != nil {
		d.server.Close()
	}
	for _, l := range d.listeners {
		l.Close()
	}
	if d.world != nil {
		d.world.Close()
	}
	if d.house != nil {
		d.house.close()
	}
	if d.temporary != "" {
		os.RemoveAll(d.temporary)
	}
}
