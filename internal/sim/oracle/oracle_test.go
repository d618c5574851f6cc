package oracle

import (
	"testing"

	"github.com/prytany/prytany/internal/sim/disk"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A stage is three nodes whose disks and messages a test makes up.
type stage struct {
	o     *Oracle
	nodes [3]Node
	disks [3]disk.Disk
	first paxos.Membership
}

func newStage() *stage {
	s := &stage{first: paxos.Membership{ID: 1, Next: 4}}
	for i := range s.nodes {
		s.nodes[i] = Node{ID: synod.NodeID(i + 1), Index: i, Name: string(rune('A' + i))}
		s.first.Voters = append(s.first.Voters, paxos.Member{Node: s.nodes[i].ID, Ordinal: synod.Ordinal(i + 1)})
	}
	s.o = New(s.first, 3)
	return s
}

// save makes node i promise b and cast votes.
func (s *stage) save(i int, b synod.Ballot, votes ...paxos.SlotVote) {
	u := paxos.Update{Group: 1, Dirty: true, Header: paxos.Header{Membership: s.first, Promised: b}, Votes: votes}
	s.o.Saving(s.nodes[i], s.disks[i].Volume(1), u)
	if err := s.disks[i].Save([]paxos.Update{u}); err != nil {
		panic(err)
	}
	s.o.Saved(s.nodes[i], s.disks[i].Volume(1), u)
}

func (s *stage) send(i int, m paxos.Message) { s.o.Sent(s.nodes[i], s.disks[i].Volume(1), m) }

func vote(s paxos.Slot, b synod.Ballot, val string) paxos.SlotVote {
	return paxos.SlotVote{Slot: s, Config: 1, Vote: synod.Vote{Ballot: b, Value: paxos.EncodeBatch(b, [][]byte{[]byte(val)})}}
}

var (
	b1 = synod.Ballot{Round: 1, Member: 1}
	b2 = synod.Ballot{Round: 2, Member: 2}
)

// lead has node 0 complete phase 1 of b1 with node 1.
func (s *stage) lead() {
	s.save(0, b1)
	s.save(1, b1)
	s.send(1, paxos.Promise{Config: 1, Ballot: b1, Decided: 1})
}

func TestOracleNotices(t *testing.T) {
	x := vote(2, b1, "x")
	tests := []struct {
		name string
		want string // the invariant; "" if all is well
		play func(s *stage)
	}{
		{"an ordinary decree", "", func(s *stage) {
			s.lead()
			s.send(0, paxos.Accept{Config: 1, Ballot: b1, Base: 1, First: 2, Values: []synod.Value{x.Vote.Value}, Decided: 1})
			s.save(0, b1, x)
			s.save(1, b1, x)
			s.send(1, paxos.Accepted{Config: 1, Ballot: b1, UpTo: 2})
			s.send(0, paxos.Learned{First: 2, Values: []synod.Value{x.Vote.Value}, Decided: 2})
		}},
		{"a vote against what is chosen", "I1", func(s *stage) {
			s.save(0, b1, x)
			s.save(1, b1, x)
			s.save(2, b2, vote(2, b2, "y"))
		}},
		{"a promise that falls", "I2", func(s *stage) {
			s.save(0, b2)
			s.save(0, b1)
		}},
		{"a vote above the promise", "I2", func(s *stage) { s.save(0, b1, vote(2, b2, "y")) }},
		{"two values in one ballot", "I3", func(s *stage) {
			s.save(0, b1, x)
			s.save(1, b1, vote(2, b1, "y"))
		}},
		{"another node's ballot", "I3", func(s *stage) {
			s.save(2, b1)
			s.send(2, paxos.Prepare{Config: 1, Ballot: b1, First: 2})
		}},
		{"a proposal without promises", "I4", func(s *stage) {
			s.save(0, b1)
			s.send(0, paxos.Accept{Config: 1, Ballot: b1, Base: 1, First: 2, Values: []synod.Value{x.Vote.Value}, Decided: 1})
		}},
		{"a proposal that ignores a vote", "I4", func(s *stage) {
			s.save(0, b1, x)
			s.save(0, b2)
			s.send(0, paxos.Promise{Config: 1, Ballot: b2, Decided: 1, Votes: []paxos.SlotVote{x}})
			s.save(1, b2)
			s.send(1, paxos.Accept{Config: 1, Ballot: b2, Base: 1, First: 2, Values: []synod.Value{vote(2, b2, "y").Vote.Value}, Decided: 1})
		}},
		{"a promise that is not on disk", "I5", func(s *stage) {
			s.send(1, paxos.Promise{Config: 1, Ballot: b1, Decided: 1})
		}},
		{"a promise that leaves out a vote", "I5", func(s *stage) {
			s.save(1, b1, x)
			s.save(1, b2)
			s.send(1, paxos.Promise{Config: 1, Ballot: b2, Decided: 1})
		}},
		{"a vote that is not on disk", "I5", func(s *stage) {
			s.save(1, b1)
			s.send(1, paxos.Accepted{Config: 1, Ballot: b1, UpTo: 2})
		}},
		{"a vote told of by the save that replaced it", "", func(s *stage) {
			s.lead()
			s.send(0, paxos.Accept{Config: 1, Ballot: b1, Base: 1, First: 2, Values: []synod.Value{x.Vote.Value}, Decided: 1})
			s.save(2, b1, vote(3, b1, "z"))
			s.save(2, b2, x, vote(3, b2, "y"))
			s.send(2, paxos.Accepted{Config: 1, Ballot: b1, UpTo: 3})
		}},
		{"a vote told of that was replaced long ago", "I5", func(s *stage) {
			s.lead()
			s.send(0, paxos.Accept{Config: 1, Ballot: b1, Base: 1, First: 2, Values: []synod.Value{x.Vote.Value}, Decided: 1})
			s.save(2, b1, vote(3, b1, "z"))
			s.save(2, b2, vote(3, b2, "y"))
			s.save(2, b2, x)
			s.send(2, paxos.Accepted{Config: 1, Ballot: b1, UpTo: 3})
		}},
		{"a value taught before it is chosen", "I5", func(s *stage) {
			s.save(1, b1, x)
			s.send(1, paxos.Learned{First: 2, Values: []synod.Value{x.Vote.Value}, Decided: 1})
		}},
		{"a command applied before it is chosen", "I7", func(s *stage) {
			s.save(1, b1, x)
			s.o.Applied(s.nodes[1], 0, 2, []byte("x"), nil)
		}},
		{"different results", "I6", func(s *stage) {
			s.save(0, b1, x)
			s.save(1, b1, x)
			s.o.Applied(s.nodes[0], 0, 2, []byte("x"), []byte("1"))
			s.o.Applied(s.nodes[1], 0, 2, []byte("x"), []byte("2"))
		}},
		{"a stale read", "I8", func(s *stage) { s.o.Read(s.nodes[1], 1, 2) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := noticed(func() { tt.play(newStage()) }); got.Invariant != tt.want {
				t.Errorf("noticed %v, want %q", got, tt.want)
			}
		})
	}
}

// noticed returns the violation that f ends with, if any.
func noticed(f func()) (v Violation) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case Violation:
			v = p
		default:
			panic(p)
		}
	}()
	f()
	return v
}
