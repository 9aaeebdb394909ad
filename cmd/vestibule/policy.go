package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/store"
)

var policyCommands = []sub{
	{"show", "show what holds for an organization, and who says so", runPolicyShow},
	{"set", "set what an organization, a realm or an app asks for", runPolicySet},
	{"unset", "take values back, so that what is above holds", runPolicyUnset},
	{"history", "show who changed what, and when", runPolicyHistory},
	{"revert", "take the last change back, or go back to a version", runPolicyRevert},
	{"schema", "print the JSON Schema of a policy, for editors", runPolicySchema},
}

func runPolicy(ctx context.Context, args []string, out, errs io.Writer) error {
	return runSub(ctx, "policy", policyCommands, args, out, errs)
}

var guardrailCommands = []sub{
	{"show", "show the platform's defaults, limits and values", runGuardrailsShow},
	{"set", "set the platform's default, limit or value of a setting", runGuardrailsSet},
	{"unset", "take back what the platform set, so that what this release came with holds", runGuardrailsUnset},
	{"history", "show who changed what, and when", runGuardrailsHistory},
	{"revert", "take the last change back, or go back to a version", runGuardrailsRevert},
}

func runGuardrails(ctx context.Context, args []string, out, errs io.Writer) error {
	return runSub(ctx, "guardrails", guardrailCommands, args, out, errs)
}

var (
	errWish    = fault.New(fault.Invalid, "vestibule.policy_wish", "A setting is written KEY=VALUE, such as session.lifetime=8h.")
	errVersion = fault.New(fault.Invalid, "vestibule.policy_version", "A version is a number that history shows.")
)

// place is the level that a command is about.
type place struct {
	at    directory.PolicyLevel
	realm directory.RealmID // of an app
	name  string
	org   directory.Org // where it is one
}

// policyTool is a command about one level.
type policyTool struct {
	*tool
	realm, app *string
	preview    *bool
	confirm    *bool
}

func newPolicyTool(name, args, about string, errs io.Writer) *policyTool {
	t := &policyTool{tool: newTool(name, args, about, errs)}
	if strings.HasPrefix(name, "policy") {
		t.realm = t.String("realm", "", "the level is the realm with this `handle`")
		t.app = t.String("app", "", "the level is the app with this `client id`")
	}
	return t
}

// changes gives a command that changes something its flags.
func (t *policyTool) changes() {
	t.preview = t.Bool("preview", false, "say what the change would do, and change nothing")
	t.confirm = t.Bool("confirm", false, "make the change even if nobody of some organization could sign in after it")
}

const onePlace = "Name one level: an organization REALM/HANDLE, or --realm HANDLE, or --app CLIENT-ID."

// level takes the level from the flags, or from the first argument, and returns the other arguments.
func (t *policyTool) level(args []string) (which, name string, rest []string, err error) {
	if t.realm == nil {
		return "platform", "", args, nil
	}
	switch {
	case *t.realm != "" && *t.app != "":
		return "", "", nil, t.misused(onePlace)
	case *t.realm != "":
		return "realm", *t.realm, args, nil
	case *t.app != "":
		return "app", *t.app, args, nil
	case len(args) == 0 || strings.Contains(args[0], "="):
		return "", "", nil, t.misused(onePlace)
	}
	return "org", args[0], args[1:], nil
}

func placeOf(ctx context.Context, db *store.Store, which, name string) (place, error) {
	switch which {
	case "realm":
		r, err := db.RealmByHandle(ctx, name)
		return place{at: directory.PolicyLevel{Realm: r.ID}, name: "the realm " + r.Handle}, err
	case "app":
		a, err := db.AppByClientID(ctx, name)
		return place{at: directory.PolicyLevel{App: a.ID}, realm: a.Realm, name: a.Name}, err
	case "org":
		o, err := orgNamed(ctx, db, name)
		return place{at: directory.PolicyLevel{Org: o.ID}, name: o.Name, org: o}, err
	}
	return place{name: "the platform"}, nil
}

