package saml

import (
	"testing"

	dsig "github.com/russellhaering/goxmldsig"

	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

// What libxml2 makes of the same documents: the whole one, and its first child alone.
func TestCanonicalForm(t *testing.T) {
	for _, c := range []struct{ doc, prefixes, whole, child string }{
		{`<a xmlns="urn:x"><b xmlns=""><c/></b></a>`, "", `<a xmlns="urn:x"><b xmlns=""><c></c></b></a>`, `<b><c></c></b>`},
		{`<p:a xmlns:p="urn:p"><b><c xmlns="urn:d"/></b></p:a>`, "", `<p:a xmlns:p="urn:p"><b><c xmlns="urn:d"></c></b></p:a>`, `<b><c xmlns="urn:d"></c></b>`},
		{`<p:a xmlns:p="urn:p"><b xmlns=""/></p:a>`, "", `<p:a xmlns:p="urn:p"><b></b></p:a>`, `<b></b>`},
		{`<p:a xmlns:p="urn:p" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><p:b xsi:type="xs:string" xml:lang="en" xmlns:xs="http://www.w3.org/2001/XMLSchema">t</p:b></p:a>`, "", `<p:a xmlns:p="urn:p"><p:b xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string" xml:lang="en">t</p:b></p:a>`, `<p:b xmlns:p="urn:p" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string" xml:lang="en">t</p:b>`},
		{`<p:a xmlns:p="urn:p" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><p:b xsi:type="xs:string" xml:lang="en" xmlns:xs="http://www.w3.org/2001/XMLSchema">t</p:b></p:a>`, "p xs q", `<p:a xmlns:p="urn:p"><p:b xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string" xml:lang="en">t</p:b></p:a>`, `<p:b xmlns:p="urn:p" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string" xml:lang="en">t</p:b>`},
		{`<p:a xmlns:p="urn:p" xmlns:a="urn:z" xmlns:z="urn:a" a:k="1" z:k="2" z:b="3" a:a="4" x="5"/>`, "", `<p:a xmlns:a="urn:z" xmlns:p="urn:p" xmlns:z="urn:a" x="5" z:b="3" z:k="2" a:a="4" a:k="1"></p:a>`, ``},
		{`<p:a xmlns:p="urn:p"><q:b xmlns:q="urn:q"><p:c xmlns:p="urn:p2"><q:d/></p:c></q:b></p:a>`, "", `<p:a xmlns:p="urn:p"><q:b xmlns:q="urn:q"><p:c xmlns:p="urn:p2"><q:d></q:d></p:c></q:b></p:a>`, `<q:b xmlns:q="urn:q"><p:c xmlns:p="urn:p2"><q:d></q:d></p:c></q:b>`},
		{`<p:a xmlns:p="urn:p" v="a&#xA;b&#x9;c&#xD;d&quot;&lt;&gt;&amp;">x&#xD;y&gt;&lt;&amp;"'<![CDATA[<z>&]]></p:a>`, "", `<p:a xmlns:p="urn:p" v="a&#xA;b&#x9;c&#xD;d&quot;&lt;>&amp;">x&#xD;y&gt;&lt;&amp;"'&lt;z&gt;&amp;</p:a>`, ``},
		{`<a xmlns="urn:1"><b xmlns="urn:2"><c xmlns="urn:1"/></b></a>`, "", `<a xmlns="urn:1"><b xmlns="urn:2"><c xmlns="urn:1"></c></b></a>`, `<b xmlns="urn:2"><c xmlns="urn:1"></c></b>`},
		{`<p:a xmlns:p="urn:p" xmlns="urn:d"><p:b><c/><c/></p:b></p:a>`, "", `<p:a xmlns:p="urn:p"><p:b><c xmlns="urn:d"></c><c xmlns="urn:d"></c></p:b></p:a>`, `<p:b xmlns:p="urn:p"><c xmlns="urn:d"></c><c xmlns="urn:d"></c></p:b>`},
		{`<p:a xmlns:p="urn:p" xml:space="preserve" xml:lang="fr"><p:b/></p:a>`, "", `<p:a xmlns:p="urn:p" xml:lang="fr" xml:space="preserve"><p:b></p:b></p:a>`, `<p:b xmlns:p="urn:p"></p:b>`},
		{"<p:a xmlns:p=\"urn:p\">é 😀</p:a>", "", "<p:a xmlns:p=\"urn:p\">é 😀</p:a>", ``},
		{`<p:a xmlns:p="urn:p"><!-- c -->x<!-- d -->y</p:a>`, "", `<p:a xmlns:p="urn:p">xy</p:a>`, ``},
		{`<a xmlns="urn:x"><b xmlns=""><c xmlns="urn:x"/></b></a>`, "", `<a xmlns="urn:x"><b xmlns=""><c xmlns="urn:x"></c></b></a>`, `<b><c xmlns="urn:x"></c></b>`},
	} {
		root, err := newReader().read([]byte(c.doc))
		if err != nil {
			t.Errorf("%s: %v", c.doc, err)
			continue
		}
		if got := string(must(canonical(root, nil, c.prefixes))); got != c.whole {
			t.Errorf("%s (%s)\ngot  %s\nwant %s", c.doc, c.prefixes, got, c.whole)
		}
		if c.child == "" {
			continue
		}
		if got := string(must(canonical(root.ChildElements()[0], nil, c.prefixes))); got != c.child {
			t.Errorf("child of %s (%s)\ngot  %s\nwant %s", c.doc, c.prefixes, got, c.child)
		}
	}
}

// On what providers send, another implementation agrees, and the tree stays as it was.
func TestCanonicalFormAgreesWithTheLibrary(t *testing.T) {
	w := newWorld(t)
	for _, doc := range responseSeeds(w)[:10] {
		root, err := newReader().read(doc)
		if err != nil {
			continue // two assertions
		}
		for _, prefixes := range []string{"", "saml xs"} {
			got := must(canonical(root, nil, prefixes))
			again := must(canonical(root, nil, prefixes))
			want := must(dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList(prefixes).Canonicalize(root.Copy()))
			if string(got) != string(want) || string(again) != string(got) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	}
}

func TestTheSignatureIsLeftOutAndNothingElse(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.SignResponse = true
	root, err := newReader().read(must(r.XML()))
	if err != nil {
		t.Fatal(err)
	}
	sig := must(signatureOf(root))
	bare := root.Copy()
	bare.RemoveChildAt(sig.Index())
	if got, want := must(canonical(root, sig, "")), must(samltest.Bytes(bare)); len(got) == 0 || string(got) != string(must(canonical(bare, nil, ""))) {
		t.Errorf("got  %s\nof   %s", got, want)
	}
}
