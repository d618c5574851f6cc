package paxos

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"strings"

	"github.com/prytany/prytany/synod"
)

// Noop is the value that fills a hole.
const Noop synod.Value = ""

// A Kind is the kind of a chosen value. It is the value's first byte.
type Kind uint8

// The kinds of values.
const (
	KindNoop  Kind = 0
	KindBatch Kind = 1
	KindStop  Kind = 2
)

// A Decoded value.
type Decoded struct {
	Kind     Kind
	Origin   synod.Ballot // KindBatch: the ballot it was first proposed in
	Commands [][]byte     // KindBatch
	Next     Membership   // KindStop
}

// ErrBadValue says that bytes are not a value that this package encoded.
var ErrBadValue = errors.New("paxos: malformed value")

// EncodeBatch returns the value of a batch of commands first proposed in
// ballot origin. With its slot, origin makes every batch distinct.
func EncodeBatch(origin synod.Ballot, cmds [][]byte) synod.Value {
	n := 1 + sizeUvarint(origin.Round) + sizeUvarint(uint64(origin.Member)) + sizeUvarint(uint64(len(cmds)))
	for _, c := range cmds {
		n += sizeUvarint(uint64(len(c))) + len(c)
	}
	var b strings.Builder // which becomes a string without being copied
	b.Grow(n)
	b.WriteByte(byte(KindBatch))
	var room [binary.MaxVarintLen64]byte
	number := func(n uint64) { b.Write(binary.AppendUvarint(room[:0], n)) }
	number(origin.Round)
	number(uint64(origin.Member))
	number(uint64(len(cmds)))
	for _, c := range cmds {
		number(uint64(len(c)))
		b.Write(c)
	}
	return synod.Value(b.String())
}

// sizeUvarint is how many bytes [binary.AppendUvarint] appends.
func sizeUvarint(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

// EncodeStop returns the stop-sign that seals a configuration; next follows.
// next.Start is not encoded: it is the slot in which the stop-sign is chosen.
func EncodeStop(next Membership) synod.Value {
	b := []byte{byte(KindStop)}
	b = binary.AppendUvarint(b, uint64(next.ID))
	b = binary.AppendUvarint(b, uint64(next.Leader))
	b = binary.AppendUvarint(b, uint64(next.Next))
	b = binary.AppendUvarint(b, uint64(len(next.Voters)))
	for _, v := range next.Voters {
		b = binary.AppendUvarint(b, uint64(v.Node))
		b = binary.AppendUvarint(b, uint64(v.Ordinal))
		b = binary.AppendUvarint(b, uint64(len(v.Name)))
		b = append(b, v.Name...)
		b = binary.AppendUvarint(b, uint64(len(v.PeerAddr)))
		b = append(b, v.PeerAddr...)
	}
	return synod.Value(b)
}

// Decode is the inverse of EncodeBatch and EncodeStop. It never panics;
// commands alias v's bytes copied once. Every value has one encoding only, and
// anything else is ErrBadValue, as is a stop-sign to a configuration that
// cannot be one.
func Decode(v synod.Value) (Decoded, error) {
	if v == Noop {
		return Decoded{Kind: KindNoop}, nil
	}
	r := reader{b: []byte(v[1:])}
	d := Decoded{Kind: Kind(v[0])}
	switch d.Kind {
	case KindBatch:
		d.Origin = synod.Ballot{Round: r.uint(synod.MaxRound), Member: synod.Ordinal(r.uint(math.MaxUint16))}
		d.Commands = make([][]byte, 0, r.uint(uint64(len(r.b))))
		for range cap(d.Commands) {
			d.Commands = append(d.Commands, r.bytes())
		}
	case KindStop:
		d.Next = r.membership()
		r.bad = r.bad || d.Next.ID == 0 || d.Next.Check() != nil
	default:
		return Decoded{}, ErrBadValue
	}
	if r.bad || len(r.b) > 0 {
		return Decoded{}, ErrBadValue
	}
	return d, nil
}

// A reader takes fields off the front of b. After the first one that is not
// there it is bad, and everything it returns is zero.
type reader struct {
	b   []byte
	bad bool
}

// uint takes a number of at most limit in its shortest encoding.
func (r *reader) uint(limit uint64) uint64 {
	n, size := binary.Uvarint(r.b)
	if r.bad || size <= 0 || n > limit || size > 1 && r.b[size-1] == 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

// bytes takes a length and as many bytes.
func (r *reader) bytes() []byte {
	n := r.uint(uint64(len(r.b)))
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) membership() Membership {
	m := Membership{
		ID:     ConfigID(r.uint(math.MaxUint32)),
		Leader: synod.Ordinal(r.uint(math.MaxUint16)),
		Next:   synod.Ordinal(r.uint(math.MaxUint16)),
	}
	m.Voters = make([]Member, r.uint(synod.MaxSeats))
	for i := range m.Voters {
		m.Voters[i] = Member{
			Node:     synod.NodeID(r.uint(math.MaxUint64)),
			Ordinal:  synod.Ordinal(r.uint(math.MaxUint16)),
			Name:     string(r.bytes()),
			PeerAddr: string(r.bytes()),
		}
	}
	return m
}
