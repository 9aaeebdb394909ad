package saml

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"
)

// Whoever inflates a request reads what was written, whether it was worth compressing or not.
func TestARequestIsInflatedToWhatItWas(t *testing.T) {
	for _, n := range []int{0, 1, 255, 256, uncompressed - 1, uncompressed, uncompressed + 1, 70_000} {
		text := strings.Repeat("<é>", n/4+1)[:n]
		small, err := deflate(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(flate.NewReader(bytes.NewReader(small)))
		if err != nil || string(got) != text {
			t.Errorf("%d bytes became %d: %v", n, len(got), err)
		}
		if len(small) > uncompressed+5 {
			t.Errorf("%d bytes travel as %d", n, len(small))
		}
	}
}
