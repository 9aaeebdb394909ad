package manifest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/manifest"
)

const followed = `organizations:
- handle: mexbanco
  connections:
  - name: Ours
    type: saml
    private: ["idp.internal:8443"]
    metadata: {url: "https://idp.internal:8443/metadata"}
`

// A SAML connection by the address of its metadata alone: what stands there is pinned when the address is
// new, and never asked by apply again.
func TestMetadataByItsAddressIsAskedOnceAndPinned(t *testing.T) {
	w := newWorld(t)
	asked, answer := 0, error(nil)
	document := w.files
	w.example("complete.yaml") // puts the metadata among the files
	w.Fetch = func(_ context.Context, address string, private []string) ([]byte, error) {
		asked++
		if !strings.HasPrefix(address, "https://idp.internal:8443/metadata") || len(private) != 1 || private[0] != "idp.internal:8443" {
			t.Errorf("%s was asked, with %v", address, private)
		}
		return []byte(document["idp-metadata.xml"]), answer
	}
	connection := func() (out []upstream.Connection) {
		t.Helper()
		id, err := w.Directory.OrgByHandle(t.Context(), w.realm("main"), "mexbanco")
		if errors.Is(err, directory.ErrOrgNotFound) {
			return nil
		}
		if err == nil {
			out, err = w.Connections.ConnectionsFor(t.Context(), id)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}

	answer = fault.New(fault.Upstream, "test.silent", "Nobody answers.")
	if _, err := w.try(manifest.Options{}, followed); !errors.Is(err, manifest.ErrFiles) || !strings.Contains(said(err), "a.yaml:4:5") || !strings.Contains(said(err), "Nobody answers.") {
		t.Errorf("%v: %s", err, said(err))
	}
	answer = nil
	if _, err := w.try(manifest.Options{}, strings.Replace(followed, "type: saml", "type: saml\n    issuer: https://somebody.else.example", 1)); !errors.Is(err, manifest.ErrFiles) {
		t.Errorf("metadata of another entity: %v", err)
	}
	if list, err := w.Lists.RealmList(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("something was made: %v, %v", list, err)
	}
	asked = 0
	w.apply(followed)
	made := connection()
	if len(made) != 1 || made[0].Issuer == "" || !strings.Contains(string(made[0].Config), `"metadata_url":"https://idp.internal:8443/metadata"`) || !strings.Contains(string(made[0].Config), `"certificates":["`) {
		t.Fatalf("%+v", made)
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	answer = errors.New("the provider is down")
	if p := w.apply(followed); len(p.Changes) != 0 || asked != 1 {
		t.Errorf("applied again it asked %d times and changed\n%s", asked-1, lines(p))
	}
	// S4: what stands at another address is of the same provider, or the connection stays as it is.
	answer, document = nil, map[string]string{"idp-metadata.xml": strings.ReplaceAll(document["idp-metadata.xml"], made[0].Issuer, "https://mallory.example/entity")}
	if _, err := w.try(manifest.Options{}, strings.Replace(followed, "url: \"https://idp.internal:8443/metadata\"", "url: \"https://idp.internal:8443/metadata?moved\"", 1)); err == nil {
		t.Error("another provider took the connection over")
	}
	if now := connection(); now[0].Issuer != made[0].Issuer || string(now[0].Config) != string(made[0].Config) {
		t.Errorf("it changed: %+v", now)
	}
	if _, err := w.try(manifest.Options{}, strings.Replace(followed, "{url:", "{file: x, url:", 1)); !strings.Contains(said(err), "in one place") {
		t.Errorf("two places: %v", err)
	}
}
