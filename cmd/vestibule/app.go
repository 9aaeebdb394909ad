package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
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
	{"registration-token", "let somebody register apps by RFC 7591; list and revoke what does", runRegistrationToken},
}

func runApp(ctx context.Context, args []string, out, errs io.Writer) error {
	return runSub(ctx, "app", appCommands, args, out, errs)
}

// runRegistrationToken makes an initial access token and prints it, once; or lists and revokes those that
// were made, which are therefore never called "list" or "revoke".
func runRegistrationToken(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) > 0 && args[0] == "list" {
		return runRegistrationTokenList(ctx, args[1:], out, errs)
	}
	if len(args) > 0 && args[0] == "revoke" {
		return runRegistrationTokenRevoke(ctx, args[1:], out, errs)
	}
	cmd := newTool("app registration-token", "NAME", "Makes a token with which apps may register themselves at /register. NAME says for people who has it.\nIt is printed once and kept as a hash. Whatever is registered by it may be used by the organizations named here, else by nobody until you say so.\nThe words list and revoke in the place of NAME show the tokens that were made, and end one.", errs)
	realm := cmd.String("realm", "main", "the `handle` of the realm that the apps are of")
	orgs := cmd.String("orgs", "", "`handles` of organizations of that realm that may use the apps at once, separated by commas")
	uses := cmd.Int("uses", 1, "how many apps may be registered")
	life := cmd.Duration("life", 24*time.Hour, "how long the token is good")
	first := cmd.Bool("first-party", false, "the apps are your own: people are not asked for consent")
	const named = "Name who gets the token, in one word. The words list and revoke stand first."
	if err := cmd.parse(args, 1, named); err != nil {
		return err
	}
	if cmd.args[0] == "list" || cmd.args[0] == "revoke" {
		return cmd.misused(named)
	}
	db, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	t := broker.RegistrationToken{Name: cmd.args[0], Uses: *uses, Expires: time.Now().Add(*life), FirstParty: *first}
	if t.Realm, t.Orgs, err = placesOf(ctx, db, *realm, *orgs); err != nil {
		return err
	}
	token, err := registrar(db).AddRegistrationToken(ctx, commandLine, t)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, token)
	return err
}

func runRegistrationTokenList(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("app registration-token list", "", "Shows the registration tokens that were made, until a day after they were over.", errs)
	db, err := cmd.begin(ctx, args, 0, only)
	if err != nil {
		return err
	}
	defer db.Close()
	list, err := registrar(db).RegistrationTokensMade(ctx, commandLine)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNAME\tLEFT\tUNTIL\tFIRST PARTY\tORGANIZATIONS")
	for _, token := range list {
		left := strconv.Itoa(token.Uses)
		if !time.Now().Before(token.Expires) {
			left = "over"
		}
		orgs := make([]string, len(token.Orgs))
		for i, id := range token.Orgs {
			orgs[i] = string(id)
			if chain, err := db.OrgChain(ctx, id); err == nil {
				orgs[i] = chain.Org().Handle
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%t\t%s\n", token.Handle(), plainLine(token.Name), left, token.Expires.UTC().Format(time.RFC3339), token.FirstParty, strings.Join(orgs, ","))
	}
	return t.Flush()
}

func runRegistrationTokenRevoke(ctx context.Context, args []string, _, errs io.Writer) error {
	cmd := newTool("app registration-token revoke", "ID", "Ends a registration token, called by the id that list shows, or by its name where no other has it. What was\nregistered by it stays: vestibule app list shows the apps.", errs)
	db, err := cmd.begin(ctx, args, 1, "Name the token: vestibule app registration-token list shows those that there are.")
	if err != nil {
		return err
	}
	defer db.Close()
	return registrar(db).RevokeRegistrationToken(ctx, commandLine, cmd.args[0])
}

// registrar is as much of the broker as registration tokens need.
func registrar(db *store.Store) *broker.Broker {
	return &broker.Broker{
		Registrations: db, Directory: &directory.Service{Orgs: db}, Tx: db, Audit: db, Now: time.Now,
	}
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
