package storage_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// seenOf is what a peer remembers that has heard all that s has to say.
func seenOf(s *storage.Store) roster.Sighting {
	me := s.Self()
	return roster.Sighting{Incarnation: me.Incarnation, Nonce: me.Nonce, Position: s.Position()}
}

func save(t *testing.T, s *storage.Store, round uint64) {
	t.Helper()
	if err := s.Save([]paxos.Update{{Group: 1, Dirty: true, Header: header(round)}}); err != nil {
		t.Fatal(err)
	}
}

func reopened(t *testing.T, s *storage.Store) *storage.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, s.Dir())
}

// TestANodeKnowsItsOwnPast: whatever its peers remember of earlier incarnations,
// a directory that was never put back bears it out.
func TestANodeKnowsItsOwnPast(t *testing.T) { both(t, aNodeKnowsItsOwnPast) }

func aNodeKnowsItsOwnPast(t *testing.T) {
	s := open(t, t.TempDir())
	var seen []roster.Sighting
	for round := range uint64(8) {
		first := s.Position()
		seen = append(seen, seenOf(s))
		for range round {
			save(t, s, round+1)
		}
		if round > 0 && s.Position() <= first {
			t.Errorf("position %d after %d saves, %d before", s.Position(), round, first)
		}
		seen = append(seen, seenOf(s))
		s = reopened(t, s)
		for _, is := range seen {
			if err := s.Self().Check(is); err != nil {
				t.Errorf("after start %d: %v", round+2, err)
			}
		}
	}
}

// TestAnOldCopyIsKnownByWhatPeersRemember: a directory is copied, the node goes
// on, and then the copy runs.
func TestAnOldCopyIsKnownByWhatPeersRemember(t *testing.T) {
	both(t, anOldCopyIsKnownByWhatPeersRemember)
}

func anOldCopyIsKnownByWhatPeersRemember(t *testing.T) {
	for _, tt := range []struct {
		name   string
		goesOn func(t *testing.T, s *storage.Store) *storage.Store
		starts int // of the copy
		old    bool
	}{
		{"nothing happened since", func(t *testing.T, s *storage.Store) *storage.Store { return s }, 1, false},
		{"one write to the log", func(t *testing.T, s *storage.Store) *storage.Store { save(t, s, 2); return s }, 1, true},
		{"one write to the log, and the copy starts often", func(t *testing.T, s *storage.Store) *storage.Store { save(t, s, 2); return s }, 20, true},
		{"one start", reopened, 1, true},
		{"one start, and the copy starts often", reopened, 20, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := reopened(t, open(t, t.TempDir()))
			save(t, s, 1)
			copied := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(copied, os.DirFS(s.Dir())); err != nil {
				t.Fatal(err)
			}
			seen := seenOf(tt.goesOn(t, s))
			old := open(t, copied)
			for range tt.starts - 1 {
				old = reopened(t, old)
			}
			if err := old.Self().Check(seen); (err != nil) != tt.old {
				t.Errorf("peers remember %+v, the copy knows %+v: %v", seen, old.Self(), err)
			}
		})
	}
}

func TestSightingsOutliveARestart(t *testing.T) {
	s := open(t, t.TempDir())
	want := map[synod.NodeID]roster.Sighting{1: {Incarnation: 3, Nonce: 4, Position: 5}, 1 << 63: {Incarnation: 6, Nonce: 7}}
	first := maps.Clone(want)
	first[1] = roster.Sighting{Incarnation: 2}
	for _, some := range []map[synod.NodeID]roster.Sighting{first, {1: want[1]}, nil} {
		if err := s.SaveSightings(some); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if got, err := s.Sightings(); err != nil || !maps.Equal(got, want) {
			t.Errorf("sightings = %v, %v; want %v", got, err, want)
		}
		s = reopened(t, s)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveSightings(first); err != nil { // as SaveAddress: too late is no error
		t.Error(err)
	}
}

// TestThePastIsBounded: the last 512 lives are remembered, in order.
func TestThePastIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a directory 520 times")
	}
	s := open(t, t.TempDir())
	var last []uint64
	for range roster.MaxPast + 8 {
		last = append(last, s.Self().Nonce)
		s = reopened(t, s)
	}
	past := s.Self().Past
	if len(past) != roster.MaxPast {
		t.Fatalf("%d lives; want %d", len(past), roster.MaxPast)
	}
	for i, l := range past {
		if l.Nonce != last[i+8] {
			t.Fatalf("life %d has nonce %x; want %x", i, l.Nonce, last[i+8])
		}
	}
}
