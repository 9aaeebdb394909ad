package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/store"
)

var (
	errAuditKeys   = fault.New(fault.Invalid, "vestibule.audit_keys", "The file with public keys cannot be read. It is what `vestibule audit keys` prints.")
	errAuditFile   = fault.New(fault.NotFound, "vestibule.audit_file", "The file cannot be read.")
	errAuditBroken = fault.New(fault.Internal, "vestibule.audit_broken", "The record was tampered with: at least one chain does not hold together. Keep the database and the last backups as they are, and compare them.")
	errAuditBefore = fault.New(fault.Invalid, "vestibule.audit_before", "Say with --before which entries are old enough, such as 2026-01-31.")
)

var auditCommands = []sub{
	{"verify", "check the record, or an export of it", runAuditVerify},
	{"export", "write the record as signed lines of JSON", runAuditExport},
	{"keys", "print the public keys that anchors and exports are checked with", runAuditKeys},
	{"prune", "remove what is old, behind an anchor", runAuditPrune},
}

func runAudit(ctx context.Context, args []string, out, errs io.Writer) error {
	return runSub(ctx, "audit", auditCommands, args, out, errs)
}

// believer checks signatures under the keys of the record.
type believer struct {
	keys    jose.JSONWebKeySet
	revoked []string
}

func (b believer) signed(kid string, text, signature []byte) bool {
	for _, k := range b.keys.Key(kid) {
		if broker.TextSignedBy(k, text, signature) {
			return true
		}
	}
	return false
}

func (b believer) judge(a audit.Anchor) store.Belief {
	switch {
	case !b.signed(a.KID, a.Text(), a.Signature):
		return store.Forged
	case slices.Contains(b.revoked, a.KID):
		return store.Revoked
	}
	return store.Believed
}

func believerOf(ctx context.Context, db *store.Store) (b believer, err error) {
	b.keys, b.revoked, err = keyringOf(db, broker.AnchorUse).Ever(ctx)
	return b, err
}

// chainsOf lists the chains that a command is about, and how people call them.
func chainsOf(ctx context.Context, db *store.Store, org string, each func(chain string) error) error {
	if org == "platform" {
		return each("")
	}
	if org != "" {
		o, err := orgNamed(ctx, db, org)
		if err != nil {
			return err
		}
		return each(string(o.ID))
	}
	after, first := "", true
	for {
		list, err := db.AuditChains(ctx, after, first, 500)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, chain := range list {
			if err := each(chain); err != nil {
				return err
			}
		}
		after, first = list[len(list)-1], false
	}
}

func chainName(chain string) string {
	if chain == "" {
		return "platform"
	}
	return chain
}

const aboutOrg = "only the chain of this organization, `REALM/HANDLE`, or platform"

func runAuditVerify(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("audit verify", "", "Checks that no entry of the record was changed, removed or made anew: every chain, and every anchor that was signed.\nWith --file checks an export, for which no database is needed if --keys says whose signature it must bear.", errs)
	org := cmd.String("org", "", aboutOrg)
	anchors := cmd.String("anchors", "", "also compare with the anchors in this `file`, which audit.anchor_file made and somebody else kept")
	export := cmd.String("file", "", "check this export, a `file`")
	keys := cmd.String("keys", "", "the public keys, a `file` that audit keys printed")
	switch err := cmd.parse(args, 0, only); {
	case err != nil:
		return err
	case *export != "" && (*org != "" || *anchors != ""):
		return cmd.misused("--file goes with --keys alone.")
	case *keys != "" && *export == "":
		return cmd.misused("--keys goes with --file.")
	case *keys != "":
		b, err := readKeySet(*keys)
		if err != nil {
			return err
		}
		return verifyExport(*export, b, out)
	}
	db, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	b, err := believerOf(ctx, db)
	if err != nil {
		return err
	}
	if *export != "" {
		return verifyExport(*export, b, out)
	}
	return verifyChains(ctx, db, b, *org, *anchors, out)
}

func readKeySet(file string) (b believer, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return b, errAuditKeys.With(err)
	}
	if err := json.Unmarshal(text, &b.keys); err != nil || len(b.keys.Keys) == 0 {
		return b, errAuditKeys.Because("no keys are in it")
	}
	return b, nil
}

func verifyExport(file string, b believer, out io.Writer) error {
	f, err := os.Open(file)
	if err != nil {
		return errAuditFile.With(err)
	}
	defer f.Close()
	at, n, err := store.VerifyExport(f, b.signed)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The export of %s is whole and unchanged: %d entries.\n", moment(at), n)
	return err
}

