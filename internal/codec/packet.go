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
	tagClaim     = 33 // 32 was a heartbeat that said everything each time
	tagGrant     = 34
	tagRelease   = 35
	tagHeartbeat = 36
	tagClaims    = 37
	tagGrants    = 38
	tagForward   = 64
	tagAnswer    = 65
	tagSaved     = 96
)

// firstLeader is the first tag of the messages between leader machines.
const firstLeader = 32

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
		dst = appendUint(appendUint(append(dst, tagForward), m.ID), m.To)
		dst = append(dst, m.Hops, byte(m.Kind))
		return appendString(dst, m.Payload)
	case replica.Answer:
		dst = appendUint(append(dst, tagAnswer), m.ID)
		dst = appendUint(append(dst, byte(m.Outcome)), uint64(m.Slot))
		return appendString(appendUint(dst, uint64(m.Leader)), m.Payload)
	case Saved:
		return appendUint(append(dst, tagSaved), m.Position)
	}
	panic(fmt.Sprintf("codec: unknown message %T", p.Msg))
}

// Room is about how many bytes AppendPacket appends: rather too many than too few for
// messages that carry values or data, and for others as much as they usually take.
func Room(p replica.Packet) int {
	const usual, each, vote = 96, 8, 40 // bytes of most packets, of a length, and of a vote's other fields
	n := usual
	values := func(vs []synod.Value) {
		for _, v := range vs {
			n += len(v) + each
		}
	}
	switch m := p.Msg.(type) {
	case paxos.Promise:
		for _, v := range m.Votes {
			n += len(v.Vote.Value) + vote
		}
	case paxos.Accept:
		values(m.Values)
	case paxos.Learned:
		values(m.Values)
	case paxos.SnapshotChunk:
		n += len(m.Data)
	case replica.Forward:
		n += len(m.Payload)
	case replica.Answer:
		n += len(m.Payload)
	}
	return n
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
		b = appendUint(appendUint(b, uint64(m.Clock)), uint64(m.Lease))
		b = appendBool(appendUint(b, m.Incarnation), m.Healthy)
		b = appendUint(appendUint(appendUint(b, m.Have), m.Since), m.Version)
		b = appendBool(appendBool(b, m.Whole), m.Taken)
		b = appendUint(b, uint64(len(m.Groups)))
		for _, r := range m.Groups {
			b = appendReport(b, r)
		}
		return b
	case leader.Claim:
		return appendClaim(append(b, tagClaim), m)
	case leader.Claims:
		b = appendUint(append(b, tagClaims), uint64(len(m.All)))
		for _, c := range m.All {
			b = appendClaim(b, c)
		}
		return b
	case leader.Grant:
		return appendGrant(append(b, tagGrant), m)
	case leader.Grants:
		b = appendUint(append(b, tagGrants), uint64(len(m.All)))
		for _, g := range m.All {
			b = appendGrant(b, g)
		}
		return b
	case leader.Release:
		b = appendUint(append(b, tagRelease), m.Group)
		b = appendBallot(appendUint(b, uint64(m.Config)), m.Ballot)
		return appendUint(b, uint64(m.To))
	}
	panic(fmt.Sprintf("codec: unknown message %T", m))
}

func appendReport(b []byte, r leader.Report) []byte {
	b = appendBool(appendUint(appendUint(b, r.Group), uint64(r.Config)), r.Asks)
	b = appendBallot(appendBallot(b, r.Own), r.Followed)
	b = appendBool(appendBool(b, r.Content), r.Leading)
	return appendUint(appendUint(appendBallot(b, r.Bound), r.Decided), uint64(r.Distance))
}

func appendClaim(b []byte, m leader.Claim) []byte {
	return appendBallot(appendUint(appendUint(b, m.Group), uint64(m.Config)), m.Ballot)
}

func appendGrant(b []byte, m leader.Grant) []byte {
	b = appendBallot(appendUint(appendUint(b, m.Group), uint64(m.Config)), m.Ballot)
	return append(appendBool(b, m.OK), m.Reason)
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
	case tag < firstLeader:
		p.Msg = d.paxos(tag)
	case tag < tagForward:
		p.Msg = d.leader(tag)
	case tag == tagForward:
		p.Msg = replica.Forward{ID: d.uint(), To: d.uint(), Hops: d.byte(), Kind: replica.RequestKind(d.byte()), Payload: d.copied()}
	case tag == tagAnswer:
		p.Msg = replica.Answer{
			ID: d.uint(), Outcome: replica.Outcome(d.byte()), Slot: d.slot(),
			Leader: synod.NodeID(d.uint()), Payload: d.copied(),
		}
	case tag == tagSaved:
		p.Msg = Saved{Position: d.uint()}
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
			Reply: d.bool(), Seq: d.uint(), Sent: leader.Instant(d.int64()),
			Clock: leader.Instant(d.int64()), Lease: d.int64(),
			Incarnation: d.uint(), Healthy: d.bool(),
			Have: d.uint(), Since: d.uint(), Version: d.uint(), Whole: d.bool(), Taken: d.bool(),
		}
		const least = 13 // bytes of the shortest report
		m.Groups = list(d, least, d.report)
		return m
	case tagClaim:
		return d.claim()
	case tagClaims:
		return leader.Claims{All: list(d, 4, d.claim)}
	case tagGrant:
		return d.grant()
	case tagGrants:
		return leader.Grants{All: list(d, 6, d.grant)}
	case tagRelease:
		return leader.Release{Group: d.uint(), Config: d.uint32(), Ballot: d.ballot(), To: synod.NodeID(d.uint())}
	}
	d.fail()
	return nil
}

// list decodes a number and so many of what one decodes, each of at least so many
// bytes; nil if there are none.
func list[V any](d *decoder, least int, one func() V) []V {
	n := d.count(least)
	if n == 0 {
		return nil
	}
	vs := make([]V, n)
	for i := range vs {
		vs[i] = one()
	}
	return vs
}

func (d *decoder) report() leader.Report {
	return leader.Report{
		Group: d.uint(), Config: d.uint32(), Asks: d.bool(), Own: d.ballot(), Followed: d.ballot(),
		Content: d.bool(), Leading: d.bool(),
		Bound: d.ballot(), Decided: d.uint(), Distance: d.int64(),
	}
}

func (d *decoder) claim() leader.Claim {
	return leader.Claim{Group: d.uint(), Config: d.uint32(), Ballot: d.ballot()}
}

func (d *decoder) grant() leader.Grant {
	return leader.Grant{Group: d.uint(), Config: d.uint32(), Ballot: d.ballot(), OK: d.bool(), Reason: d.byte()}
}

func (d *decoder) int64() int64           { return int64(d.below(math.MaxInt64)) }
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
