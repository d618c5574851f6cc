//go:build linux

package world

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/prytany/prytany/internal/crashfs"
)

// TestDisksCanBeBroken: whatever a node's disk is, it can be frozen, fail and be repaired,
// and is gone with the world.
func TestDisksCanBeBroken(t *testing.T) {
	if err := crashfs.Probe(); err != nil {
		if os.Getenv("REQUIRE_FUSE") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	both := probeDisk() == nil // else there is no ext4 here
	w, err := New(Options{Nodes: 4, Logs: t.TempDir(), Disks: both, FUSE: true}, false)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			_ = w.Close()
		}
	}()
	for i, n := range w.Nodes {
		if err := n.Format(); err != nil {
			t.Fatal(err)
		}
		if is := n.FUSE() != nil; is != (!both || i%2 == 1) {
			t.Errorf("%s: on FUSE %t, and there is ext4: %t", n.Name, is, both)
		}
		name := filepath.Join(n.Mount(), "f")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		dir, err := os.Open(n.Mount())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = f.WriteString("x"); errors.Join(err, f.Sync(), dir.Sync(), dir.Close()) != nil {
			t.Fatal(err)
		}
		if err := errors.Join(n.Disk().Freeze(), n.Disk().Thaw(), n.Disk().Fail(true)); err != nil {
			t.Fatal(err)
		}
		if _, err = f.WriteString("y"); !errors.Is(errors.Join(err, f.Sync()), syscall.EIO) {
			t.Errorf("%s: a write to a disk that has failed: %v", n.Name, err)
		}
		_ = f.Close()
		if err := n.Disk().Repair(); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(name); string(text) != "x" {
			t.Errorf("%s: what was synced is %q, %v", n.Name, text, err)
		}
	}
	closed = true
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(w.Dir()); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", w.Dir(), err)
	}
}
