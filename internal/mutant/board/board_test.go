package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/mutant"
)

// TestEveryMutantHasARow, is said what it is, and stands somewhere in the code.
func TestEveryMutantHasARow(t *testing.T) {
	said, err := said("../names.go")
	if err != nil {
		t.Fatal(err)
	}
	rowsOf := map[mutant.Name]int{}
	numbers := map[string]bool{}
	for _, r := range rows {
		if numbers[r.number] {
			t.Errorf("two rows have number %s", r.number)
		}
		numbers[r.number] = true
		if (r.name == "") == (r.what == "") {
			t.Errorf("row %s: want either a mutant or what it is", r.number)
		}
		if r.name != "" {
			rowsOf[r.name]++
		}
		for _, k := range r.kills {
			if k.told != (k.why == "") {
				t.Errorf("row %s, %s: want why the test fails, unless it judges itself", r.number, k.by.layer)
			}
			if _, err := regexp.Compile(k.why); err != nil {
				t.Errorf("row %s: %v", r.number, err)
			}
		}
	}
	for name, what := range said {
		if what == "" {
			t.Errorf("%s: nobody says what it is", name)
		}
		if rowsOf[name] != 1 {
			t.Errorf("%s has %d rows; want 1", name, rowsOf[name])
		}
	}
	if len(said) != len(rowsOf) || len(said) < 48 {
		t.Errorf("%d mutants and %d rows", len(said), len(rowsOf))
	}
}

// TestEveryKillerIsATest of the package it names.
func TestEveryKillerIsATest(t *testing.T) {
	for _, r := range rows {
		for _, k := range r.kills {
			top, _, _ := strings.Cut(k.by.run, "/")
			want, err := regexp.Compile(top)
			if err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join("../../..", k.by.pkg, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(b, -1) {
					found = found || want.Match(m[1])
				}
			}
			if !found {
				t.Errorf("row %s: %s has no test that matches %s", r.number, k.by.pkg, k.by.run)
			}
		}
	}
}

// TestJudge: only the right reason counts.
func TestJudge(t *testing.T) {
	k := kill{why: `slot \d+`}
	for _, tt := range []struct {
		name string
		k    kill
		out  string
		code int
		want bool
	}{
		{"it passes", k, "PASS\n", 0, false},
		{"for the reason", k, "x_test.go:1: slot 7\nFAIL\n", 1, true},
		{"for another", k, "x_test.go:1: else\nFAIL\n", 1, false},
		{"a panic", k, "panic: slot 7\n", 2, false},
		{"no end", k, "slot 7\npanic: test timed out\n", 2, false},
		{"judges itself", kill{told: true}, "PASS\n", 0, true},
		{"judges itself, and fails", kill{told: true}, "slot 7\nFAIL\n", 1, false},
		{"ran nothing", kill{told: true}, "testing: warning: no tests to run\nPASS\n", 0, false},
	} {
		if got, why := tt.k.judge([]byte(tt.out), tt.code); got != tt.want {
			t.Errorf("%s: %v, %q; want %v", tt.name, got, why, tt.want)
		}
	}
}

// TestWrite puts a table between the marks, and nowhere else.
func TestWrite(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(doc, []byte("a\n"+begin+"old\n"+end+"b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(doc, "new\n"); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(doc); string(b) != "a\n"+begin+"new\n"+end+"b\n" {
		t.Errorf("%q", b)
	}
	if err := os.WriteFile(doc, []byte("no marks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(doc, "new\n"); err == nil {
		t.Error("a document without marks was written")
	}
}
