package ledger

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table in docs/evidence.md")

const (
	file   = "../../docs/evidence-campaigns.ndjson"
	doc    = "../../docs/evidence.md"
	begins = "<!-- campaigns: begin -->\n"
	ends   = "<!-- campaigns: end -->\n"
)

// read returns the rows of a file.
func read(t *testing.T, path string) []Row {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestTable keeps the table in docs/evidence.md equal to what campaigns have noted.
func TestTable(t *testing.T) {
	rows := read(t, file)
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begins)
	got, after, ok2 := strings.Cut(rest, ends)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks of campaigns", doc)
	}
	want := Table(rows)
	if *update {
		if err := os.WriteFile(doc, []byte(before+begins+want+ends+after), 0o644); err != nil {
			t.Fatal(err)
		}
		got = want
	}
	if got != want {
		t.Errorf("%s is out of date: go test ./internal/ledger -run TestTable -update", doc)
	}
}

// TestRowsAddUp appends rows, and reads the table: that a campaign was repeated, and passed
// then, hides nothing.
func TestRowsAddUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	for _, r := range []Row{
		{Campaign: "b", From: 7, Runs: 1, Failed: 1, Did: map[string]int64{"calls": 1}},
		{Campaign: "a", From: 1, Runs: 999, Hours: 1.97, CPU: 90, Did: map[string]int64{"crashes": 2, "calls": 1}},
		{Campaign: "a", From: 1000, Runs: 1000, Failed: 2, Hours: 1000, Did: map[string]int64{"calls": 2}},
		{Campaign: "b", From: 7, Runs: 2, Did: map[string]int64{"calls": 3}},
	} {
		if err := Add(path, r); err != nil {
			t.Fatal(err)
		}
	}
	rows := read(t, path)
	want := "| a | 1 | 1,999 | 1,002.0 | 1.5 | 3 calls, 2 crashes | 2 |\n| b | 7 | 3 |  |  | 4 calls | 1 |\n"
	if _, got, _ := strings.Cut(Table(rows), "---|\n"); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	for _, bad := range []string{"{", `{"campaign":"a","seeds":1}`} {
		if _, err := Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// TestAddAfterHalfALine shows that a row whose line is not its own is not passed over.
func TestAddAfterHalfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(path, []byte(`{"campaign":"a","from":1,"runs":5,"failed":0,"did":{}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Add(path, Row{Campaign: "a", From: 6, Runs: 5, Failed: 3}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := Read(bytes.NewReader(text)); err == nil {
		t.Errorf("%+v; want an error", rows)
	}
}
