package storage_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
)

func BenchmarkSave(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("votes=%d", n), func(b *testing.B) {
			s, err := openB(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			value := strings.Repeat("v", 256)
			b.ReportAllocs()
			slot := 0
			for b.Loop() {
				u := paxos.Update{Group: 1, Dirty: true, Header: header(1)}
				for range n {
					slot++
					u.Votes = append(u.Votes, vote(slot, 1, value))
				}
				if err := s.Save([]paxos.Update{u}); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func openB(dir string) (*storage.Store, error) { return storage.Open(dir, storage.Options{}) }
