package storagetest

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

func drop(t *testing.T, reopen func() replica.Storage) {
	const g, n = 30, 2500
	var vs []paxos.SlotVote
	for slot := paxos.Slot(1); slot <= n; slot++ {
		vs = append(vs, vote(slot, ballot(5, 1), fmt.Sprint(slot)))
	}
	h := header(1, ballot(5, 1))
	s := reopen()
	save(t, s, paxos.Update{Group: g, Header: h, Votes: vs}, paxos.Update{Group: g + 1, Header: h, Votes: vs[:1]})
	if err := s.SaveSnapshot(g, paxos.Snapshot{Slot: 7, Data: bytes.Repeat([]byte("x"), 17<<20)}); err != nil {
		t.Fatal(err)
	}
	snap := paxos.Snapshot{Slot: 7, Data: []byte("other")}
	if err := s.SaveSnapshot(g+1, snap); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(g, 1); err != nil {
		t.Fatalf("Drop: %v", err)
	}
	gone(t, s, g, 1)
	s = reopen() // a crash before anything was given back
	gone(t, s, g, 1)
	for i := 0; ; i++ {
		more, err := s.Sweep()
		if err != nil {
			t.Fatalf("Sweep: %v", err)
		}
		gone(t, s, g, 1)
		if !more {
			break
		}
		if i%2 == 0 {
			s = reopen() // a crash in the midst of it
		}
		if i > 100 {
			t.Fatal("Sweep has not come to an end after 100 calls")
		}
	}
	for range 2 {
		if err := s.Drop(g, paxos.Forever); err != nil {
			t.Errorf("Drop of a dropped group: %v", err)
		}
		gone(t, s, g, paxos.Forever)
		expect(t, s, g+1, paxos.Durable{Header: h, Votes: vs[:1]})
		if other, ok, err := s.LoadSnapshot(g + 1); err != nil || !ok || !bytes.Equal(other.Data, snap.Data) {
			t.Errorf("the next group's snapshot: %d bytes, %v, %v", len(other.Data), ok, err)
		}
		s = reopen()
	}
	sweep(t, s)
	h.Floor = paxos.Forever
	if err := s.Save([]paxos.Update{{Group: g, Dirty: true, Header: h}}); err == nil {
		t.Error("a group that was dropped for ever was saved")
	}
}

// sweep gives back everything.
func sweep(t *testing.T, s replica.Storage) {
	t.Helper()
	for range 100 {
		if more, err := s.Sweep(); err != nil {
			t.Fatalf("Sweep: %v", err)
		} else if !more {
			return
		}
	}
	t.Fatal("Sweep has not come to an end after 100 calls")
}

// swept checks what is said of g's tombstone.
func swept(t *testing.T, s replica.Storage, g paxos.GroupID, want bool) {
	t.Helper()
	if is, ok, err := s.Dropped(g); err != nil || !ok || is.Swept != want {
		t.Fatalf("Dropped(%d) = %+v, %v, %v; want swept %v", g, is, ok, err, want)
	}
}

// unmade checks that g cannot be made anew, though with floor.
func unmade(t *testing.T, reopen func() replica.Storage, g paxos.GroupID, floor paxos.ConfigID) {
	t.Helper()
	h := header(3, synod.Ballot{})
	h.Floor = floor
	if err := reopen().Save([]paxos.Update{{Group: g, Dirty: true, Header: h}}); err == nil {
		t.Fatalf("group %d was made anew with floor %d", g, floor)
	}
}

