package policy

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the settings in docs/policy.md")

// The manual's settings are those of the table.
func TestTheManualHasEverySetting(t *testing.T) {
	const path, begin, end = "../docs/policy.md", "## The settings\n\n", "\n## "
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	if !ok {
		t.Fatal("the settings are not where they were")
	}
	after := ""
	if i := strings.Index(rest, end); i >= 0 {
		after = rest[i:]
	}
	want := before + begin + Manual() + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(raw) != want {
		t.Error("docs/policy.md has not the settings of the table; run: go test ./policy -run TestTheManualHasEverySetting -update")
	}
}

func TestTheSchemaHasEveryFormAndEverySample(t *testing.T) {
	var schema struct {
		Properties map[string]map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.rules {
		entry := schema.Properties[r.key()]
		if entry["title"] != r.title() || entry["type"] == nil && entry["enum"] == nil && entry["anyOf"] == nil {
			t.Errorf("%s is %v", r.key(), entry)
		}
		for _, v := range r.samples() {
			if r.wild(v) {
				continue
			}
			var plain any
			if err := json.Unmarshal(raw(t, v), &plain); err != nil || !fits(entry, plain) {
				t.Errorf("%s: %v does not fit %v", r.key(), plain, entry)
			}
		}
	}
	if fits(schema.Properties["session.lifetime"], "eight hours") || fits(schema.Properties["session.lifetime"], "never") || fits(schema.Properties["mfa.methods"], []any{"password"}) ||
		fits(schema.Properties["password.min_length"], 7.0) || fits(schema.Properties["mfa.requirement"], "x") {
		t.Error("what is no value fits")
	}
}

// fits is as much of a validator as the schema needs.
func fits(s map[string]any, v any) bool {
	if ways, ok := s["anyOf"].([]any); ok {
		return slices.ContainsFunc(ways, func(way any) bool { return fits(way.(map[string]any), v) })
	}
	if c, ok := s["const"]; ok {
		return c == v
	}
	if of, ok := s["enum"].([]any); ok {
		return slices.Contains(of, v)
	}
	switch x := v.(type) {
	case bool:
		return s["type"] == "boolean"
	case string:
		p, has := s["pattern"].(string)
		return s["type"] == "string" && (!has || regexp.MustCompile(p).MatchString(x))
	case float64:
		return s["type"] == "integer" && x >= s["minimum"].(float64) && x <= s["maximum"].(float64)
	case []any:
		items, _ := s["items"].(map[string]any)
		return s["type"] == "array" && !slices.ContainsFunc(x, func(one any) bool { return !fits(items, one) })
	}
	return false
}

var declared = regexp.MustCompile(`(?m)^\s*(?:var )?(\w+)\s*=\s*[\w.]+\((?:"con_", )?Rule\[\w+(?:\.\w+)?\]\{\s*Key:\s*"([^"]+)"`)

// A setting is asked for in the house, or the manual says that it is not: no switch is dead in silence.
func TestASettingIsAskedForOrTheManualSaysThatItIsNot(t *testing.T) {
	names := map[string]string{} // by key
	asked := map[string]bool{}
	var house strings.Builder
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "policy_impact.go") {
			return nil
		}
		raw, err := os.ReadFile(path)
		if filepath.Base(filepath.Dir(path)) != "policy" {
			house.Write(raw)
			return err
		}
		for _, m := range declared.FindAllStringSubmatch(string(raw), -1) {
			names[m[2]] = m[1]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`policy\.(\w+)`).FindAllStringSubmatch(house.String(), -1) {
		asked[m[1]] = true
	}
	for _, key := range Keys() {
		name, ok := names[key]
		if !ok {
			t.Errorf("where is %s declared?", key)
			continue
		}
		if asked[name] && pending[key] {
			t.Errorf("%s is asked for: take its line out of pending, and run TestTheManualHasEverySetting -update", key)
		}
		if !asked[name] && !pending[key] {
			t.Errorf("nothing asks for %s: put it into pending", key)
		}
	}
	for key := range pending {
		if _, ok := rules.byKey[key]; !ok {
			t.Errorf("%s is no setting", key)
		}
	}
}
