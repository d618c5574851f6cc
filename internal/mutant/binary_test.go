package mutant_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// names finds the names of mutants in names.go.
var names = regexp.MustCompile(`Name = "(mutant:[a-z0-9-]+)"`)

// TestNoMutantIsInARelease: the compiler leaves out what depends on a mutant, so that no
// name is in a binary without the tag. With it all are there, which shows that this
// would notice.
func TestNoMutantIsInARelease(t *testing.T) {
	source, err := os.ReadFile("names.go")
	if err != nil {
		t.Fatal(err)
	}
	all := names.FindAllSubmatch(source, -1)
	if len(all) < 48 {
		t.Fatalf("%d names; want at least 48", len(all))
	}
	for _, program := range []string{"prytany", "prytany-jepsen"} {
		plain := build(t, program)
		if i := bytes.Index(plain, []byte("mutant:")); i >= 0 {
			t.Errorf("%s holds %q", program, plain[i:i+40])
		}
	}
	tagged := build(t, "prytany", "-tags", "mutants")
	for _, name := range all {
		if !bytes.Contains(tagged, name[1]) {
			t.Errorf("prytany with the tag does not hold %s: is it used?", name[1])
		}
	}
}

// build returns a program as it is released, but for args.
func build(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), program)
	args = append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", path}, append(args, "../../cmd/"+program)...)
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
