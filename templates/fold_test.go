package templates

import (
	"bytes"
	"errors"
	"html/template"
	"testing"
)

func folded(t *testing.T, source string) (string, error) {
	t.Helper()
	words := catalogue{"plain": newSentence(`"Quoted" & <so>`), "strong": newSentence("**So**"), "fill": newSentence("{1} there")}
	a := newAssets(t)
	page, err := template.New("p").Funcs(funcs(words, a)).Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := fold(page, constants(words, a)); err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = page.Execute(&out, map[string]any{"Yes": true, "No": false, "Who": "<b>"})
	return out.String(), err
}

// Rendering once must not change what is rendered, wherever it stands.
func TestWhatIsRenderedOnceReadsTheSame(t *testing.T) {
	for source, want := range map[string]string{
		`<p title="{{t "plain"}}">{{t "plain"}}</p>`:                `<p title="&#34;Quoted&#34; &amp; &lt;so&gt;">&#34;Quoted&#34; &amp; &lt;so&gt;</p>`,
		`<p title="{{t "strong"}}">{{t "strong"}}</p>`:              `<p title="So"><strong>So</strong></p>`,
		`<p>{{t "fill" .Who}}</p>`:                                  `<p>&lt;b&gt; there</p>`,
		`<p>{{t "fill" "<i>"}}</p>`:                                 `<p>&lt;i&gt; there</p>`,
		`{{if .Yes}}<p>{{t "fill" "a"}}</p>{{end}}`:                 `<p>a there</p>`,
		`{{with .Who}}<p>{{t "fill" .}}{{t "fill" "b"}}</p>{{end}}`: `<p>&lt;b&gt; thereb there</p>`,
	} {
		got, err := folded(t, source)
		if err != nil || got != want {
			t.Errorf("%s: %v\n got %s\nwant %s", source, err, got, want)
		}
	}
}

// A mistake in a branch that no test happens to take is found when the service starts.
func TestAMissingPartIsFoundAtTheStart(t *testing.T) {
	for source, want := range map[string]error{
		`{{if .No}}{{t "missing"}}{{end}}`:                      ErrText,
		`{{if .Yes}}{{else}}{{asset "missing.css"}}{{end}}`:     ErrAsset,
		`{{range .None}}{{icon "missing"}}{{end}}`:              ErrPicture,
		`{{with .No}}{{icon "mail" "huge"}}{{end}}`:             ErrPicture,
		`{{define "part"}}{{if .No}}{{t "fill"}}{{end}}{{end}}`: ErrText,
	} {
		if _, err := folded(t, source); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", source, err, want)
		}
	}
}
