package paxos

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/prytany/prytany/synod"
)

// A tape gives numbers out of the fuzzer's bytes, zeros after their end.
type tape struct{ b []byte }

func (x *tape) below(n int) int {
	if len(x.b) == 0 {
		return 0
	}
	c := int(x.b[0])
	x.b = x.b[1:]
	return c % n
}

func (x *tape) slot() Slot {
	if n := x.below(16); n < 14 {
		return Slot(n)
	}
	return Slot(1) << x.below(64) // very large ones too
}
func (x *tape) config() ConfigID { return ConfigID(x.below(4)) }
func (x *tape) ballot() synod.Ballot {
	return synod.Ballot{Round: uint64(x.below(5)), Member: synod.Ordinal(x.below(5))}
}

// value is one of a few, of every kind: stop-signs that make sense and do not, too.
func (x *tape) value() synod.Value {
	switch n := x.below(8); n {
	case 0:
		return Noop
	case 1:
		return EncodeStop(Membership{ID: ConfigID(2 + x.below(3)), Leader: synod.Ordinal(1 + x.below(3)), Next: 4, Voters: []Member{{Node: 1, Ordinal: 1}, {Node: 2, Ordinal: 2}, {Node: 3, Ordinal: 3}}})
	case 2:
		return "\xff no value"
	default:
		return EncodeBatch(synod.Ballot{Round: 1, Member: 1}, [][]byte{{byte(n)}})
	}
}

func (x *tape) values() (vs []synod.Value) {
	for range x.below(4) {
		vs = append(vs, x.value())
	}
	return vs
}

func (x *tape) message() Message {
	switch x.below(11) {
	case 0:
		return Prepare{x.config(), x.ballot(), x.slot()}
	case 1:
		m := Promise{Config: x.config(), Ballot: x.ballot(), Decided: x.slot()}
		for range x.below(3) {
			m.Votes = append(m.Votes, SlotVote{Slot: x.slot(), Config: x.config(), Chosen: x.below(2) == 0, Vote: synod.Vote{Ballot: x.ballot(), Value: x.value()}})
		}
		return m
	case 2:
		return Accept{Config: x.config(), Ballot: x.ballot(), Base: x.slot(), First: x.slot(), Values: x.values(), Decided: x.slot()}
	case 3:
		return Accepted{x.config(), x.ballot(), x.slot()}
	case 4:
		return Nack{x.config(), x.ballot(), x.ballot()}
	case 5:
		return Confirm{x.config(), x.ballot(), uint64(x.slot())}
	case 6:
		return Confirmed{x.config(), x.ballot(), uint64(x.slot())}
	case 7:
		return CatchUp{From: x.slot(), Learner: x.below(2) == 0, SnapshotSlot: x.slot(), SnapshotOffset: uint64(x.slot())}
	case 8:
		return Learned{First: x.slot(), Values: x.values(), Decided: x.slot()}
	case 9:
		return Sealed{x.config(), x.slot()}
	default:
		return SnapshotChunk{Slot: x.slot(), Offset: uint64(x.slot()), Size: uint64(x.slot()), Data: []byte{1}}
	}
}

// A member is a Group, its disk, and what was noted of it.
type member struct {
	t       *testing.T
	cfg     Config
	g       *Group
	header  Header
	votes   map[Slot]SlotVote
	applied Slot
}

