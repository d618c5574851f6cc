package codec

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A source draws whatever fields can hold.
type source struct{ *rapid.T }

func draw[V any](s source, g *rapid.Generator[V]) V { return g.Draw(s.T, "field") }

func (s source) uint() uint64           { return draw(s, rapid.Uint64()) }
func (s source) slot() paxos.Slot       { return paxos.Slot(s.uint()) }
func (s source) config() paxos.ConfigID { return paxos.ConfigID(draw(s, rapid.Uint32())) }
func (s source) bool() bool             { return draw(s, rapid.Bool()) }
func (s source) byte() byte             { return draw(s, rapid.Byte()) }
func (s source) string() string         { return string(draw(s, rapid.SliceOfN(rapid.Byte(), 0, 300))) }
func (s source) ordinal() synod.Ordinal { return synod.Ordinal(draw(s, rapid.Uint16())) }

func (s source) ballot() synod.Ballot {
	return synod.Ballot{Round: draw(s, rapid.Uint64Range(0, synod.MaxRound)), Member: s.ordinal()}
}

func (s source) bytes() []byte {
	if b := []byte(s.string()); len(b) > 0 {
		return b
	}
	return nil
}

// several returns up to a dozen of what one returns; none is nil.
func several[V any](s source, one func() V) (vs []V) {
	for range draw(s, rapid.IntRange(0, 12)) {
		vs = append(vs, one())
	}
	return vs
}

func (s source) values() []synod.Value {
	return several(s, func() synod.Value { return synod.Value(s.string()) })
}

func (s source) vote() paxos.SlotVote {
	return paxos.SlotVote{
		Slot: s.slot(), Config: s.config(), Chosen: s.bool(),
		Vote: synod.Vote{Ballot: s.ballot(), Value: synod.Value(s.string())},
	}
}

func (s source) membership() paxos.Membership {
	return paxos.Membership{
		ID: s.config(), Start: s.slot(), Leader: s.ordinal(), Next: s.ordinal(),
		Voters: several(s, func() paxos.Member {
			return paxos.Member{Node: synod.NodeID(s.uint()), Ordinal: s.ordinal(), Name: s.string(), PeerAddr: s.string()}
		}),
	}
}

func (s source) report() leader.Report {
	return leader.Report{
		Group: s.uint(), Config: uint32(s.config()), Asks: s.bool(), Own: s.ballot(), Followed: s.ballot(),
		Content: s.bool(), Leading: s.bool(), Bound: s.ballot(), Decided: s.uint(), Distance: int64(s.uint() >> 1),
	}
}

func (s source) claim() leader.Claim {
	return leader.Claim{Group: s.uint(), Config: uint32(s.config()), Ballot: s.ballot()}
}

func (s source) grant() leader.Grant {
	return leader.Grant{Group: s.uint(), Config: uint32(s.config()), Ballot: s.ballot(), OK: s.bool(), Reason: s.byte()}
}