func verifyChains(ctx context.Context, db *store.Store, b believer, org, anchors string, out io.Writer) error {
	outside := map[string][]audit.Anchor{}
	if anchors != "" {
		text, err := os.ReadFile(anchors)
		if err != nil {
			return errAuditFile.With(err)
		}
		if outside, err = audit.ReadAnchors(bytes.NewReader(text)); err != nil {
			return errAuditFile.With(err)
		}
	}
	chains, entries, broken := 0, int64(0), 0
	one := func(chain string) error {
		r, err := db.VerifyChain(ctx, chain, b.judge, outside[chain])
		if fault.Of(err) != nil && fault.Of(err).Code == store.ErrChain.Code {
			broken++
			_, err = fmt.Fprintf(out, "BROKEN  %s: %v\n", chainName(chain), fault.Of(err).Unwrap())
			return err
		}
		if err != nil {
			return err
		}
		chains, entries = chains+1, entries+r.Last-r.First+1
		delete(outside, chain)
		if org == "" {
			return nil
		}
		_, err = fmt.Fprintf(out, "%s: entries %d to %d hold, %d anchors fit, anchored to %d; %d wait to be chained\n", chainName(chain), r.First, r.Last, r.Anchors, r.AnchoredTo, r.Waiting)
		return err
	}
	if err := chainsOf(ctx, db, org, one); err != nil {
		return err
	}
	if org == "" { // chains that were anchored and have no head any more
		for chain := range outside {
			if err := one(chain); err != nil {
				return err
			}
		}
	}
	if broken > 0 {
		return errAuditBroken.With(fmt.Errorf("%d chains are broken", broken))
	}
	_, err := fmt.Fprintf(out, "The record holds: %d chains with %d entries.\n", chains, entries)
	return err
}

func runAuditKeys(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("audit keys", "", "Prints the public keys (JWK Set) that anchors and exports of the record are checked with. Keep a copy apart from the database.", errs)
	db, err := cmd.begin(ctx, args, 0, only)
	if err != nil {
		return err
	}
	defer db.Close()
	b, err := believerOf(ctx, db)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(b.keys)
}

func runAuditExport(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("audit export", "> FILE", "Writes the record as lines of JSON, the last of which signs all of them. `audit verify --file` checks it.", errs)
	org := cmd.String("org", "", aboutOrg)
	since := cmd.String("since", "", "only entries from this `time` on")
	if err := cmd.parse(args, 0, "It takes no arguments, only flags; the export is what it prints."); err != nil {
		return err
	}
	from, err := parseSince(*since, time.Now())
	if err != nil {
		return err
	}
	db, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	keys := keyringOf(db, broker.AnchorUse)
	if err := keys.Read(ctx); err != nil {
		return err
	}
	e := audit.NewExport(out)
	if err := chainsOf(ctx, db, *org, func(chain string) error { return db.ExportChain(ctx, chain, from, e) }); err != nil {
		return err
	}
	n, err := e.End(keys, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintf(errs, "%d entries were exported.\n", n)
	return record(ctx, db, "", audit.RecordExported, audit.Ref{}, map[string]string{"count": strconv.FormatInt(n, 10)})
}

func runAuditPrune(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("audit prune", "", "Removes the entries that are older than a time, up to an anchor, so that what is left can be verified still.\nThe last 90 days always stay. Export the record first.", errs)
	org := cmd.String("org", "", aboutOrg)
	before := cmd.String("before", "", "remove entries of before this `time` (required)")
	if err := cmd.parse(args, 0, only); err != nil {
		return err
	}
	till, err := parseSince(*before, time.Now())
	if err != nil {
		return err
	}
	if till.IsZero() {
		return errAuditBefore
	}
	db, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	b, err := believerOf(ctx, db)
	if err != nil {
		return err
	}
	removed := int64(0)
	err = chainsOf(ctx, db, *org, func(chain string) error {
		n, err := db.PruneChain(ctx, chain, till, b.judge, func(through int64) audit.Entry {
			now := time.Now()
			return audit.Entry{ID: string(directory.NewEntryID(now)), At: now, Org: chain, Actor: commandLine.Ref(), Action: audit.RecordPruned,
				Target: audit.Ref{Kind: "record", ID: chainName(chain)},
				Detail: map[string]string{"through": strconv.FormatInt(through, 10), "before": till.UTC().Format(time.RFC3339)}}
		})
		if *org == "" && fault.Of(err) != nil && fault.Of(err).Code == store.ErrPruneAnchor.Code {
			return nil // this chain is young
		}
		removed += n
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d entries were removed.\n", removed)
	return err
}
