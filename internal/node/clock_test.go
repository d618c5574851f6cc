//go:build linux

package node

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What breaks clocks is in a build for tests, and not in one for users.
func TestReleasesCannotHaveTheirClocksBroken(t *testing.T) {
	for _, tags := range []string{"", "clockfault"} {
		file := filepath.Join(t.TempDir(), "prytany")
		cmd := exec.Command("go", "build", "-tags", tags, "-o", file, "github.com/prytany/prytany/cmd/prytany")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build -tags %q: %v\n%s", tags, err, out)
		}
		binary, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range []string{"fault/clockfile", "PRYTANY_CLOCK_FILE"} {
			if has := bytes.Contains(binary, []byte(trace)); has != (tags != "") {
				t.Errorf("built with -tags %q: contains %q: %t", tags, trace, has)
			}
		}
	}
}
