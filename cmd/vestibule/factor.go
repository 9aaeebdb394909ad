package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/mfa/code"
)

var factorCommands = []sub{
	{"list", "show what somebody set up", runFactorList},
	{"remove", "take one second step from somebody", runFactorRemove},
	{"reset", "take all second steps from somebody", runFactorReset},
	{"bypass", "make a code that lets somebody in once without their second step", runFactorBypass},
}

func runFactor(ctx context.Context, args []string, out, errs io.Writer) error {
	return runSub(ctx, "factor", factorCommands, args, out, errs)
}

const aPerson = "Name somebody: their organization REALM/HANDLE, and their address or per_ id."

var errNobody = fault.New(fault.NotFound, "vestibule.nobody", "Nobody who is at home in this organization has that address or id.")

// factorTool is a command about one person's second steps.
type factorTool struct {
	*tool
	service *mfa.Service
	who     mfa.Subject
	close   func()
}

// about opens the store and finds the person, at home in the organization: no other may do this (S3).
func (t *factorTool) about(ctx context.Context, args []string, n int, otherwise string) error {
	db, err := t.begin(ctx, args, n, otherwise)
	if err != nil {
		return err
	}
	t.close = func() { db.Close() }
	h := &house{store: db, directory: manifestService(db).Directory}
	if h.messages, err = t.settings.messages(nil).post(ctx, config{Now: time.Now, Log: quietLog(t.errs)}, db); err != nil {
		return err
	}
	t.service = &mfa.Service{
		Factors: factors(db, t.settings.Issuer, code.Way{Messages: h.messages, Pepper: db.Pepper, Fold: flows.NormalAddress}),
		Told:    h.tellFactor, End: h.directory.EndAll, Enrollments: db, Tries: db, Tx: db, Audit: db, Now: time.Now,
	}
	org, err := orgNamed(ctx, db, t.args[0])
	if err != nil {
		return err
	}
	p, err := personNamed(ctx, h.directory, org.ID, t.args[1])
	if err != nil {
		return err
	}
	t.who = mfa.Subject{Realm: p.Realm, Home: p.Home, Org: p.Home, OrgName: org.Name, Person: p.ID, Name: p.Name, Email: p.Email, Locale: p.Locale}
	return nil
}

// done closes what about opened.
func (t *factorTool) done() {
	if t.close != nil {
		t.close()
	}
}

// personNamed finds who is at home in an organization by id or address.
func personNamed(ctx context.Context, dir *directory.Service, home directory.OrgID, name string) (directory.Person, error) {
	var p directory.Person
	var err error
	if directory.ValidID("per_", name) {
		p, _, err = dir.Person(ctx, home, directory.PersonID(name))
	} else {
		p, err = dir.PersonByIdentifier(ctx, home, "email", flows.NormalAddress(name))
	}
	if errors.Is(err, directory.ErrPersonNotFound) || err == nil && p.Home != home {
		return directory.Person{}, errNobody
	}
	return p, err
}

func runFactorList(ctx context.Context, args []string, out, errs io.Writer) error {
	t := &factorTool{tool: newTool("factor list", "REALM/HANDLE PERSON", "Shows what somebody set up besides their sign-in, in their home organization.", errs)}
	defer t.done()
	if err := t.about(ctx, args, 2, aPerson); err != nil {
		return err
	}
	list, err := t.service.Held(ctx, commandLine, t.who.Home, t.who.Person)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tMETHOD\tNAME\tSET UP\tLAST USED")
	for _, e := range list {
		used := "never"
		if !e.LastUsed.IsZero() {
			used = e.LastUsed.UTC().Format(time.DateOnly)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.ID, e.Method, e.Label, e.CreatedAt.UTC().Format(time.DateOnly), used)
	}
	return w.Flush()
}

func runFactorRemove(ctx context.Context, args []string, out, errs io.Writer) error {
	t := &factorTool{tool: newTool("factor remove", "REALM/HANDLE PERSON ID", "Takes one second step from somebody. They are signed out everywhere, and told.", errs)}
	defer t.done()
	if err := t.about(ctx, args, 3, aPerson+" Then the id that list shows."); err != nil {
		return err
	}
	if err := t.service.Remove(ctx, commandLine, t.who, directory.FactorID(t.args[2])); err != nil {
		return err
	}
	fmt.Fprintln(out, "Removed. Whatever this person had open is over.")
	return nil
}

func runFactorReset(ctx context.Context, args []string, out, errs io.Writer) error {
	t := &factorTool{tool: newTool("factor reset", "REALM/HANDLE PERSON", "Takes all second steps from somebody. They are signed out everywhere, told, and set up new ones when\nthey sign in next, as policy says.", errs)}
	defer t.done()
	if err := t.about(ctx, args, 2, aPerson); err != nil {
		return err
	}
	n, err := t.service.Reset(ctx, commandLine, t.who)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Removed: %d. Whatever this person had open is over.\n", n)
	return nil
}

func runFactorBypass(ctx context.Context, args []string, out, errs io.Writer) error {
	t := &factorTool{tool: newTool("factor bypass", "REALM/HANDLE PERSON", "Makes a code that stands for somebody's second step once, where recovery.methods has admin_bypass. It is\nprinted once. Give it to nobody whom you have not recognized: their voice, their face.", errs)}
	defer t.done()
	life := t.Duration("life", 15*time.Minute, "how long the code is good, at most 1h")
	if err := t.about(ctx, args, 2, aPerson); err != nil {
		return err
	}
	code, until, err := t.service.Bypass(ctx, commandLine, t.who, *life)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\nGood once, until %s.\n", code, until.UTC().Format("15:04 UTC"))
	return nil
}
