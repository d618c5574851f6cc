package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/internal/storage"
)

// TestProbe writes the probe across a restart: it is a block, and stays one,
// and the log beside it does not notice.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		s := open(t, dir)
		before := s.Size()
		for range 3 {
			if err := s.Probe(); err != nil {
				t.Fatal(err)
			}
		}
		if after := s.Size(); after != before {
			t.Errorf("the store had %d bytes and has %d", before, after)
		}
		st, err := os.Stat(filepath.Join(dir, "probe"))
		if err != nil || st.Size() != 4096 {
			t.Fatalf("the probe has %v bytes (%v); want 4096", st, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Probe(); !errors.Is(err, os.ErrClosed) || errors.Is(err, storage.ErrFull) {
			t.Errorf("Probe after Close: %v; want os.ErrClosed", err)
		}
	}
}

// TestProbeFollowsNoLink would otherwise write over what the link leads to, on
// another disk perhaps.
func TestProbeFollowsNoLink(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	if err := os.Symlink(other, filepath.Join(dir, "probe")); err != nil {
		t.Fatal(err)
	}
	if s, err := storage.Open(dir, storage.Options{}); err == nil {
		_ = s.Close()
		t.Fatal("opened")
	}
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link was followed: %v", err)
	}
}
