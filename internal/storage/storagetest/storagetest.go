// Package storagetest checks what every replica.Storage must do.
package storagetest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// Run checks a Storage that begins empty. reopen returns a store over the same
// medium as the one before, as a restart would; the one before is not used any
// more. Each case has groups of its own.
func Run(t *testing.T, reopen func() replica.Storage) {
	cases := []struct {
		name string
		f    func(t *testing.T, reopen func() replica.Storage)
	}{
		{"nothing saved is the zero Durable", empty},
		{"promise and votes come back", promiseAndVotes},
		{"votes are overwritten, with gaps and out of order", overwrite},
		{"votes keep their configuration and whether they are chosen", configurations},
		{"a header without votes keeps the votes", headerOnly},
		{"the last header wins", headers},
		{"many groups in one save", groups},
		{"a save keeps no memory of its arguments", arguments},
		{"trimming keeps the promise and what lies above", trim},
		{"trimming leaps over slots that never were", leap},
		{"snapshots are replaced", snapshots},
		{"a dropped group is gone for ever", drop},
		{"a dropped group is made anew above its floor", again},
		{"a floor never falls", floors},
		{"a group that nobody knew can be dropped", dropUnknown},
		{"groups that begin together", begin},
		{"random saves come back", random},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.f(t, reopen) })
	}
}

func ballot(round uint64, member synod.Ordinal) synod.Ballot {
	return synod.Ballot{Round: round, Member: member}
}

func header(config paxos.ConfigID, promised synod.Ballot) paxos.Header {
	return paxos.Header{
		Membership: paxos.Membership{
			ID: config, Leader: 1, Next: 3,
			Voters: []paxos.Member{{Node: 11, Ordinal: 1, Name: "a", PeerAddr: "a:1"}, {Node: 1 << 63, Ordinal: 2, Name: "b"}},
		},
		Promised: promised,
	}
}

func vote(slot paxos.Slot, b synod.Ballot, value string) paxos.SlotVote {
	return paxos.SlotVote{Slot: slot, Config: 1, Vote: synod.Vote{Ballot: b, Value: synod.Value(value)}}
}

