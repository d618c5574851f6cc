package codec

import (
	"fmt"
	"math"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// The tags of messages. They are the wire format: never renumber or reuse one.
const (
	tagPrepare   = 1
	tagPromise   = 2
	tagAccept    = 3
	tagAccepted  = 4
	tagNack      = 5
	tagConfirm   = 6
	tagConfirmed = 7
	tagCatchUp   = 8
	tagLearned   = 9
	tagSealed    = 10
	tagChunk     = 11
	tagHeartbeat = 32
	tagClaim     = 33
	tagGrant     = 34
	tagForward   = 64
	tagAnswer    = 65
)

// AppendPacket appends p to dst. It panics on a message type that this package
// does not know, which only a bug can bring about.
func AppendPacket(dst []byte, p replica.Packet) []byte {
	dst = appendUint(dst, uint64(p.Group))
	switch m := p.Msg.(type) {
	case paxos.Message:
		return appendPaxos(dst, m)
	case leader.Message:
		return appendLeader(dst, m)
	case replica.Forward:
		dst = appendUint(append(dst, tagForward), m.ID)
		dst = append(dst, m.Hops, byte(m.Kind))
		return appendString(dst, m.Payload)
	case replica.Answer:
		dst = appendUint(append(dst, tagAnswer), m.ID)
		dst = appendUint(append(dst, byte(m.Outcome)), uint64(m.Slot))
		return appendString(appendUint(dst, uint64(m.Leader)), m.Payload)
	}
	panic(fmt.Sprintf("codec: unknown message %T", p.Msg))
}

func appendPaxos(b []byte, m paxos.Message) []byte {
	switch m := m.(type) {
	case paxos.Prepare:
		b = appendRound(append(b, tagPrepare), m.Config, m.Ballot)
		return appendUint(b, uint64(m.First))
	case paxos.Promise:
		b = appendRound(append(b, tagPromise), m.Config, m.Ballot)
		b = appendUint(b, uint64(m.Decided))
		b = appendUint(b, uint64(len(m.Votes)))
		for _, v := range m.Votes {
			b = appendVote(b, v)
		}
		return b
	case paxos.Accept:
		b = appendRound(append(b, tagAccept), m.Config, m.Ballot)
		b = appendUint(appendUint(b, uint64(m.Base)), uint64(m.First))
		return appendUint(appendValues(b, m.Values), uint64(m.Decided))
	case paxos.Accepted:
		b = appendRound(append(b, tagAccepted), m.Config, m.Ballot)
		return appendUint(b, uint64(m.UpTo))
	case paxos.Nack:
		b = appendRound(append(b, tagNack), m.Config, m.Ballot)
		return appendBallot(b, m.Promised)
	case paxos.Confirm:
		b = appendRound(append(b, tagConfirm), m.Config, m.Ballot)
		return appendUint(b, m.Seq)
	case paxos.Confirmed:
		b = appendRound(append(b, tagConfirmed), m.Config, m.Ballot)
		return appendUint(b, m.Seq)
	case paxos.CatchUp:
		b = appendUint(append(b, tagCatchUp), uint64(m.From))
		b = appendUint(appendBool(b, m.Learner), uint64(m.SnapshotSlot))
		return appendUint(b, m.SnapshotOffset)
	case paxos.Learned:
		b = appendUint(append(b, tagLearned), uint64(m.First))
		return appendUint(appendValues(b, m.Values), uint64(m.Decided))
	case paxos.Sealed:
		b = appendUint(append(b, tagSealed), uint64(m.Config))
		return appendUint(b, uint64(m.At))
	case paxos.SnapshotChunk:
		b = appendUint(append(b, tagChunk), uint64(m.Slot))
		b = appendUint(appendUint(b, m.Offset), m.Size)
		return appendString(appendUint(b, uint64(m.Sum)), m.Data)
	}
	panic(fmt.Sprintf("codec: unknown message %T", m))
}

func appendLeader(b []byte, m leader.Message) []byte {
	switch m := m.(type) {
	case leader.Heartbeat:
		b = appendBool(append(b, tagHeartbeat), m.Reply)
		b = appendUint(appendUint(b, m.Seq), uint64(m.Sent))
		b = appendBool(appendUint(b, m.Incarnation), m.Healthy)
		b = appendUint(b, uint64(len(m.Groups)))
		for _, r := range m.Groups {
			b = appendUint(appendUint(b, r.Group), uint64(r.Config))
			b = appendBallot(appendBallot(b, r.Own), r.Followed)
			b = appendBool(appendBool(b, r.Content), r.Leading)
		}
		return b
	case leader.Claim:
		b = appendUint(append(b, tagClaim), m.Group)
		return appendBallot(appendUint(b, uint64(m.Config)), m.Ballot)
	case leader.Grant:
		b = appendUint(append(b, tagGrant), m.Group)
		b = appendBallot(appendUint(b, uint64(m.Config)), m.Ballot)
		return append(appendBool(b, m.OK), m.Reason)
	}
	panic(fmt.Sprintf("codec: unknown message %T", m))
}

func appendRound(b []byte, c paxos.ConfigID, bal synod.Ballot) []byte {
	return appendBallot(appendUint(b, uint64(c)), bal)
}

func appendBallot(b []byte, v synod.Ballot) []byte {
	return appendUint(appendUint(b, v.Round), uint64(v.Member))
}

func appendValues(b []byte, vs []synod.Value) []byte {
	b = appendUint(b, uint64(len(vs)))
	for _, v := range vs {
		b = appendString(b, v)
	}
	return b
}

// DecodePacket is the inverse of AppendPacket. The result does not alias b.
func DecodePacket(b []byte) (replica.Packet, error) {
	d := &decoder{b: b}
	p := replica.Packet{Group: paxos.GroupID(d.uint())}
	switch tag := d.byte(); {
	case tag < tagHeartbeat:
		p.Msg = d.paxos(tag)
	case tag < tagForward:
		p.Msg = d.leader(tag)
	case tag == tagForward:
		p.Msg = replica.Forward{ID: d.uint(), Hops: d.byte(), Kind: replica.RequestKind(d.byte()), Payload: d.copied()}
	case tag == tagAnswer:
		p.Msg = replica.Answer{
			ID: d.uint(), Outcome: replica.Outcome(d.byte()), Slot: d.slot(),
			Leader: synod.NodeID(d.uint()), Payload: d.copied(),
		}
	default:
		d.fail()
	}
	if err := d.end(); err != nil {
		return replica.Packet{}, err
	}
	return p, nil
}

func (d *decoder) paxos(tag byte) paxos.Message {
	switch tag {
	case tagPrepare:
		return paxos.Prepare{Config: d.config(), Ballot: d.ballot(), First: d.slot()}
	case tagPromise:
		m := paxos.Promise{Config: d.config(), Ballot: d.ballot(), Decided: d.slot()}
		for range d.count(minVote) {
			m.Votes = append(m.Votes, d.vote())
		}
		return m
	case tagAccept:
		return paxos.Accept{
			Config: d.config(), Ballot: d.ballot(), Base: d.slot(), First: d.slot(),
			Values: d.values(), Decided: d.slot(),
		}
	case tagAccepted:
		return paxos.Accepted{Config: d.config(), Ballot: d.ballot(), UpTo: d.slot()}
	case tagNack:
		return paxos.Nack{Config: d.config(), Ballot: d.ballot(), Promised: d.ballot()}
	case tagConfirm:
		return paxos.Confirm{Config: d.config(), Ballot: d.ballot(), Seq: d.uint()}
	case tagConfirmed:
		return paxos.Confirmed{Config: d.config(), Ballot: d.ballot(), Seq: d.uint()}
	case tagCatchUp:
		return paxos.CatchUp{From: d.slot(), Learner: d.bool(), SnapshotSlot: d.slot(), SnapshotOffset: d.uint()}
	case tagLearned:
		return paxos.Learned{First: d.slot(), Values: d.values(), Decided: d.slot()}
	case tagSealed:
		return paxos.Sealed{Config: d.config(), At: d.slot()}
	case tagChunk:
		return paxos.SnapshotChunk{Slot: d.slot(), Offset: d.uint(), Size: d.uint(), Sum: d.uint32(), Data: d.copied()}
	}
	d.fail()
	return nil
}

func (d *decoder) leader(tag byte) leader.Message {
	switch tag {
	case tagHeartbeat:
		m := leader.Heartbeat{
			Reply: d.bool(), Seq: d.uint(), Sent: leader.Instant(d.below(math.MaxInt64)),
			Incarnation: d.uint(), Healthy: d.bool(),
		}
		const least = 8 // bytes of the shortest report
		if n := d.count(least); n > 0 {
			m.Groups = make([]leader.Report, n)
		}
		for i := range m.Groups {
			m.Groups[i] = leader.Report{
				Group: d.uint(), Config: d.uint32(), Own: d.ballot(), Followed: d.ballot(),
				Content: d.bool(), Leading: d.bool(),
			}
		}
		return m
	case tagClaim:
		return leader.Claim{Group: d.uint(), Config: d.uint32(), Ballot: d.ballot()}
	case tagGrant:
		return leader.Grant{Group: d.uint(), Config: d.uint32(), Ballot: d.ballot(), OK: d.bool(), Reason: d.byte()}
	}
	d.fail()
	return nil
}

func (d *decoder) slot() paxos.Slot       { return paxos.Slot(d.uint()) }
func (d *decoder) config() paxos.ConfigID { return paxos.ConfigID(d.uint32()) }

func (d *decoder) ballot() synod.Ballot {
	return synod.Ballot{Round: d.below(synod.MaxRound), Member: synod.Ordinal(d.below(math.MaxUint16))}
}

func (d *decoder) values() []synod.Value {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	vs := make([]synod.Value, n)
	for i := range vs {
		vs[i] = synod.Value(d.string())
	}
	return vs
}

// copied returns length-prefixed bytes of their own; nil if there are none.
func (d *decoder) copied() []byte {
	b := d.bytes()
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}