func runPolicyShow(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("policy show", "REALM/HANDLE", "Shows what holds for the people of an organization, who says so, and what is the loosest that the organization could ask for.\nWhat the organization set and a level above has tightened since is marked as over the limit.", errs)
	app := cmd.String("app", "", "what holds in the app with this `client id`")
	why := cmd.Bool("why", false, "say in words where each value comes from")
	asJSON := cmd.Bool("json", false, "as JSON, for programs")
	db, err := cmd.begin(ctx, args, 1, "Name one organization, REALM/HANDLE.")
	if err != nil {
		return err
	}
	defer db.Close()
	o, err := orgNamed(ctx, db, cmd.args[0])
	if err != nil {
		return err
	}
	var in directory.AppID
	if *app != "" {
		a, err := db.AppByClientID(ctx, *app)
		if err != nil {
			return err
		}
		in = a.ID
	}
	held, err := heldBy(ctx, manifestService(db).Directory, o.ID, in)
	if err != nil {
		return err
	}
	switch {
	case *asJSON:
		return printJSON(out, held)
	case *why:
		for _, h := range held {
			fmt.Fprintf(out, "%s\n    %s\n", h.Key, h.Words)
			if h.Over != "" {
				fmt.Fprintf(out, "    Over the limit: %s\n", h.Over)
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tBY\tLOOSEST\t")
	for _, h := range held {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.Key, h.Shown, h.by(), h.LimitShown, h.mark())
	}
	return w.Flush()
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// holding is one setting as it holds, for programs and tables.
type holding struct {
	Key   string          `json:"key"`
	Title string          `json:"title"`
	Value json.RawMessage `json:"value"`
	Words string          `json:"words"`
	Set   bool            `json:"set"` // a level asked for it; else it is a default
	Level string          `json:"level"`
	Kind  policy.Kind     `json:"kind"`
	ID    string          `json:"id,omitempty"`
	By    string          `json:"by,omitempty"`
	At    time.Time       `json:"at,omitzero"`
	// Reason is what whoever set it gave.
	Reason     string `json:"reason,omitempty"`
	Shown      string `json:"shown"`
	LimitShown string `json:"limit"`
	LimitBy    string `json:"limit_by"`
	Locked     bool   `json:"locked"`
	Asked      string `json:"asked,omitempty"`
	AskedBy    string `json:"asked_by,omitempty"`
	Keep       string `json:"keep,omitempty"`
	// Over is why what the organization itself has set could not be set today.
	Over    string `json:"over_limit,omitempty"`
	Pending bool   `json:"not_asked_yet,omitempty"`
}

func (h holding) by() string {
	if !h.Set {
		return "default"
	}
	return h.Level
}

func (h holding) mark() string {
	switch {
	case h.Over != "":
		return "over the limit: " + h.Asked
	case h.Pending:
		return "not asked for yet"
	case h.Locked:
		return "locked"
	}
	return ""
}

func heldBy(ctx context.Context, d *directory.Service, org directory.OrgID, app directory.AppID) ([]holding, error) {
	chain, err := d.OrgChain(ctx, org)
	if err != nil {
		return nil, err
	}
	eff, err := d.Effective(ctx, chain, app)
	if err != nil {
		return nil, err
	}
	own, err := d.PolicyLevels(ctx, chain, "")
	if err != nil {
		return nil, err
	}
	over, err := policy.Review(own)
	if err != nil {
		return nil, err
	}
	var out []holding
	for _, s := range policy.Settings() {
		p := eff.Why(s.Key)
		h := holding{Key: s.Key, Title: s.Title, Value: eff.Value(s.Key), Words: p.Words(), Set: p.Set, Level: p.Level, Kind: p.Kind, ID: p.ID, By: p.Note.By, At: p.Note.At,
			Reason: p.Note.Reason, Shown: p.Value, LimitShown: p.Limit, LimitBy: p.LimitBy, Locked: p.Locked, Asked: p.Asked, AskedBy: p.AskedBy, Keep: p.Keep,
			Over: over[s.Key], Pending: s.Pending}
		out = append(out, h)
	}
	return out, nil
}

func runPolicySet(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newPolicyTool("policy set", "[REALM/HANDLE] KEY=VALUE…", "Sets what an organization, a realm or an app asks for. It may be tighter than what is above, never looser.\nA list is separated by commas; an empty one is written KEY=.", errs)
	reason := cmd.String("reason", "", "why, shown to everybody whom the values bind")
	keep := cmd.String("keep", "", "`KEY=MEMBERS` of a list that every level below must keep; KEY= keeps nothing any more")
	cmd.changes()
	all, err := parseAnywhere(cmd.FlagSet, args)
	if err != nil {
		return err
	}
	which, name, wishes, err := cmd.level(all)
	if err != nil {
		return err
	}
	if len(wishes) == 0 && *keep == "" {
		return cmd.misused("Say what to set: KEY=VALUE.")
	}
	w := directory.PolicyWishes{Reasons: map[string]string{}}
	if w.Values, err = typed(wishes, w.Reasons, policy.OwnValues, *reason); err != nil {
		return err
	}
	if *keep != "" {
		if w.Keep, err = typed([]string{*keep}, w.Reasons, policy.Kept, *reason); err != nil {
			return err
		}
		for key, v := range w.Keep {
			if string(v) == "[]" {
				w.Keep[key] = nil
			}
		}
	}
	return cmd.make(ctx, which, name, w, out)
}

// typed reads settings as they are typed, and gives each the reason.
func typed(wishes []string, reasons map[string]string, part policy.Part, reason string) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for _, wish := range wishes {
		key, text, ok := strings.Cut(wish, "=")
		if !ok {
			return nil, errWish.Because(wish)
		}
		v, err := policy.Typed(key, text)
		if err != nil {
			return nil, err
		}
		if out[key] = v; reason != "" {
			reasons[policy.NoteOf(part, key)] = reason
		}
	}
	return out, nil
}

func runPolicyUnset(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newPolicyTool("policy unset", "[REALM/HANDLE] KEY…", "Takes values back that an organization, a realm or an app has set: what is above holds again.", errs)
	cmd.changes()
	all, err := parseAnywhere(cmd.FlagSet, args)
	if err != nil {
		return err
	}
	which, name, keys, err := cmd.level(all)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return cmd.misused("Say which settings to take back.")
	}
	w := directory.PolicyWishes{}
	if w.Values, err = takenBack(keys); err != nil {
		return err
	}
	return cmd.make(ctx, which, name, w, out)
}

func takenBack(keys []string) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for _, key := range keys {
		if !slices.Contains(policy.Keys(), key) {
			_, err := policy.Typed(key, "")
			return nil, err
		}
		out[key] = nil
	}
	return out, nil
}