// turn lets g do what is due, and holds it to what it must never do: promise less or
// know less than it did, apply out of order, vote against its own promise, or leave out
// of its disk what it sends.
func (m *member) turn(step func(out *Effects)) {
	var out Effects
	step(&out)
	m.g.Flush(&out)
	if s := out.Save; s.Dirty {
		was := m.header
		switch same := s.Header.Membership.ID == was.Membership.ID; {
		case s.Header.Membership.ID < was.Membership.ID, s.Header.Decided < was.Decided, same && s.Header.Promised.Less(was.Promised):
			m.t.Fatalf("%+v was durable, and then %+v", was, s.Header)
		}
		for _, v := range s.Votes {
			if old, ok := m.votes[v.Slot]; ok && old.Chosen && old.Vote.Value != v.Vote.Value && v.Slot > m.header.Snapshot {
				m.t.Fatalf("slot %d was known to have %q, and now %q", v.Slot, old.Vote.Value, v.Vote.Value)
			}
			m.votes[v.Slot] = v
		}
		m.header = s.Header
	}
	for _, e := range out.Apply {
		if e.Slot != m.applied+1 {
			m.t.Fatalf("slot %d is applied after %d", e.Slot, m.applied)
		}
		m.applied = e.Slot
	}
	for _, e := range slices.Concat(out.Early, out.Send) {
		if p, ok := e.Msg.(Promise); ok && p.Config == m.header.Membership.ID && m.header.Promised.Less(p.Ballot) {
			m.t.Fatalf("%+v is sent, and %+v is on disk", p, m.header)
		}
	}
}

// start brings the member up with what is on its disk.
func (m *member) start() {
	d := Durable{Header: m.header}
	for _, s := range slices.Sorted(maps.Keys(m.votes)) {
		if s >= m.header.Trimmed {
			d.Votes = append(d.Votes, m.votes[s])
		}
	}
	g, err := New(m.cfg, d)
	if err != nil {
		m.t.Fatalf("it does not start from its own disk: %v", err)
	}
	m.g, m.applied = g, m.header.Snapshot
	m.turn(g.Recover)
}

// FuzzReceive gives a voter of three any well-formed messages of its peers, and orders
// of its own node, in any order. Messages may contradict each other: nothing that a
// peer sends may make a member panic, forget what it has said, or write what it cannot
// start from again.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 2, 0, 1, 1, 2, 1, 0, 2, 2, 1, 1, 2, 1, 1, 2, 3, 4, 5})
	f.Add([]byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 2, 1, 2, 1, 2, 3, 2, 1, 3, 2, 1, 250, 14, 63, 15, 40, 14, 3})
	f.Add([]byte{10, 1, 0, 2, 1, 1, 1, 1, 0, 0, 11, 3, 0, 2, 3, 1, 1, 1, 14, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		first := Membership{ID: 1, Leader: 1, Next: 4, Voters: []Member{{Node: 1, Ordinal: 1}, {Node: 2, Ordinal: 2}, {Node: 3, Ordinal: 3}}}
		m := &member{t: t, cfg: Config{Group: Main, Self: 1, MaxWindow: 4, MaxWindowBytes: 64, MaxMessageBytes: 32}, header: Header{Membership: first}, votes: map[Slot]SlotVote{}}
		m.start()
		for x := (&tape{b[:min(len(b), 1<<10)]}); len(x.b) > 0; {
			switch op := x.below(16); op {
			case 10:
				m.turn(func(out *Effects) {
					b := m.header.Promised.Next(m.header.Membership.Ordinal(1))
					if m.header.Membership.Seat(1) >= 0 && b.Round < 100 {
						m.g.Campaign(b, out)
					}
				})
			case 11:
				m.turn(func(out *Effects) { _, _ = m.g.Propose(x.value(), out) })
			case 12:
				m.turn(func(out *Effects) { _, _ = m.g.Read(out) })
			case 13:
				m.turn(m.g.Tick)
			case 14:
				m.turn(m.g.StepDown)
			case 15:
				before := m.g.Status()
				m.start()
				if after := m.g.Status(); after.Decided != before.Decided || !reflect.DeepEqual(after.Membership, before.Membership) {
					t.Fatalf("%+v became %+v by a restart", before, after)
				}
			default:
				from := synod.NodeID(2 + x.below(3)) // 4 is no voter
				msg := x.message()
				m.turn(func(out *Effects) { m.g.Receive(from, msg, out) })
			}
		}
	})
}
