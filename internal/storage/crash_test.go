package storage_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// TestAKillBetweenOperations copies the files after each operation, as a kill
// leaves them, and opens the copy.
func TestAKillBetweenOperations(t *testing.T) { both(t, aKillBetweenOperations) }

func aKillBetweenOperations(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	want := map[paxos.GroupID]paxos.Durable{}
	snaps := map[paxos.GroupID]paxos.Snapshot{}
	trimmed := paxos.Slot(0)
	steps := []func(i int) error{
		func(i int) error {
			u := paxos.Update{Group: 1, Dirty: true, Header: header(uint64(i + 1)), Votes: []paxos.SlotVote{vote(i+1, i, "v")}}
			u.Header.Trimmed = trimmed
			d := want[1]
			want[1] = paxos.Durable{Header: u.Header, Votes: append(d.Votes[:len(d.Votes):len(d.Votes)], u.Votes...)}
			return s.Save([]paxos.Update{u})
		},
		func(i int) error {
			snaps[1] = paxos.Snapshot{Slot: paxos.Slot(i), Data: bytes.Repeat([]byte{byte(i)}, 5000)}
			return s.SaveSnapshot(1, snaps[1])
		},
		func(i int) error {
			d := want[1]
			if len(d.Votes) < 3 {
				return nil
			}
			trimmed = d.Votes[0].Slot + 1
			d.Header.Trimmed, d.Votes = trimmed, d.Votes[1:]
			want[1] = d
			return s.Save([]paxos.Update{{Group: 1, Dirty: true, Header: d.Header}})
		},
		func(i int) error { return s.Trim(1, want[1].Header.Trimmed) },
		func(i int) error { return s.SaveAddress(synod.NodeID(i), storage.Address{Name: "x"}) },
	}
	for i := range 40 {
		if err := steps[i%len(steps)](i); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		copied := filepath.Join(t.TempDir(), "copy")
		read(t, dir).write(t, copied)
		got, err := contents(copied)
		if err != nil {
			t.Fatalf("after step %d: %v", i, err)
		}
		if !reflect.DeepEqual(got.groups, want) || !reflect.DeepEqual(got.snapshots, snaps) {
			t.Fatalf("after step %d: %+v\nwant %+v, %+v", i, got, want, snaps)
		}
	}
}

// TestAPowerCutWithinASave tries the states that a power cut may leave between
// bbolt's two syncs: any of the pages of one save written or not. Before its
// meta page is written, nothing of the save may be seen.
func TestAPowerCutWithinASave(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	votes := func(i int) (vs []paxos.SlotVote) {
		for slot := range 40 {
			vs = append(vs, vote(i*20+slot+1, i+1, fmt.Sprintf("value %d %d %s", i, slot, bytes.Repeat([]byte{'y'}, 150))))
		}
		return vs
	}
	save := func(i int) {
		if err := s.Save([]paxos.Update{
			{Group: 1, Dirty: true, Header: header(uint64(i + 1)), Votes: votes(i)},
			{Group: 2, Dirty: true, Header: header(uint64(i + 2)), Votes: votes(i)[:3]},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 6 {
		save(i)
	}
	before := read(t, dir)
	save(6)
	after := read(t, dir)
	old, err := inCopy(t, before)
	if err != nil {
		t.Fatal(err)
	}
	size := max(len(before["log.db"]), len(after["log.db"]))
	grown := func(b []byte) []byte { return append(bytes.Clone(b), make([]byte, size-len(b))...) }
	was, is := grown(before["log.db"]), grown(after["log.db"])
	var changed []int
	for p := 2; p < size/pageSize; p++ {
		if !bytes.Equal(was[p*pageSize:(p+1)*pageSize], is[p*pageSize:(p+1)*pageSize]) {
			changed = append(changed, p)
		}
	}
	if len(changed) < 3 {
		t.Fatalf("a save changed %d pages; want more to try", len(changed))
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		b := bytes.Clone(was)
		written := 0
		for _, p := range changed {
			if rnd.IntN(2) == 0 {
				n := pageSize
				if rnd.IntN(4) == 0 {
					n = 512 * rnd.IntN(8) // torn
				}
				copy(b[p*pageSize:p*pageSize+n], is[p*pageSize:])
				written++
			}
		}
		cut := maps.Clone(before)
		cut["log.db"] = b
		got, err := inCopy(t, cut)
		if err != nil || !reflect.DeepEqual(got, old) {
			t.Fatalf("with %d of %d pages written: %+v, %v\nwant the state before", written, len(changed), got, err)
		}
	}
}

// inCopy returns what a directory with these files holds.
func inCopy(t *testing.T, fs files) (state, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	fs.write(t, dir)
	return contents(dir)
}