func again(t *testing.T, reopen func() replica.Storage) {
	const g = 70
	h := header(5, ballot(7, 1))
	s := reopen()
	save(t, s, paxos.Update{Group: g, Header: h, Votes: []paxos.SlotVote{vote(3, ballot(7, 1), "of the first part"), vote(9, ballot(7, 1), "too")}})
	if err := s.SaveSnapshot(g, paxos.Snapshot{Slot: 2, Data: []byte("the first part")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(g, 5); err != nil {
		t.Fatal(err)
	}
	swept(t, s, g, false)
	unmade(t, reopen, g, 5) // nothing is given back yet
	s = reopen()
	swept(t, s, g, false)
	sweep(t, s)
	swept(t, s, g, true)
	unmade(t, reopen, g, 4)

	// A snapshot alone is no group, and must go before another attempt.
	s = reopen()
	gone(t, s, g, 5)
	swept(t, s, g, true)
	snap := paxos.Snapshot{Slot: 6, Membership: header(4, ballot(1, 1)).Membership, Data: []byte("the second part")}
	if err := s.SaveSnapshot(g, snap); err != nil {
		t.Fatal(err)
	}
	s = reopen()
	gone(t, s, g, 5)
	sweep(t, s)
	swept(t, s, g, true)

	if err := s.SaveSnapshot(g, snap); err != nil {
		t.Fatal(err)
	}
	h = header(6, ballot(1, 1))
	h.Decided, h.Snapshot, h.Trimmed, h.Floor = 6, 6, 7, 5
	want := paxos.Durable{Header: h, Votes: []paxos.SlotVote{vote(8, ballot(1, 1), "of the second part")}}
	save(t, s, paxos.Update{Group: g, Header: h, Votes: want.Votes})
	for range 2 {
		expect(t, s, g, want)
		if got, ok, err := s.LoadSnapshot(g); err != nil || !ok || string(got.Data) != "the second part" {
			t.Fatalf("LoadSnapshot = %q, %v, %v", got.Data, ok, err)
		}
		if gs, err := s.Groups(); err != nil || !slices.Contains(gs, g) {
			t.Fatalf("Groups() = %v, %v; want %d too", gs, err, g)
		}
		if is, ok, err := s.Dropped(g); ok || err != nil {
			t.Fatalf("Dropped = %+v, %v, %v; want nothing", is, ok, err)
		}
		s = reopen()
		sweep(t, s)
	}
	if b, ok := s.(replica.Beginner); ok && b.Begin([]replica.Beginning{{Group: g, Header: h}}) == nil {
		t.Fatal("a group that was made anew begins")
	}
}

// floors is about a group that has a floor already.
func floors(t *testing.T, reopen func() replica.Storage) {
	const g = 71
	h := header(6, ballot(1, 1))
	h.Floor = 5
	s := reopen()
	save(t, s, paxos.Update{Group: g, Header: h})
	if err := s.Drop(g, 3); err != nil {
		t.Fatal(err)
	}
	gone(t, s, g, 5)
	if err := s.Drop(g, 6); err != nil {
		t.Fatal(err)
	}
	gone(t, s, g, 6)
	if err := s.Drop(g, 5); err != nil {
		t.Fatal(err)
	}
	s = reopen()
	gone(t, s, g, 6)
	sweep(t, s)
	unmade(t, reopen, g, 5)
	s = reopen()
	if b, ok := s.(replica.Beginner); ok && b.Begin([]replica.Beginning{{Group: g, Header: h}}) == nil {
		t.Fatal("a dropped group begins")
	}
}

// gone checks that nothing is left of g but the knowledge that it was dropped.
func gone(t *testing.T, s replica.Storage, g paxos.GroupID, floor paxos.ConfigID) {
	t.Helper()
	expect(t, s, g, paxos.Durable{})
	if _, ok, err := s.LoadSnapshot(g); ok || err != nil {
		t.Fatalf("LoadSnapshot(%d) = %v, %v; want none", g, ok, err)
	}
	if gs, err := s.Groups(); err != nil || slices.Contains(gs, g) {
		t.Fatalf("Groups() = %v, %v; want no %d", gs, err, g)
	}
	if is, ok, err := s.Dropped(g); !ok || err != nil || is.Floor != floor {
		t.Fatalf("Dropped(%d) = %+v, %v, %v; want floor %d", g, is, ok, err, floor)
	}
}

func dropUnknown(t *testing.T, reopen func() replica.Storage) {
	const g = 40
	s := reopen()
	if is, ok, err := s.Dropped(g); ok || err != nil {
		t.Fatalf("Dropped = %+v, %v, %v; want nothing", is, ok, err)
	}
	if err := s.SaveSnapshot(g+1, paxos.Snapshot{Slot: 1, Data: []byte("a snapshot without a header")}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []paxos.GroupID{g, g + 1} {
		if err := s.Drop(id, 2); err != nil {
			t.Fatalf("Drop: %v", err)
		}
	}
	for range 2 {
		gone(t, s, g, 2)
		gone(t, s, g+1, 2)
		s = reopen()
	}
}

func begin(t *testing.T, reopen func() replica.Storage) {
	const first, n = 50, 10
	s := reopen()
	b, ok := s.(replica.Beginner)
	if !ok {
		t.Skip("groups begin one by one")
	}
	if err := s.SaveSnapshot(first, paxos.Snapshot{Slot: 1, Data: []byte("an attempt that a crash ended")}); err != nil {
		t.Fatal(err)
	}
	h := header(1, synod.Ballot{})
	h.Decided, h.Snapshot, h.Trimmed = 1, 1, 2
	var all []replica.Beginning
	for g := paxos.GroupID(first); g < first+n; g++ {
		data := bytes.Repeat([]byte{byte(g)}, int(g-first)<<18)
		all = append(all, replica.Beginning{Group: g, Header: h, Snapshot: paxos.Snapshot{Slot: 1, Membership: h.Membership, Data: data}})
	}
	if err := b.Begin(all); err != nil {
		t.Fatalf("Begin: %v", err)
	}
	for range 2 {
		for _, x := range all {
			expect(t, s, x.Group, paxos.Durable{Header: h})
			got, ok, err := s.LoadSnapshot(x.Group)
			if err != nil || !ok || got.Slot != 1 || !reflect.DeepEqual(got.Membership, h.Membership) || !bytes.Equal(got.Data, x.Snapshot.Data) {
				t.Fatalf("LoadSnapshot(%d) = slot %d, %d bytes, %v, %v", x.Group, got.Slot, len(got.Data), ok, err)
			}
		}
		s = reopen()
	}
	v := vote(2, ballot(1, 1), "v")
	h.Promised = ballot(1, 1)
	save(t, s, paxos.Update{Group: first, Header: h, Votes: []paxos.SlotVote{v}})
	expect(t, reopen(), first, paxos.Durable{Header: h, Votes: []paxos.SlotVote{v}})
	s = reopen()
	if err := s.Drop(first+1, 1); err != nil {
		t.Fatal(err)
	}
	for _, g := range []paxos.GroupID{first, first + 1} {
		if err := s.(replica.Beginner).Begin([]replica.Beginning{{Group: g, Header: h}}); err == nil {
			t.Errorf("group %d began anew", g)
		}
	}
}