// make makes the change, or says what it would do.
func (t *policyTool) make(ctx context.Context, which, name string, w directory.PolicyWishes, out io.Writer) error {
	db, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := placeOf(ctx, db, which, name)
	if err != nil {
		return err
	}
	return t.change(ctx, db, p, w, out)
}

func (t *policyTool) change(ctx context.Context, db *store.Store, p place, w directory.PolicyWishes, out io.Writer) error {
	people := manifestService(db).Directory
	impact, err := people.PolicyImpact(ctx, commandLine, db, p.at, p.realm, w)
	if err != nil {
		return err
	}
	if *t.preview {
		printImpact(out, impact)
		return nil
	}
	if err := impact.Refusal(); err != nil && !*t.confirm {
		return err
	}
	if err := people.SetLevelPolicy(ctx, commandLine, p.at, p.realm, w); err != nil {
		return err
	}
	fmt.Fprintf(out, "Done: %s asks for it from now on.\n", p.name)
	printImpact(out, impact)
	for _, s := range policy.Settings() {
		if _, set := w.Values[s.Key]; set && s.Pending {
			fmt.Fprintf(out, "Nothing asks for %s yet; it holds from the release on that does.\n", s.Key)
		}
	}
	return nil
}

// printImpact says what a change does.
func printImpact(out io.Writer, i directory.PolicyImpact) {
	if i.Organizations == 0 {
		fmt.Fprintln(out, "It changes what holds for no organization.")
		return
	}
	fmt.Fprintf(out, "It changes what holds for %s.\n", countOf(i.Organizations, "organization"))
	for _, o := range i.Named {
		fmt.Fprintf(out, "  %s\n", plainLine(o.Org.Name))
		for _, c := range o.Changes {
			fmt.Fprintf(out, "    %s: %s, was %s\n", c.Key, c.After, c.Before)
		}
		if o.Sessions > 0 {
			fmt.Fprintf(out, "    %s end: their people sign in again\n", countOf(o.Sessions, "session"))
		}
		if o.Enrol > 0 {
			fmt.Fprintf(out, "    %s must set up a second step, unless their identity provider asks for one\n", peopleOf(o.Enrol))
		}
		for _, why := range o.LockedOut {
			fmt.Fprintf(out, "    NOBODY CAN SIGN IN: %s\n", why)
		}
	}
	if rest := i.Organizations - len(i.Named); rest > 0 {
		fmt.Fprintf(out, "  and %d more\n", rest)
	}
	if i.Sessions > 0 {
		fmt.Fprintf(out, "%s end altogether.\n", countOf(i.Sessions, "session"))
	}
	if i.Enrol > 0 {
		fmt.Fprintf(out, "%s must set up a second step altogether.\n", peopleOf(i.Enrol))
	}
	if i.LockedOut > 0 {
		fmt.Fprintf(out, "In %s nobody could sign in. That needs --confirm.\n", countOf(i.LockedOut, "organization"))
	}
}

