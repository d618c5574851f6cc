package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPatched: the runtime of the Go that is used has the places, and is Go afterwards.
func TestPatched(t *testing.T) {
	root, err := goroot()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(root, "src", "runtime", "proc.go"))
	if err != nil {
		t.Fatal(err)
	}
	proc, err := patched(string(source))
	if err != nil {
		t.Fatal(err)
	}
	for _, next := range places {
		if !strings.Contains(proc, "\tstallNow(&"+next+")\n") || !strings.Contains(stall, next) {
			t.Errorf("%s is not used", next)
		}
	}
	for name, text := range map[string]string{"proc.go": proc, "stall_prytany.go": stall} {
		if _, err := parser.ParseFile(token.NewFileSet(), name, text, 0); err != nil {
			t.Error(err)
		}
	}
	if _, err := patched("package runtime\n"); err == nil {
		t.Error("a runtime without the places was patched")
	}
}
