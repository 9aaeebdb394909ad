package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/store"
)

var flowCommands = []sub{
	{"show", "show an organization's sign-in flow and its versions", runFlowShow},
	{"set", "keep a file as the draft of an organization's flow", runFlowSet},
	{"validate", "say what is wrong with a file, and keep nothing", runFlowValidate},
	{"publish", "let sign-ins run on the draft, or on an earlier version", runFlowPublish},
	{"rollback", "go back to what was published before", runFlowRollback},
	{"testers", "choose whose sign-ins run on the draft", runFlowTesters},
}

func runFlow(ctx context.Context, args []string, out, errs io.Writer) error {
	return runSub(ctx, "flow", flowCommands, args, out, errs)
}

var (
	errFlowProblems = fault.New(fault.Invalid, "vestibule.flow_problems", "This flow cannot be published as it is.")
	errFlowFile     = fault.New(fault.Invalid, "vestibule.flow_file", "That file is no sign-in flow: it is YAML or JSON with the list items.")
	errFlowVersion  = fault.New(fault.Invalid, "vestibule.flow_version", "A version is a number that `flow show` lists.")
)

const oneOrg = "Name one organization, REALM/HANDLE."

// flowTool is a command about one organization's flow.
type flowTool struct {
	*tool
	db   *store.Store
	org  directory.Org
	flow *flows.FlowService
}

// begin opens the store and finds the organization that the first of n arguments names.
func (t *flowTool) begin(ctx context.Context, args []string, n int, otherwise string) (err error) {
	if t.db, err = t.tool.begin(ctx, args, n, otherwise); err != nil {
		return err
	}
	if t.org, err = orgNamed(ctx, t.db, t.args[0]); err != nil {
		t.db.Close()
		return err
	}
	t.flow = manifestService(t.db).Flows
	return nil
}

// readFlow reads a document from a file, or from the standard input: "-".
func readFlow(name string) (flows.Document, error) {
	raw, err := os.ReadFile(name)
	if name == "-" {
		raw, err = io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
	}
	if err != nil {
		return flows.Document{}, err
	}
	var plain any
	if err := yaml.Unmarshal(raw, &plain); err != nil {
		return flows.Document{}, errFlowFile.With(err)
	}
	doc, err := json.Marshal(plain)
	if err != nil {
		return flows.Document{}, errFlowFile.With(err)
	}
	return flows.ParseDocument(doc)
}

// tell prints what is wrong with a flow.
func tell(out io.Writer, list []flows.Problem) {
	for _, p := range list {
		fmt.Fprintf(out, "  %s\n", p)
	}
}

func runFlowShow(ctx context.Context, args []string, out, errs io.Writer) error {
	t := &flowTool{tool: newTool("flow show", "REALM/HANDLE", "Shows an organization's sign-in flow: the version that is published, its versions, and whose flows above come first.", errs)}
	version := t.String("version", "", "print this version's `number` alone, as a file for `flow set`")
	asJSON := t.Bool("json", false, "as JSON, for programs")
	if err := t.begin(ctx, args, 1, oneOrg); err != nil {
		return err
	}
	defer t.db.Close()
	r, err := t.flow.Report(ctx, commandLine, t.org.ID)
	if err != nil {
		return err
	}
	switch {
	case *version != "":
		n, err := strconv.ParseInt(*version, 10, 64)
		if err != nil {
			return errFlowVersion
		}
		v, err := t.db.FlowVersion(ctx, t.org.ID, n)
		if err != nil {
			return err
		}
		return printJSON(out, v.Doc)
	case *asJSON:
		return printJSON(out, flowReport(r))
	}
	for _, o := range r.Above {
		fmt.Fprintf(out, "The flow of %s comes first.\n", o.Name)
	}
	if r.Head.Published == 0 {
		fmt.Fprintf(out, "%s has published no flow of its own.\n", t.org.Name)
	}
	if len(r.Versions) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VERSION\tWRITTEN\tBY\tSTATE\t")
	for _, v := range r.Versions {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t\n", v.Version, moment(v.At), v.Actor.ID, flowState(r.Head, v.Version))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(r.Head.Testers) > 0 {
		fmt.Fprintf(out, "%d people test the draft.\n", len(r.Head.Testers))
	}
	for _, v := range r.Versions {
		if v.Version == r.Head.Published {
			fmt.Fprintln(out)
			return printJSON(out, v.Doc)
		}
	}
	return nil
}

func flowState(h flows.FlowHead, version int64) string {
	switch version {
	case h.Published:
		return "published"
	case h.Draft:
		return "draft"
	case h.Before:
		return "published before"
	}
	return ""
}

// shownFlow is a report, for programs.
type shownFlow struct {
	Published int64                `json:"published"`
	Before    int64                `json:"before,omitempty"`
	Draft     int64                `json:"draft,omitempty"`
	Testers   []directory.PersonID `json:"testers,omitempty"`
	Above     []directory.OrgID    `json:"above,omitempty"`
	Versions  []shownVersion       `json:"versions"`
}

type shownVersion struct {
	Version int64           `json:"version"`
	At      string          `json:"at"`
	By      string          `json:"by"`
	Flow    json.RawMessage `json:"flow"`
}

