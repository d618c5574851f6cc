package storage_test

import (
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/internal/storage/storagetest"
	"github.com/prytany/prytany/paxos/replica"
)

// kind is how new directories keep their log, while both runs a test.
var kind = storage.LogBolt

// segmentBytes makes the segments of an append-only log small enough to have several.
const segmentBytes = 64 << 10

// both runs f with each kind of log.
func both(t *testing.T, f func(t *testing.T)) {
	defer func() { kind = storage.LogBolt }()
	for _, kind = range []string{storage.LogBolt, storage.LogAppend} {
		t.Run(kind, f)
	}
}

func open(t *testing.T, dir string) *storage.Store {
	t.Helper()
	s, err := storage.Open(dir, storage.Options{Name: "n", LogStore: kind, SegmentBytes: segmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStorage(t *testing.T) { both(t, contract) }

func contract(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var last *storage.Store
	storagetest.Run(t, func() replica.Storage {
		if last != nil {
			if err := last.Close(); err != nil {
				t.Fatal(err)
			}
		}
		last = open(t, dir)
		return last
	})
}
