package storage_test

import (
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/internal/storage/storagetest"
	"github.com/prytany/prytany/paxos/replica"
)

func open(t *testing.T, dir string) *storage.Store {
	t.Helper()
	s, err := storage.Open(dir, storage.Options{Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStorage(t *testing.T) {
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
