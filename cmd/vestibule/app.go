package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/store"
)

var appCommands = []sub{
	{"create", "register an app, and print its .env and the lines that sign people in", runAppCreate},
	{"list", "show the apps", runAppList},
	{"show", "show what an app is registered as", runAppShow},
	{"rotate-secret", "give an app another secret", runAppRotateSecret},
	{"registration-token", "let somebody register apps by RFC 7591", runRegistrationToken},
}

func runApp(ctx context.Context, args []string, out, errs io.Writer) error {
	return runSub(ctx, "app", appCommands, args, out, errs)
}

// runRegistrationToken makes an initial access token and prints it, once.
func runRegistrationToken(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := newFlags("app registration-token", "NAME", "Makes a token with which apps may register themselves at /register. NAME says for people who has it.\nIt is printed once and kept as a hash. Whatever is registered by it may be used by the organizations named here, else by nobody until you say so.", errs)
	read := configFlags(flags, false)
	realm := flags.String("realm", "main", "the `handle` of the realm that the apps are of")
	orgs := flags.String("orgs", "", "`handles` of organizations of that realm that may use the apps at once, separated by commas")
	uses := flags.Int("uses", 1, "how many apps may be registered")
	life := flags.Duration("life", 24*time.Hour, "how long the token is good")
	first := flags.Bool("first-party", false, "the apps are your own: people are not asked for consent")
	names, err := parseAnywhere(flags, args)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return misused(flags, "Name who gets the token, in one word.")
	}
	_, db, err := commandStore(ctx, read, errs)
	if err != nil {
		return err
	}
	defer db.Close()
	t := broker.RegistrationToken{Name: names[0], Uses: *uses, Expires: time.Now().Add(*life), FirstParty: *first}
	if t.Realm, t.Orgs, err = placesOf(ctx, db, *realm, *orgs); err != nil {
		return err
	}
	b := &broker.Broker{
		Registrations: db, Directory: &directory.Service{Orgs: db}, Tx: db, Audit: db, Now: time.Now,
	}
	token, err := b.AddRegistrationToken(ctx, commandLine, t)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, token)
	return err
}

// placesOf finds a realm and organizations of it by their handles.
func placesOf(ctx context.Context, db *store.Store, realm, handles string) (directory.RealmID, []directory.OrgID, error) {
	r, err := db.RealmByHandle(ctx, realm)
	if err != nil {
		return "", nil, err
	}
	var orgs []directory.OrgID
	for handle := range strings.SplitSeq(handles, ",") {
		if handle = strings.TrimSpace(handle); handle == "" {
			continue
		}
		id, err := db.OrgByHandle(ctx, r.ID, handle)
		if err != nil {
			return "", nil, err
		}
		orgs = append(orgs, id)
	}
	return r.ID, orgs, nil
}
