package storage

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A copyingLog copies the directory after each write, as a kill at that moment leaves it.
type copyingLog struct {
	voteLog
	copied func()
}

func (l copyingLog) put(entries []entry) error {
	err := l.voteLog.put(entries)
	l.copied()
	return err
}

// TestAKillWithinASave: votes, headers and the root of one Save are on the disk all
// together or not at all.
func TestAKillWithinASave(t *testing.T) { both(t, aKillWithinASave) }

func aKillWithinASave(t *testing.T) {
	dir := t.TempDir()
	if err := reopen(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	s := reopen(t, dir) // finds all of its files: none comes while they are copied
	m := paxos.Membership{ID: 1, Next: 2, Voters: []paxos.Member{{Node: 1, Ordinal: 1}}}
	updates := func(round uint64) (us []paxos.Update) {
		b := synod.Ballot{Round: round, Member: 1}
		for g := range paxos.GroupID(2) {
			u := paxos.Update{Group: g + 1, Dirty: true, Header: paxos.Header{Membership: m, Promised: b}}
			for slot := range paxos.Slot(3) {
				u.Votes = append(u.Votes, paxos.SlotVote{Slot: slot + 1, Config: 1, Vote: synod.Vote{Ballot: b, Value: synod.Value(b.String())}})
			}
			us = append(us, u)
		}
		return us
	}
	save := func(round uint64) {
		if err := s.Save(updates(round)); err != nil {
			t.Fatal(err)
		}
	}
	save(1)
	var copies []string
	s.votes = copyingLog{s.votes, func() {
		to := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, to)
	}}
	save(2)
	for i, dir := range copies {
		is, err := Open(dir, Options{})
		if err != nil {
			t.Fatalf("after write %d of %d: neither what was before nor what is after: %v", i+1, len(copies), err)
		}
		for _, want := range updates(2) {
			d, err := is.Load(want.Group)
			if err != nil || d.Header.Promised != want.Header.Promised || !reflect.DeepEqual(d.Votes, want.Votes) {
				t.Fatalf("after write %d of %d: group %d: neither what was before nor what is after: %+v, %v", i+1, len(copies), want.Group, d, err)
			}
		}
		if err := is.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(copies) == 0 {
		t.Error("nothing was written")
	}
}
