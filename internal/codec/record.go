package codec

import (
	"encoding/binary"
	"math"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// recordHead is version byte and checksum.
const recordHead = 5

// AppendRecord appends content, with version and checksum before it, to dst.
func AppendRecord(dst, content []byte) []byte {
	dst = append(dst, Version)
	dst = binary.LittleEndian.AppendUint32(dst, Checksum(content))
	return append(dst, content...)
}

// AppendVoteRecord appends the record whose content AppendVote would append.
func AppendVoteRecord(dst []byte, v paxos.SlotVote) []byte {
	at := len(dst)
	dst = appendVote(append(dst, Version, 0, 0, 0, 0), v)
	binary.LittleEndian.PutUint32(dst[at+1:], Checksum(dst[at+recordHead:]))
	return dst
}

// OpenRecord checks a record and returns its content, aliasing b. Errors:
// ErrCorrupt, ErrVersion.
func OpenRecord(b []byte) ([]byte, error) {
	if len(b) < recordHead {
		return nil, ErrCorrupt
	}
	content := b[recordHead:]
	if Checksum(content) != binary.LittleEndian.Uint32(b[1:]) && !mutant.On(mutant.NoRecordSum) {
		return nil, ErrCorrupt
	}
	if b[0] != Version {
		return nil, ErrVersion
	}
	return content, nil
}

// AppendHeader appends the content of a header's record. A floor is at its end, if
// there is one; earlier versions know of none.
func AppendHeader(b []byte, h paxos.Header) []byte {
	b = AppendMembership(b, h.Membership)
	b = appendBallot(b, h.Promised)
	b = appendUint(appendUint(b, uint64(h.Decided)), uint64(h.Snapshot))
	b = appendUint(b, uint64(h.Trimmed))
	if h.Floor > 0 {
		b = appendUint(b, uint64(h.Floor))
	}
	return b
}

// DecodeHeader is the inverse of AppendHeader.
func DecodeHeader(b []byte) (paxos.Header, error) {
	d := &decoder{b: b}
	h := paxos.Header{
		Membership: d.membership(), Promised: d.ballot(),
		Decided: d.slot(), Snapshot: d.slot(), Trimmed: d.slot(),
	}
	if len(d.b) > 0 {
		if h.Floor = d.config(); h.Floor == 0 {
			d.fail()
		}
	}
	if err := d.end(); err != nil {
		return paxos.Header{}, err
	}
	return h, nil
}

// AppendMembership appends m.
func AppendMembership(b []byte, m paxos.Membership) []byte {
	b = appendUint(appendUint(b, uint64(m.ID)), uint64(m.Start))
	b = appendUint(appendUint(b, uint64(m.Leader)), uint64(m.Next))
	b = appendUint(b, uint64(len(m.Voters)))
	for _, v := range m.Voters {
		b = appendUint(appendUint(b, uint64(v.Node)), uint64(v.Ordinal))
		b = appendString(appendString(b, v.Name), v.PeerAddr)
	}
	return b
}

// DecodeMembership is the inverse of AppendMembership.
func DecodeMembership(b []byte) (paxos.Membership, error) {
	d := &decoder{b: b}
	m := d.membership()
	if err := d.end(); err != nil {
		return paxos.Membership{}, err
	}
	return m, nil
}

func (d *decoder) membership() paxos.Membership {
	m := paxos.Membership{ID: d.config(), Start: d.slot(), Leader: d.ordinal(), Next: d.ordinal()}
	const least = 4 // bytes of the shortest member
	for range d.count(least) {
		m.Voters = append(m.Voters, paxos.Member{
			Node: synod.NodeID(d.uint()), Ordinal: d.ordinal(), Name: d.string(), PeerAddr: d.string(),
		})
	}
	return m
}

func (d *decoder) ordinal() synod.Ordinal { return synod.Ordinal(d.below(math.MaxUint16)) }

// minVote is the length of the shortest vote.
const minVote = 6

// AppendVote appends the content of a vote's record.
func AppendVote(b []byte, v paxos.SlotVote) []byte { return appendVote(b, v) }

func appendVote(b []byte, v paxos.SlotVote) []byte {
	b = appendUint(appendUint(b, uint64(v.Slot)), uint64(v.Config))
	b = appendBallot(appendBool(b, v.Chosen), v.Vote.Ballot)
	return appendString(b, v.Vote.Value)
}

// DecodeVote is the inverse of AppendVote.
func DecodeVote(b []byte) (paxos.SlotVote, error) {
	d := &decoder{b: b}
	v := d.vote()
	if err := d.end(); err != nil {
		return paxos.SlotVote{}, err
	}
	return v, nil
}

func (d *decoder) vote() paxos.SlotVote {
	return paxos.SlotVote{
		Slot: d.slot(), Config: d.config(), Chosen: d.bool(),
		Vote: synod.Vote{Ballot: d.ballot(), Value: synod.Value(d.string())},
	}
}
