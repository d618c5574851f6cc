package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
)

// A node that takes a request and never answers leaves it open what became of a change.
// That another one refuses connections is no answer to that, and what changes nothing
// is not in doubt.
func TestNobodyKnowsWhatBecameOfIt(t *testing.T) {
	end := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-end:
		}
	}))
	t.Cleanup(func() { close(end); silent.Close() })
	gone := httptest.NewServer(nil)
	gone.Close()
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"group delete web --yes": {cli.CodeUnknown, "prytany: outcome unknown: a node that was asked has not answered in time (another one: " +
			strings.TrimPrefix(gone.URL, "http://") + ": connection refused); the change may have happened or may still\n"},
		"group rebalance":           {cli.CodeUnknown, "the change may have happened or may still\n"},
		"group rebalance --dry-run": {cli.CodeUnavailable, "prytany: no answer in time; nothing was to be done, and nothing has been\n"},
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			var out, talk strings.Builder
			line := append(strings.Fields(args), "--timeout", "6s", "--addr", silent.URL+","+gone.URL)
			code := run(t.Context(), line, cli.Streams{Stdout: &out, Stderr: &talk}, nil)
			if code != want.code || !strings.Contains(talk.String(), want.text) || strings.Count(talk.String(), "\ntry: ") != 1 {
				t.Errorf("exit code %d, want %d with %q: %q", code, want.code, want.text, talk.String())
			}
		})
	}
}
