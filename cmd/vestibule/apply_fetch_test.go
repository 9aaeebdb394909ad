package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// S23: apply asks where a connection may be asked, follows no redirect, and reads no more than it must.
func TestS23WhatApplyFetchesComesThroughTheGuard(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "/metadata", http.StatusFound)
		case "/large":
			w.Write(make([]byte, maxDocument+1))
		case "/metadata":
			w.Write([]byte("<x/>"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	fetch, here := fetcher(), []string{strings.TrimPrefix(srv.URL, "http://")}
	if raw, err := fetch(t.Context(), srv.URL+"/metadata", here); err != nil || string(raw) != "<x/>" {
		t.Errorf("%q, %v", raw, err)
	}
	for path, private := range map[string][]string{"/metadata": nil, "/away": here, "/large": here, "/none": here, "/metadata\x00": here} {
		if raw, err := fetch(t.Context(), srv.URL+path, private); !errors.Is(err, errFetch) || raw != nil {
			t.Errorf("%q: %d bytes, %v", path, len(raw), err)
		}
	}
}