func save(t *testing.T, s replica.Storage, updates ...paxos.Update) {
	t.Helper()
	for i := range updates {
		updates[i].Dirty = true
	}
	if err := s.Save(updates); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

// expect checks what is loaded. Votes that the header says are trimmed may be
// there or not.
func expect(t *testing.T, s replica.Storage, g paxos.GroupID, want paxos.Durable) {
	t.Helper()
	got, err := s.Load(g)
	if err != nil {
		t.Fatalf("Load(%d): %v", g, err)
	}
	got.Votes = slices.DeleteFunc(got.Votes, func(v paxos.SlotVote) bool { return v.Slot < got.Header.Trimmed })
	if len(got.Votes) == 0 && len(want.Votes) == 0 {
		got.Votes, want.Votes = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("Load(%d) = %+v; want %+v", g, got, want)
	}
}

func empty(t *testing.T, reopen func() replica.Storage) {
	s := reopen()
	expect(t, s, 1, paxos.Durable{})
	if gs, err := s.Groups(); err != nil || len(gs) != 0 {
		t.Errorf("Groups() = %v, %v; want none", gs, err)
	}
	if _, ok, err := s.ReadSnapshot(1, 0, 1); ok || err != nil {
		t.Errorf("ReadSnapshot = %v, %v; want none", ok, err)
	}
	if _, ok, err := s.LoadSnapshot(1); ok || err != nil {
		t.Errorf("LoadSnapshot = %v, %v; want none", ok, err)
	}
	save(t, s) // nothing at all
	if err := s.Save([]paxos.Update{{Group: 1}}); err != nil {
		t.Errorf("saving an update that is not dirty: %v", err)
	}
}

func promiseAndVotes(t *testing.T, reopen func() replica.Storage) {
	const g = 10
	want := paxos.Durable{Header: header(1, ballot(3, 2)), Votes: []paxos.SlotVote{
		vote(7, ballot(3, 2), "v"), vote(8, ballot(2, 1), ""),
	}}
	want.Header.Decided = 6
	s := reopen()
	save(t, s, paxos.Update{Group: g, Header: want.Header, Votes: want.Votes})
	expect(t, s, g, want)
	expect(t, reopen(), g, want)
}

func overwrite(t *testing.T, reopen func() replica.Storage) {
	const g = 11
	h := header(1, ballot(9, 1))
	s := reopen()
	save(t, s, paxos.Update{Group: g, Header: h, Votes: []paxos.SlotVote{vote(5, ballot(1, 1), "five"), vote(3, ballot(1, 1), "three")}})
	save(t, s, paxos.Update{Group: g, Header: h, Votes: []paxos.SlotVote{vote(900, ballot(2, 1), "far"), vote(5, ballot(9, 1), "FIVE")}})
	// Twice in one save: the later one stays.
	save(t, s, paxos.Update{Group: g, Header: h, Votes: []paxos.SlotVote{vote(4, ballot(2, 1), "x"), vote(4, ballot(3, 1), "four")}})
	want := paxos.Durable{Header: h, Votes: []paxos.SlotVote{
		vote(3, ballot(1, 1), "three"), vote(4, ballot(3, 1), "four"), vote(5, ballot(9, 1), "FIVE"), vote(900, ballot(2, 1), "far"),
	}}
	expect(t, s, g, want)
	expect(t, reopen(), g, want)
	// A save that no load came before.
	save(t, reopen(), paxos.Update{Group: g, Header: h, Votes: []paxos.SlotVote{vote(3, ballot(9, 1), "THREE")}})
	want.Votes[0] = vote(3, ballot(9, 1), "THREE")
	expect(t, reopen(), g, want)
}

func configurations(t *testing.T, reopen func() replica.Storage) {
	const g = 12
	h := header(1<<32-1, ballot(synod.MaxRound, 1<<16-1))
	h.Membership.Start = 1 << 39
	vs := []paxos.SlotVote{
		{Slot: 1, Config: 1, Chosen: true, Vote: synod.Vote{Value: "learned"}},
		{Slot: 2, Config: 1<<32 - 1, Vote: synod.Vote{Ballot: ballot(synod.MaxRound, 1<<16-1), Value: "voted"}},
		{Slot: 3, Config: 2, Chosen: true, Vote: synod.Vote{Ballot: ballot(1, 1)}},
	}
	save(t, reopen(), paxos.Update{Group: g, Header: h, Votes: vs})
	expect(t, reopen(), g, paxos.Durable{Header: h, Votes: vs})
}

func headerOnly(t *testing.T, reopen func() replica.Storage) {
	const g = 13
	vs := []paxos.SlotVote{vote(1, ballot(1, 1), "a")}
	s := reopen()
	save(t, s, paxos.Update{Group: g, Header: header(1, ballot(1, 1)), Votes: vs})
	save(t, s, paxos.Update{Group: g, Header: header(1, ballot(8, 2))})
	expect(t, reopen(), g, paxos.Durable{Header: header(1, ballot(8, 2)), Votes: vs})
}

func headers(t *testing.T, reopen func() replica.Storage) {
	const g = 14
	s := reopen()
	var want paxos.Header
	for config := paxos.ConfigID(1); config <= 3; config++ {
		for round := uint64(1); round <= 3; round++ { // falls when the configuration rises
			want = header(config, ballot(round, 1))
			save(t, s, paxos.Update{Group: g, Header: want})
		}
	}
	expect(t, s, g, paxos.Durable{Header: want})
	expect(t, reopen(), g, paxos.Durable{Header: want})
}

func groups(t *testing.T, reopen func() replica.Storage) {
	const first, n = 1000, 20
	s := reopen()
	before, err := s.Groups()
	if err != nil {
		t.Fatal(err)
	}
	var updates []paxos.Update
	want := map[paxos.GroupID]paxos.Durable{}
	for i := n - 1; i >= 0; i-- {
		g := paxos.GroupID(first + i)
		d := paxos.Durable{Header: header(1, ballot(uint64(i)+1, 1)), Votes: []paxos.SlotVote{vote(paxos.Slot(i+1), ballot(1, 1), fmt.Sprint("g", i))}}
		want[g] = d
		updates = append(updates, paxos.Update{Group: g, Header: d.Header, Votes: d.Votes})
	}
	save(t, s, updates...)
	s = reopen()
	after, err := s.Groups()
	if err != nil || len(after) != len(before)+n || !slices.IsSorted(after) {
		t.Errorf("Groups() = %v, %v; want %d more than %v, in order", after, err, n, before)
	}
	for g, d := range want {
		expect(t, s, g, d)
	}
}

func arguments(t *testing.T, reopen func() replica.Storage) {
	const g = 15
	h := header(1, ballot(1, 1))
	vs := []paxos.SlotVote{vote(1, ballot(1, 1), "a")}
	data := []byte("state")
	s := reopen()
	save(t, s, paxos.Update{Group: g, Header: h, Votes: vs})
	if err := s.SaveSnapshot(g, paxos.Snapshot{Slot: 1, Data: data}); err != nil {
		t.Fatal(err)
	}
	h.Membership.Voters[0].Name, vs[0].Vote.Value, data[0] = "other", "other", 'X'
	expect(t, s, g, paxos.Durable{Header: header(1, ballot(1, 1)), Votes: []paxos.SlotVote{vote(1, ballot(1, 1), "a")}})
	if snap, _, err := s.LoadSnapshot(g); err != nil || string(snap.Data) != "state" {
		t.Errorf("LoadSnapshot = %q, %v; want what was saved", snap.Data, err)
	}
}

func trim(t *testing.T, reopen func() replica.Storage) {
	const g, n, below = 16, 2500, 2201
	var vs []paxos.SlotVote
	for slot := paxos.Slot(1); slot <= n; slot++ {
		if slot%3 != 0 {
			vs = append(vs, vote(slot, ballot(5, 1), fmt.Sprint(slot)))
		}
	}
	h := header(1, ballot(5, 1))
	s := reopen()
	save(t, s, paxos.Update{Group: g, Header: h, Votes: vs}, paxos.Update{Group: g + 1, Header: h, Votes: vs[:1]})
	if err := s.SaveSnapshot(g, paxos.Snapshot{Slot: below - 1}); err != nil {
		t.Fatal(err)
	}
	h.Promised, h.Decided, h.Snapshot, h.Trimmed = ballot(6, 2), below-1, below-1, below
	save(t, s, paxos.Update{Group: g, Header: h})
	want := paxos.Durable{Header: h}
	for _, v := range vs {
		if v.Slot >= below {
			want.Votes = append(want.Votes, v)
		}
	}
	expect(t, s, g, want)
	s = reopen() // a crash before the trimming
	for range 2 {
		if err := s.Trim(g, below); err != nil {
			t.Fatalf("Trim: %v", err)
		}
		expect(t, s, g, want)
		s = reopen()
	}
	got, err := s.Load(g)
	if err != nil || len(got.Votes) != len(want.Votes) {
		t.Errorf("after trimming %d votes are left, %v; want %d", len(got.Votes), err, len(want.Votes))
	}
	if other, err := s.Load(g + 1); err != nil || len(other.Votes) != 1 {
		t.Errorf("the next group has %d votes, %v; want 1", len(other.Votes), err)
	}
}

func leap(t *testing.T, reopen func() replica.Storage) {
	const g, far = 18, 1 << 30
	s := reopen()
	save(t, s, paxos.Update{Group: g, Header: header(1, ballot(1, 1)), Votes: []paxos.SlotVote{vote(2, ballot(1, 1), "old")}})
	if err := s.SaveSnapshot(g, paxos.Snapshot{Slot: far}); err != nil {
		t.Fatal(err)
	}
	h := header(1, ballot(1, 1))
	h.Decided, h.Snapshot, h.Trimmed = far, far, far+1
	save(t, s, paxos.Update{Group: g, Header: h})
	if err := s.Trim(g, far+1); err != nil {
		t.Fatal(err)
	}
	expect(t, reopen(), g, paxos.Durable{Header: h})
	s = reopen()
	v := vote(far+2, ballot(1, 1), "new")
	save(t, s, paxos.Update{Group: g, Header: h, Votes: []paxos.SlotVote{v}})
	expect(t, reopen(), g, paxos.Durable{Header: h, Votes: []paxos.SlotVote{v}})
}

func snapshots(t *testing.T, reopen func() replica.Storage) {
	const g = 19
	s := reopen()
	for i, size := range []int{0, 10, 3 << 20, 10, 1 << 20, 1<<20 + 1} {
		slot := paxos.Slot(i/2 + 5) // each slot twice
		want := paxos.Snapshot{Slot: slot, Membership: header(paxos.ConfigID(i+1), ballot(1, 1)).Membership, Data: bytes.Repeat([]byte{byte(i), 1}, size/2)}
		if err := replace(s, g, want, i%2 == 0); err != nil {
			t.Fatal(err)
		}
		if err := s.SaveSnapshot(g+1, paxos.Snapshot{Slot: 1, Data: []byte("other")}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got, ok, err := s.LoadSnapshot(g)
			if err != nil || !ok || got.Slot != want.Slot || !reflect.DeepEqual(got.Membership, want.Membership) || !bytes.Equal(got.Data, want.Data) {
				t.Fatalf("LoadSnapshot = slot %d, %d bytes, %v, %v; want slot %d, %d bytes", got.Slot, len(got.Data), ok, err, want.Slot, len(want.Data))
			}
			readParts(t, s, g, want)
			s = reopen()
		}
	}
	if got, _, err := s.LoadSnapshot(g + 1); err != nil || string(got.Data) != "other" {
		t.Errorf("the other group's snapshot = %q, %v", got.Data, err)
	}
}

// replace saves the snapshot of g, in pieces if that is wanted and s takes them.
func replace(s replica.Storage, g paxos.GroupID, snap paxos.Snapshot, pieces bool) error {
	st, ok := s.(replica.Streamer)
	if !ok || !pieces {
		return s.SaveSnapshot(g, snap)
	}
	data := snap.Data
	snap.Data = nil
	size, err := st.StreamSnapshot(g, snap, func(w io.Writer) error {
		for some := range slices.Chunk(data, 1<<16-1) {
			if n, err := w.Write(some); n != len(some) || err != nil {
				return fmt.Errorf("%d bytes written: %w", n, err)
			}
		}
		return nil
	})
	if err == nil && size != len(data) {
		err = fmt.Errorf("the snapshot has %d bytes, not %d", size, len(data))
	}
	return err
}

// readParts reads the snapshot want of g in pieces of many sizes.
func readParts(t *testing.T, s replica.Storage, g paxos.GroupID, want paxos.Snapshot) {
	t.Helper()
	size := uint64(len(want.Data))
	check := func(offset uint64, most int) {
		p, ok, err := s.ReadSnapshot(g, offset, most)
		from := min(offset, size)
		data := want.Data[from:min(from+uint64(most), size)]
		if err != nil || !ok || p.Slot != want.Slot || !reflect.DeepEqual(p.Membership, want.Membership) || p.Size != size ||
			p.Sum != crc32.Checksum(want.Data, crc32.MakeTable(crc32.Castagnoli)) || !bytes.Equal(p.Data, data) {
			t.Fatalf("ReadSnapshot(%d, %d) = slot %d, %d of %d bytes, sum %x, %v, %v; want slot %d, %d of %d",
				offset, most, p.Slot, len(p.Data), p.Size, p.Sum, ok, err, want.Slot, len(data), size)
		}
	}
	for _, offset := range []uint64{0, 1, 5, size / 2, size - min(size, 1), size, size + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 1 << 40} {
		for _, most := range []int{0, 1, 2, 1 << 18, 1 << 20, 3 << 20} {
			check(offset, most)
		}
	}
}

// random compares the store with a map, over restarts.
func random(t *testing.T, reopen func() replica.Storage) {
	rnd := rand.New(rand.NewPCG(1, 2))
	want := map[paxos.GroupID]paxos.Durable{}
	s := reopen()
	for step := range 60 {
		var updates []paxos.Update
		for range 1 + rnd.IntN(3) {
			g := paxos.GroupID(2000 + rnd.IntN(3))
			d := want[g]
			u := paxos.Update{Group: g, Header: header(1, ballot(uint64(step+1), 1))}
			u.Header.Trimmed = d.Header.Trimmed
			if rnd.IntN(5) == 0 {
				u.Header.Trimmed += paxos.Slot(rnd.IntN(4))
			}
			for range rnd.IntN(6) {
				v := vote(u.Header.Trimmed+1+paxos.Slot(rnd.IntN(20)), ballot(uint64(step), 1), fmt.Sprint(step, len(u.Votes)))
				u.Votes = append(u.Votes, v)
			}
			updates = append(updates, u)
			want[g] = merge(d, u)
		}
		save(t, s, updates...)
		if rnd.IntN(4) == 0 {
			g := updates[0].Group
			if err := s.Trim(g, want[g].Header.Trimmed); err != nil {
				t.Fatal(err)
			}
		}
		if rnd.IntN(6) == 0 {
			s = reopen()
			for g, d := range want {
				expect(t, s, g, d)
			}
		}
	}
}

// merge returns d after u.
func merge(d paxos.Durable, u paxos.Update) paxos.Durable {
	bySlot := map[paxos.Slot]paxos.SlotVote{}
	for _, v := range append(slices.Clone(d.Votes), u.Votes...) {
		bySlot[v.Slot] = v
	}
	d = paxos.Durable{Header: u.Header}
	for _, v := range bySlot {
		if v.Slot >= u.Header.Trimmed {
			d.Votes = append(d.Votes, v)
		}
	}
	slices.SortFunc(d.Votes, func(a, b paxos.SlotVote) int { return int(a.Slot) - int(b.Slot) })
	return d
}
