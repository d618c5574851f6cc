package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestWhatIsAcknowledgedIsSynced: when Put returns, all that a segment holds was there
// when it was synced last. What comes after a sync is lost in a power cut, however much
// of it a reader sees before.
func TestWhatIsAcknowledgedIsSynced(t *testing.T) {
	l := newLog(t, filepath.Join(t.TempDir(), "log"), 8*pageSize)
	settle(l)
	synced := map[*os.File]string{}
	read := func(f *os.File) string {
		b := make([]byte, 8*pageSize)
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	defer func(old func(*os.File) error) { syncFrame = old }(syncFrame)
	syncFrame = func(f *os.File) error {
		synced[f] = read(f)
		return nil
	}
	segments := map[uint64]bool{}
	for i := range uint64(250) {
		if err := l.Put([]Record{{Key: i % 7, Value: fmt.Append(nil, "value ", i)}}); err != nil {
			t.Fatal(err)
		}
		if f := l.head.file; read(f) != synced[f] {
			t.Fatalf("write %d is acknowledged and not on the disk", l.Last())
		}
		segments[l.head.number] = true
	}
	if len(segments) < 10 {
		t.Errorf("250 writes in %d segments; want some at the end of one", len(segments))
	}
}

// TestAFailedSyncIsNotTriedAgain: the kernel tells of lost bytes once, and calls the next
// sync of the same file a success.
func TestAFailedSyncIsNotTriedAgain(t *testing.T) {
	l := newLog(t, filepath.Join(t.TempDir(), "log"), tiny)
	failed := errors.New("input/output error")
	defer func(old func(*os.File) error) { syncFrame = old }(syncFrame)
	tried := 0
	syncFrame = func(*os.File) error {
		if tried++; tried == 1 {
			return failed
		}
		return nil
	}
	if err := l.Put([]Record{{Key: 1, Value: []byte("one")}}); !errors.Is(err, failed) || tried != 1 {
		t.Errorf("Put: %v after %d syncs; want %v after 1", err, tried, failed)
	}
	if err := l.Put([]Record{{Key: 2}}); !errors.Is(err, failed) || tried != 1 {
		t.Errorf("the next Put: %v, %d syncs in all; want %v and no other sync", err, tried, failed)
	}
}
