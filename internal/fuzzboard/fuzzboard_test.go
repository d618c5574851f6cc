package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func TestInputsIn(t *testing.T) {
	const said = `fuzz: elapsed: 0s, gathering baseline coverage: 0/3 completed
fuzz: elapsed: 3s, execs: 89602 (29859/sec), new interesting: 49 (total: 52)
fuzz: elapsed: 8s, execs: 240045 (30446/sec), new interesting: 59 (total: 62)
PASS
`
	if got := inputsIn(said); got != 240045 {
		t.Errorf("%d inputs; want 240045", got)
	}
	if !timeWasOver.MatchString("--- FAIL: FuzzX (6.15s)\n    context deadline exceeded\nFAIL\n") {
		t.Error("the end of the time is taken for a failure")
	}
	for _, bad := range []string{
		"--- FAIL: FuzzX (6.15s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:3: context deadline exceeded\n    \n    Failing input written to testdata/fuzz/FuzzX/1\nFAIL\n",
		"--- FAIL: FuzzX (6.15s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\n    Failing input written to testdata/fuzz/FuzzX/1\nFAIL\n",
	} {
		if timeWasOver.MatchString(bad) {
			t.Errorf("%q is taken for the end of the time", bad)
		}
	}
	if got := inputsIn("PASS\n"); got != 0 {
		t.Errorf("%d inputs of nothing", got)
	}
}

func TestFind(t *testing.T) {
	root := tree(t, map[string]string{
		"a/b/x_test.go":        "package b\nfunc FuzzOne(f *testing.F) {}\nfunc (x T) FuzzMethod(f *testing.F) {}\nfunc FuzzHelper(t *testing.T) {}\n",
		"a/y_test.go":          "package a\nfunc FuzzTwo(f *testing.F) {}\n",
		"a/y.go":               "package a\nfunc FuzzNoTest(f *testing.F) {}\n",
		"a/testdata/z_test.go": "package a\nfunc FuzzData(f *testing.F) {}\n",
	})
	got, err := find(root, regexp.MustCompile(""))
	if want := []target{{"a", "FuzzTwo"}, {"a/b", "FuzzOne"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("find = %v, %v; want %v", got, err, want)
	}
	if got, err := find(root, regexp.MustCompile("Three")); err == nil {
		t.Errorf("find = %v; want an error: nothing was found", got)
	}
}

// The sums grow from run to run, and a file that was written is read as it was.
func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	one, two := target{"a", "FuzzTwo"}, target{"a/b", "FuzzOne"}
	for range 2 {
		l, err := readLedger(path)
		if err != nil {
			t.Fatal(err)
		}
		l.add([]tally{{target: two, Inputs: 1_000_000, Seconds: 3, Runs: 1}, {target: one, Inputs: 7, Seconds: 1, Runs: 1, Failures: 1}})
		if err := l.write(path); err != nil {
			t.Fatal(err)
		}
	}
	l, err := readLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := replaced("before\n"+begins+"old\n"+ends+"after\n", l.table())
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n" + begins + "| Target | Inputs | Runs that failed |\n|---|---|---|\n| `a` FuzzTwo | 14 | 2 |\n| `a/b` FuzzOne | 2,000,000 | 0 |\n" +
		"| **2 targets** | **2,000,014** | **2** |\n" + ends + "after\n"
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	for _, text := range []string{"", begins, ends, ends + begins} {
		if _, err := replaced(text, ""); err == nil {
			t.Errorf("%q has no marks, and is taken", text)
		}
	}
}

func TestQuickest(t *testing.T) {
	got := quickest([]tally{
		{target: target{"a", "Slow"}, Inputs: 49, CPU: 1}, {target: target{"a", "Quick"}, Inputs: 100, CPU: 1},
		{target: target{"a", "Half"}, Inputs: 50, CPU: 1}, {target: target{"a", "Broken"}, Inputs: 1000, CPU: 1, Failures: 1},
	})
	if want := []target{{"a", "Quick"}, {"a", "Half"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("quickest = %v; want %v", got, want)
	}
}

// TestARunThatFails runs a target of a module of its own that cannot pass.
func TestARunThatFails(t *testing.T) {
	root := tree(t, map[string]string{
		"go.mod":       "module example.org/m\n",
		"p/p.go":       "package p\nfunc Bad(b []byte) bool { return len(b) > 0 }\n",
		"p/p_test.go":  "package p\nimport \"testing\"\nfunc FuzzBad(f *testing.F) {\n\tf.Add([]byte(nil))\n\tf.Fuzz(func(t *testing.T, b []byte) {\n\t\tif Bad(b) { t.Fatal(\"bad\") }\n\t})\n}\n",
		"p/ok_test.go": "package p\nimport \"testing\"\nfunc FuzzGood(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) { Bad(b) }) }\n",
	})
	w := &workshop{root: root, module: "example.org/m", cache: t.TempDir(), bin: t.TempDir()}
	bad, err := w.fuzz(t.Context(), target{"p", "FuzzBad"}, "1000x", 1)
	if err != nil || bad.Failures != 1 || !strings.Contains(bad.line(), "testdata/fuzz/FuzzBad/") {
		t.Errorf("%+v, %v; want one failure, and where its input is", bad, err)
	}
	good, err := w.fuzz(t.Context(), target{"p", "FuzzGood"}, "1000x", 1)
	if err != nil || good.Failures != 0 || good.Inputs < 1000 {
		t.Errorf("%+v, %v; want 1000 inputs, and no failure", good, err)
	}
}

// TestAFailureBeforeOneThatCannotBeRun is in the account all the same.
func TestAFailureBeforeOneThatCannotBeRun(t *testing.T) {
	root := tree(t, map[string]string{
		"go.mod":      "module example.org/m\n\ngo 1.26\n",
		"p/p.go":      "package p\n",
		"p/p_test.go": "package p\nimport \"testing\"\nfunc FuzzBad(f *testing.F) {\n\tf.Add([]byte(\"x\"))\n\tf.Fuzz(func(t *testing.T, b []byte) {\n\t\tif len(b) > 0 { t.Fatal(\"bad\") }\n\t})\n}\n",
		"q/q_test.go": "package q\nimport \"testing\"\nfunc FuzzBroken(f *testing.F) { undefined() }\n",
	})
	t.Chdir(root)
	path := filepath.Join(root, "ledger.json")
	o := options{time: "100x", only: regexp.MustCompile(""), parallel: 1, ledger: path}
	if err := o.run(t.Context()); err == nil {
		t.Error("a target that cannot be built is passed over")
	}
	if l, err := readLedger(path); err != nil || total(l.Targets).Failures != 1 {
		t.Errorf("%+v, %v; want the failure of FuzzBad", l.Targets, err)
	}
}

// tree returns a directory with files, by name, and the directories above them.
func tree(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
