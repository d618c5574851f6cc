package decided

import (
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// What a node has on its disk can be read whatever kind of log it keeps, and only when
// nobody else has it open.
func TestReadDir(t *testing.T) {
	for _, kind := range []string{storage.LogBolt, storage.LogAppend} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			s, err := storage.Open(dir, storage.Options{Name: "n1", LogStore: kind})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.LogStore(); got != kind {
				t.Fatalf("the log is %s", got)
			}
			self := synod.NodeID(7)
			m := paxos.Membership{ID: 1, Start: 1, Voters: []paxos.Member{{Node: self, Ordinal: 1}}}
			value := paxos.EncodeBatch(synod.Ballot{Round: 1, Member: 1}, [][]byte{[]byte("x")})
			vote := paxos.SlotVote{Slot: 2, Config: 1, Vote: synod.Vote{Ballot: synod.Ballot{Round: 1, Member: 1}, Value: value}, Chosen: true}
			err = s.Save([]paxos.Update{{
				Group: paxos.Main, Dirty: true, Header: paxos.Header{Membership: m, Decided: 2, Snapshot: 1}, Votes: []paxos.SlotVote{vote},
			}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ReadDir(dir); err == nil || !strings.Contains(err.Error(), "in use") {
				t.Errorf("of a directory in use: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			n, err := ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if n.Name != "n1" || n.Decided != 2 || len(n.Votes) != 1 || n.Votes[0].Slot != 2 || string(n.Votes[0].Value) != string(value) {
				t.Errorf("read %+v", n)
			}
		})
	}
}