func peopleOf(n int) string {
	if n == 1 {
		return "1 person"
	}
	return strconv.Itoa(n) + " people"
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func runPolicyHistory(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newPolicyTool("policy history", "[REALM/HANDLE]", "Shows who changed what an organization, a realm or an app asks for, the newest change first.", errs)
	return cmd.history(ctx, args, out)
}

func runGuardrailsHistory(ctx context.Context, args []string, out, errs io.Writer) error {
	return newPolicyTool("guardrails history", "", "Shows who changed what the platform asks for, the newest change first.", errs).history(ctx, args, out)
}

func (t *policyTool) history(ctx context.Context, args []string, out io.Writer) error {
	all, err := parseAnywhere(t.FlagSet, args)
	if err != nil {
		return err
	}
	which, name, rest, err := t.level(all)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return t.misused(onePlace)
	}
	db, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := placeOf(ctx, db, which, name)
	if err != nil {
		return err
	}
	list, err := manifestService(db).Directory.PolicyHistory(ctx, commandLine, p.at)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintf(out, "Nothing was ever set by %s.\n", p.name)
	}
	for i, c := range list {
		var before directory.PolicyDoc
		if i+1 < len(list) {
			before = list[i+1].Doc
		}
		printVersion(out, c, before)
	}
	return nil
}

func printVersion(out io.Writer, c directory.PolicyChange, before directory.PolicyDoc) {
	if c.At.IsZero() {
		fmt.Fprintf(out, "version %d  written before there was a history\n", c.Version)
	} else {
		fmt.Fprintf(out, "version %d  %s  by %s\n", c.Version, moment(c.At), plainLine(cmp.Or(c.Actor.ID, string(c.Actor.Kind))))
	}
	for _, d := range before.Differences(c.Doc) {
		fmt.Fprintf(out, "    %s: %s", d.Key, orNothing(d.After))
		if d.Before != nil {
			fmt.Fprintf(out, ", was %s", d.Before)
		}
		if d.Reason != "" {
			fmt.Fprintf(out, " (%s)", plainLine(d.Reason))
		}
		fmt.Fprintln(out)
	}
}

func orNothing(v json.RawMessage) string {
	if v == nil {
		return "taken back"
	}
	return string(v)
}

func runPolicyRevert(ctx context.Context, args []string, out, errs io.Writer) error {
	return newPolicyTool("policy revert", "[REALM/HANDLE] [VERSION]", "Takes the last change of an organization, a realm or an app back, or makes its policy what it was in a version that history shows.\nIt is a change like others: what was allowed then may be looser than a level above allows today, and is refused.", errs).revert(ctx, args, out)
}

func runGuardrailsRevert(ctx context.Context, args []string, out, errs io.Writer) error {
	return newPolicyTool("guardrails revert", "[VERSION]", "Takes the platform's last change back, or makes its policy what it was in a version that history shows.", errs).revert(ctx, args, out)
}

func (t *policyTool) revert(ctx context.Context, args []string, out io.Writer) error {
	t.changes()
	all, err := parseAnywhere(t.FlagSet, args)
	if err != nil {
		return err
	}
	which, name, rest, err := t.level(all)
	if err != nil {
		return err
	}
	version := int64(0)
	switch {
	case len(rest) > 1:
		return t.misused("Name one version at most.")
	case len(rest) == 1:
		if version, err = strconv.ParseInt(rest[0], 10, 64); err != nil || version < 1 {
			return errVersion
		}
	}
	db, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := placeOf(ctx, db, which, name)
	if err != nil {
		return err
	}
	w, _, err := manifestService(db).Directory.RevertWishes(ctx, commandLine, p.at, version)
	if err != nil {
		return err
	}
	return t.change(ctx, db, p, w, out)
}

func runPolicySchema(_ context.Context, args []string, out, errs io.Writer) error {
	flags := newFlags("policy schema", "", "Prints the JSON Schema (draft 2020-12) of what one level may set, for editors and programs.", errs)
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return misused(flags, only)
	}
	_, err := fmt.Fprintf(out, "%s\n", policy.Schema())
	return err
}