func flowReport(r flows.FlowReport) shownFlow {
	s := shownFlow{Published: r.Head.Published, Before: r.Head.Before, Draft: r.Head.Draft, Testers: r.Head.Testers, Versions: []shownVersion{}}
	for _, o := range r.Above {
		s.Above = append(s.Above, o.ID)
	}
	for _, v := range r.Versions {
		s.Versions = append(s.Versions, shownVersion{v.Version, v.At.UTC().Format("2006-01-02T15:04:05Z"), v.Actor.ID, v.Doc})
	}
	return s
}

func runFlowSet(ctx context.Context, args []string, out, errs io.Writer) error {
	t := &flowTool{tool: newTool("flow set", "REALM/HANDLE FILE", "Keeps a YAML or JSON file as the next version of an organization's sign-in flow: the draft. Nobody but its testers\nsigns in by it before it is published. FILE is - for the standard input.", errs)}
	publish := t.Bool("publish", false, "publish it at once")
	if err := t.begin(ctx, args, 2, "Name one organization, REALM/HANDLE, and a file."); err != nil {
		return err
	}
	defer t.db.Close()
	d, err := readFlow(t.args[1])
	if err != nil {
		return err
	}
	drafted, err := t.flow.SetDraft(ctx, commandLine, t.org.ID, d)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Version %d is the draft of %s.\n", drafted.Version, t.org.Name)
	if len(drafted.Problems) > 0 {
		fmt.Fprintln(out, "It cannot be published as it is:")
		tell(out, drafted.Problems)
	}
	if !*publish {
		return nil
	}
	return t.published(ctx, drafted.Version, out)
}

// published publishes a version, and says so, or what is wrong with it.
func (t *flowTool) published(ctx context.Context, version int64, out io.Writer) error {
	n, err := t.flow.Publish(ctx, commandLine, t.org.ID, version)
	if wrong, ok := errors.AsType[*flows.InvalidFlow](err); ok {
		tell(out, wrong.Problems)
		return errFlowProblems
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Sign-ins of %s that begin from now on run on version %d.\n", t.org.Name, n)
	return nil
}

func runFlowValidate(ctx context.Context, args []string, out, errs io.Writer) error {
	t := &flowTool{tool: newTool("flow validate", "REALM/HANDLE FILE", "Says what keeps a file from being the sign-in flow of an organization, under the policy that holds there now. It keeps\nnothing. FILE is - for the standard input.", errs)}
	if err := t.begin(ctx, args, 2, "Name one organization, REALM/HANDLE, and a file."); err != nil {
		return err
	}
	defer t.db.Close()
	d, err := readFlow(t.args[1])
	if err != nil {
		return err
	}
	list, err := t.flow.Validate(ctx, commandLine, t.org.ID, d)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		tell(out, list)
		return errFlowProblems
	}
	fmt.Fprintln(out, "It can be published.")
	return nil
}

func runFlowPublish(ctx context.Context, args []string, out, errs io.Writer) error {
	t := &flowTool{tool: newTool("flow publish", "REALM/HANDLE", "Lets sign-ins that begin from now on run on the draft, or on an earlier version. Those in progress end on what they began with.", errs)}
	version := t.String("version", "", "publish this version's `number` instead of the draft")
	if err := t.begin(ctx, args, 1, oneOrg); err != nil {
		return err
	}
	defer t.db.Close()
	n := int64(0)
	if *version != "" {
		var err error
		if n, err = strconv.ParseInt(*version, 10, 64); err != nil || n < 1 {
			return errFlowVersion
		}
	}
	return t.published(ctx, n, out)
}

func runFlowRollback(ctx context.Context, args []string, out, errs io.Writer) error {
	t := &flowTool{tool: newTool("flow rollback", "REALM/HANDLE", "Publishes what was published before the present version; doing it twice changes nothing.", errs)}
	if err := t.begin(ctx, args, 1, oneOrg); err != nil {
		return err
	}
	defer t.db.Close()
	n, err := t.flow.Rollback(ctx, commandLine, t.org.ID)
	if wrong, ok := errors.AsType[*flows.InvalidFlow](err); ok {
		tell(out, wrong.Problems)
		return errFlowProblems
	}
	if err != nil {
		return err
	}
	if n == 0 {
		fmt.Fprintf(out, "%s has no flow of its own any more.\n", t.org.Name)
		return nil
	}
	fmt.Fprintf(out, "Sign-ins of %s that begin from now on run on version %d.\n", t.org.Name, n)
	return nil
}

func runFlowTesters(ctx context.Context, args []string, out, errs io.Writer) error {
	t := &flowTool{tool: newTool("flow testers", "REALM/HANDLE [PERSON…]", "Chooses the people, by their ids, whose sign-ins run on the draft. Without any, nobody tests it.", errs)}
	var err error
	if t.args, err = parseAnywhere(t.FlagSet, args); err != nil {
		return err
	}
	if len(t.args) == 0 {
		return t.misused(oneOrg)
	}
	if t.db, err = t.open(ctx); err != nil {
		return err
	}
	defer t.db.Close()
	if t.org, err = orgNamed(ctx, t.db, t.args[0]); err != nil {
		return err
	}
	people := make([]directory.PersonID, 0, len(t.args)-1)
	for _, id := range slices.Compact(slices.Sorted(slices.Values(t.args[1:]))) {
		people = append(people, directory.PersonID(id))
	}
	if err := manifestService(t.db).Flows.SetTesters(ctx, commandLine, t.org.ID, people); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d people test the draft of %s.\n", len(people), t.org.Name)
	return nil
}
