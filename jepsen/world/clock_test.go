//go:build linux

package world

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/fault/ask"
	"github.com/prytany/prytany/internal/fault/clockfile"
	_ "github.com/prytany/prytany/internal/node" // the binary is built of it: a result is of no use once it has changed
)

// build builds the service with tags.
func build(t *testing.T, tags string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "prytany")
	cmd := exec.Command("go", "build", "-tags", tags, "-o", name, "github.com/prytany/prytany/cmd/prytany")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build -tags %q: %v\n%s", tags, err, out)
	}
	return name
}

// It is known of a binary whether its clock can be broken, and if it can, it can: a node
// believes that an hour has passed when its clock says so.
func TestClocksOfNodesCanBeBroken(t *testing.T) {
	if err := probeClock(build(t, "")); err == nil || !strings.Contains(err.Error(), "-tags clockfault") {
		t.Errorf("of a binary as released: %v", err)
	}
	binary := build(t, "clockfault")
	if err := probeClock(binary); err != nil {
		t.Fatal(err)
	}
	w, err := New(Options{Binary: binary, Nodes: 1, Clocks: true, Level: "info", Logs: t.TempDir()}, false)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := w.Form(ctx); err != nil {
		t.Fatal(err)
	}
	patient := w.Nodes[0].Host.Client(time.Minute)
	since := func() time.Duration {
		t.Helper()
		_, g, err := ask.Status(ctx, patient, w.Nodes[0].URL)
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(g.SinceMS) * time.Millisecond
	}
	// A node whose disk is slow counts anew, and to one that writes just then a jump makes it
	// slow: the next is seen.
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		before := since()
		if err := w.Nodes[0].Clock(func(c *clockfile.File, machine time.Duration) { c.Jump(machine, time.Hour) }); err != nil {
			t.Fatal(err)
		}
		after := since()
		if after >= before+time.Hour {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("an hour ago it had been content for %v, and now for %v", before, after)
		}
	}
}

func TestClocksThatCannotBeBroken(t *testing.T) {
	if err := (&Node{Name: "n1"}).Clock(func(*clockfile.File, time.Duration) {}); err == nil {
		t.Error("the clock of a node without a file is broken")
	}
}
