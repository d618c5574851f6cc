package storage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
)

// BenchmarkSave is one durable write, with each kind of log: of one group with one vote
// and with many, and of many groups with one vote each, as a turn with busy groups has.
func BenchmarkSave(b *testing.B) {
	for _, size := range []struct{ groups, votes int }{{1, 1}, {1, 64}, {16, 1}, {64, 1}} {
		for _, kind := range []string{storage.LogBolt, storage.LogAppend} {
			b.Run(fmt.Sprintf("groups=%d/votes=%d/%s", size.groups, size.votes, kind), func(b *testing.B) {
				benchmarkSave(b, kind, size.groups, size.votes)
			})
		}
	}
}

func benchmarkSave(b *testing.B, kind string, groups, votes int) {
	dir := b.TempDir()
	s, err := storage.Open(dir, storage.Options{LogStore: kind})
	if err != nil {
		b.Fatal(err)
	}
	value := strings.Repeat("v", 256)
	first := paxos.Slot(0)
	us := make([]paxos.Update, groups)
	for g := range us {
		us[g].Header = header(1)
	}
	save := func() {
		// As a node does: the log is trimmed below a snapshot now and then.
		trim := first > 0 && int(first)%(5000*votes) == 0
		for g := range us {
			us[g] = paxos.Update{Group: paxos.GroupID(g + 1), Dirty: true, Header: us[g].Header, Votes: us[g].Votes[:0]}
			if trim {
				us[g].Header.Trimmed = first
			}
			for v := range votes {
				us[g].Votes = append(us[g].Votes, vote(int(first)+v+1, 1, value))
			}
		}
		first += paxos.Slot(votes)
		if err := s.Save(us); err != nil {
			b.Fatal(err)
		}
		for g := range us {
			if trim {
				if err := s.Trim(us[g].Group, us[g].Header.Trimmed); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	save() // the groups are known
	b.ReportAllocs()
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		save()
		took = append(took, time.Since(start))
	}
	b.StopTimer()
	slices.Sort(took)
	for _, percent := range []int{50, 99} {
		b.ReportMetric(float64(took[len(took)*percent/100].Microseconds()), fmt.Sprintf("µs-p%d", percent))
	}
	b.ReportMetric(float64(s.Size())/1e6, "MB-on-disk")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func openB(dir, kind string) (*storage.Store, error) {
	return storage.Open(dir, storage.Options{LogStore: kind})
}