// message draws a message of the same type as sample.
func (s source) message(sample any) any {
	switch sample.(type) {
	case paxos.Prepare:
		return paxos.Prepare{Config: s.config(), Ballot: s.ballot(), First: s.slot()}
	case paxos.Promise:
		return paxos.Promise{Config: s.config(), Ballot: s.ballot(), Decided: s.slot(), Votes: several(s, s.vote)}
	case paxos.Accept:
		return paxos.Accept{Config: s.config(), Ballot: s.ballot(), Base: s.slot(), First: s.slot(), Values: s.values(), Decided: s.slot()}
	case paxos.Accepted:
		return paxos.Accepted{Config: s.config(), Ballot: s.ballot(), UpTo: s.slot()}
	case paxos.Nack:
		return paxos.Nack{Config: s.config(), Ballot: s.ballot(), Promised: s.ballot()}
	case paxos.Confirm:
		return paxos.Confirm{Config: s.config(), Ballot: s.ballot(), Seq: s.uint()}
	case paxos.Confirmed:
		return paxos.Confirmed{Config: s.config(), Ballot: s.ballot(), Seq: s.uint()}
	case paxos.CatchUp:
		return paxos.CatchUp{From: s.slot(), Learner: s.bool(), SnapshotSlot: s.slot(), SnapshotOffset: s.uint()}
	case paxos.Learned:
		return paxos.Learned{First: s.slot(), Values: s.values(), Decided: s.slot()}
	case paxos.Sealed:
		return paxos.Sealed{Config: s.config(), At: s.slot()}
	case paxos.SnapshotChunk:
		return paxos.SnapshotChunk{Slot: s.slot(), Offset: s.uint(), Size: s.uint(), Sum: uint32(s.config()), Data: s.bytes()}
	case leader.Heartbeat:
		return leader.Heartbeat{
			Reply: s.bool(), Seq: s.uint(), Sent: leader.Instant(s.uint() >> 1),
			Clock: leader.Instant(s.uint() >> 1), Lease: int64(s.uint() >> 1), Incarnation: s.uint(), Healthy: s.bool(),
			Have: s.uint(), Since: s.uint(), Version: s.uint(), Whole: s.bool(), Taken: s.bool(),
			Groups: several(s, s.report),
		}
	case leader.Claim:
		return s.claim()
	case leader.Claims:
		return leader.Claims{All: several(s, s.claim)}
	case leader.Grant:
		return s.grant()
	case leader.Grants:
		return leader.Grants{All: several(s, s.grant)}
	case leader.Release:
		return leader.Release{Group: s.uint(), Config: uint32(s.config()), Ballot: s.ballot(), To: synod.NodeID(s.uint())}
	case replica.Forward:
		return replica.Forward{ID: s.uint(), To: s.uint(), Hops: s.byte(), Kind: replica.RequestKind(s.byte()), Payload: s.bytes()}
	case replica.Answer:
		return replica.Answer{ID: s.uint(), Outcome: replica.Outcome(s.byte()), Slot: s.slot(), Leader: synod.NodeID(s.uint()), Payload: s.bytes()}
	case Saved:
		return Saved{Position: s.uint()}
	}
	s.Fatalf("no generator for %T", sample)
	return nil
}

// TestRandomPacketsSurvive also checks that each packet has one encoding, that
// none is the beginning of another, and that bytes left over are refused.
func TestRandomPacketsSurvive(t *testing.T) { rapid.Check(t, survives) }

// FuzzEncode has the fuzzer choose what rapid draws: packets of every kind, and no bytes
// that are none.
func FuzzEncode(f *testing.F) {
	seed := make([]byte, 8<<10) // with less rapid draws nothing
	_, _ = rand.NewChaCha8([32]byte{1}).Read(seed)
	f.Add(seed)
	f.Fuzz(rapid.MakeFuzz(survives))
}

func survives(t *rapid.T) {
	s := source{t}
	sample := draw(s, rapid.SampledFrom(packets)).Msg
	p := replica.Packet{Group: paxos.GroupID(s.uint()), Msg: s.message(sample)}
	b := AppendPacket([]byte("before"), p)[len("before"):]
	got, err := DecodePacket(b)
	if err != nil || !reflect.DeepEqual(got, p) {
		t.Fatalf("got %+v, %v; want %+v", got, err, p)
	}
	switch p.Msg.(type) {
	case paxos.Promise, paxos.Accept, paxos.Learned, paxos.SnapshotChunk, replica.Forward, replica.Answer:
		if Room(p) < len(b) {
			t.Fatalf("room for %d bytes of %d", Room(p), len(b))
		}
	}
	if again := AppendPacket(nil, got); !bytes.Equal(again, b) {
		t.Fatalf("encoded again: %x; want %x", again, b)
	}
	if _, err := DecodePacket(b[:draw(s, rapid.IntRange(0, len(b)-1))]); err == nil {
		t.Fatal("the beginning of a packet was taken for a packet")
	}
	if _, err := DecodePacket(append(b, s.byte())); err == nil {
		t.Fatal("a byte too many was not noticed")
	}
}

func TestRandomRecordsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := source{t}
		h := paxos.Header{Membership: s.membership(), Promised: s.ballot(), Decided: s.slot(), Snapshot: s.slot(), Trimmed: s.slot(), Floor: s.config()}
		if got, err := DecodeHeader(AppendHeader(nil, h)); err != nil || !reflect.DeepEqual(got, h) {
			t.Fatalf("got %+v, %v; want %+v", got, err, h)
		}
		v := s.vote()
		if one, two := AppendVoteRecord([]byte("before"), v), AppendRecord([]byte("before"), AppendVote(nil, v)); !bytes.Equal(one, two) {
			t.Fatalf("two ways to one record differ: %x and %x", one, two)
		}
		if got, err := DecodeVote(AppendVote(nil, v)); err != nil || got != v {
			t.Fatalf("got %+v, %v; want %+v", got, err, v)
		}
	})
}
