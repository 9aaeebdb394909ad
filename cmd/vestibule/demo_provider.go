package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var errProviderSecret = fault.New(fault.Invalid, "vestibule.provider_secret", "Set PROVIDER_SECRET to the client secret that the connection has.")

const aboutDemoProvider = `Runs one made-up OpenID provider, to try an installation of several machines out with. It lets anybody in as anybody.
A service believes it only with development on. PROVIDER_SECRET is the client secret.`

// runDemoProvider runs a made-up provider until it is told to stop.
func runDemoProvider(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := newFlags("demo provider", "", aboutDemoProvider, errs)
	listen := flags.String("listen", "127.0.0.1:9901", "where it listens, `host:port`")
	exposed := flags.Bool("exposed", false, "let --listen be more than this machine, as inside a container")
	issuer := flags.String("issuer", "", "its issuer, as browsers and the service reach it (otherwise the address it listens on)")
	client := flags.String("client", "vestibule", "the client id of the service")
	redirect := flags.String("redirect", "", "the return `address` of the connection (required)")
	domain := flags.String("domain", "acme.example", "where its people have their addresses")
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	secret := os.Getenv("PROVIDER_SECRET")
	switch {
	case flags.NArg() != 0 || *redirect == "":
		return misused(flags, "Name the return address with --redirect.")
	case secret == "":
		return errProviderSecret
	}
	p := &fakeidp.Provider{Name: "Acme", Kind: fakeidp.OIDC, Base: *issuer, Now: time.Now, Exposed: *exposed,
		Clients: []fakeidp.Client{{ID: *client, Secret: secret, Redirects: []string{*redirect}}},
		People: []fakeidp.Person{
			{ID: "ada", Email: "ada@" + *domain, EmailVerified: true, Name: "Ada Lovelace", Given: "Ada", Family: "Lovelace"},
			{ID: "grace", Email: "grace@" + *domain, EmailVerified: true, Name: "Grace Hopper", Given: "Grace", Family: "Hopper"},
		}}
	server, err := p.Start(*listen)
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Fprintf(out, "A made-up provider answers at %s. Stop with Ctrl+C.\n", p.Base)
	<-ctx.Done()
	return nil
}
