package storetest

import (
	"crypto/sha256"
	"errors"
	"reflect"
	"slices"
	"testing"
)

// whole says that what came back has a value in every field: one that was added to a noun and not to
// the store comes back empty, and so does one that the example leaves out.
func whole(t *testing.T, v any, except ...string) {
	t.Helper()
	r := reflect.ValueOf(v)
	for i := range r.NumField() {
		name := r.Type().Field(i).Name
		if r.Field(i).IsZero() && !slices.Contains(except, name) {
			t.Errorf("%s.%s came back empty: store it, or set it in the example", r.Type(), name)
		}
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func hash(s string) [32]byte { return sha256.Sum256([]byte(s)) }