func runGuardrailsShow(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("guardrails show", "", "Shows the platform's defaults, which hold where nobody says otherwise, its limits, the loosest that anybody may reach,\nand what it demands of everybody. What this release came with stands in parentheses.", errs)
	asJSON := cmd.Bool("json", false, "what the platform itself has set, as JSON")
	db, err := cmd.begin(ctx, args, 0, only)
	if err != nil {
		return err
	}
	defer db.Close()
	doc, err := db.PolicyDoc(ctx, directory.PolicyLevel{})
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(out, doc)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tDEFAULT\tLIMIT\tDEMANDED\tKEPT")
	own := func(v json.RawMessage, otherwise string) string {
		if v == nil && otherwise != "" {
			return "(" + otherwise + ")"
		}
		return shownJSON(v)
	}
	for _, s := range policy.Settings() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Key, own(doc.Defaults[s.Key], s.Default), own(doc.Limits[s.Key], s.Limit), own(doc.Values[s.Key], ""), own(doc.Keep[s.Key], ""))
	}
	return w.Flush()
}

// shownJSON is a value as people type it.
func shownJSON(v json.RawMessage) string {
	var list []string
	var text string
	switch {
	case v == nil:
		return ""
	case json.Unmarshal(v, &text) == nil:
		return text
	case json.Unmarshal(v, &list) == nil:
		return strings.Join(list, ",")
	}
	return string(v)
}

func runGuardrailsSet(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newPolicyTool("guardrails set", "KEY", "Sets the platform's default, limit or value of a setting. A default holds where nobody says otherwise and binds nobody; a limit\nis the loosest value that anybody may reach; a value binds everybody.", errs)
	parts := map[policy.Part]*string{
		policy.Defaults:  cmd.String("default", "", "what holds where nobody says otherwise"),
		policy.Limits:    cmd.String("limit", "", "the loosest `value` that anybody may reach"),
		policy.OwnValues: cmd.String("value", "", "what everybody must have, or tighter"),
		policy.Kept:      cmd.String("keep", "", "`members` of a list that everybody must keep"),
	}
	reason := cmd.String("reason", "", "why, shown to everybody whom it binds")
	cmd.changes()
	keys, err := parseAnywhere(cmd.FlagSet, args)
	if err != nil {
		return err
	}
	if len(keys) != 1 {
		return cmd.misused("Name one setting.")
	}
	w, given := directory.PolicyWishes{Reasons: map[string]string{}}, cmd.given()
	into := map[policy.Part]*map[string]json.RawMessage{policy.Defaults: &w.Defaults, policy.Limits: &w.Limits, policy.OwnValues: &w.Values, policy.Kept: &w.Keep}
	some := false
	for part, flag := range map[policy.Part]string{policy.Defaults: "default", policy.Limits: "limit", policy.OwnValues: "value", policy.Kept: "keep"} {
		if !given[flag] {
			continue
		}
		some = true
		if *into[part], err = typed([]string{keys[0] + "=" + *parts[part]}, w.Reasons, part, *reason); err != nil {
			return err
		}
	}
	if !some {
		return cmd.misused("Say what to set: --default, --limit, --value or --keep.")
	}
	return cmd.make(ctx, "platform", "", w, out)
}

func runGuardrailsUnset(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newPolicyTool("guardrails unset", "KEY…", "Takes back all that the platform set of some settings, or only what the flags name: what this release came with holds again.", errs)
	parts := map[string]*bool{}
	for _, part := range []string{"default", "limit", "value", "keep"} {
		parts[part] = cmd.Bool(part, false, "take back the platform's "+part+" alone")
	}
	cmd.changes()
	keys, err := parseAnywhere(cmd.FlagSet, args)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return cmd.misused("Say which settings to take back.")
	}
	back, err := takenBack(keys)
	if err != nil {
		return err
	}
	all := !*parts["default"] && !*parts["limit"] && !*parts["value"] && !*parts["keep"]
	w := directory.PolicyWishes{}
	for part, into := range map[string]*map[string]json.RawMessage{"default": &w.Defaults, "limit": &w.Limits, "value": &w.Values, "keep": &w.Keep} {
		if all || *parts[part] {
			*into = back // each is read, and none written
		}
	}
	return cmd.make(ctx, "platform", "", w, out)
}
