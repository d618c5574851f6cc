package synod

import (
	"cmp"
	"fmt"

	"github.com/prytany/prytany/internal/mutant"
)

// A NodeID is a process with an identity for all time: minted at random when
// its data directory is created, kept there, never used again after the
// directory is lost. 0 is nobody.
type NodeID uint64

// String is the form used in logs and names: 16 hexadecimal digits.
func (n NodeID) String() string { return fmt.Sprintf("%016x", uint64(n)) }

// An Ordinal numbers the members of one group in the order in which they
// joined it, from 1. It is never given to another node, so that a [Ballot]
// has one owner for all time. 0 is nobody.
type Ordinal uint16

// A Ballot is an attempt to lead: a round, and the member that made the
// attempt. Ballots are totally ordered and no two members share one ("Paxos
// Made Simple", section 2.2). The zero Ballot is below all others.
type Ballot struct {
	Round  uint64 // below 1<<48
	Member Ordinal
}

// MaxRound is the highest round a Ballot may carry.
const MaxRound = 1<<48 - 1

// Compare orders ballots by round, then by member: -1, 0 or +1.
func (b Ballot) Compare(o Ballot) int {
	if mutant.On(mutant.NoMember) {
		return cmp.Compare(b.Round, o.Round)
	}
	return cmp.Or(cmp.Compare(b.Round, o.Round), cmp.Compare(b.Member, o.Member))
}

// Less reports whether b is below o.
func (b Ballot) Less(o Ballot) bool { return b.Compare(o) < 0 }

// IsZero reports whether b is the zero Ballot.
func (b Ballot) IsZero() bool { return b == Ballot{} }

// Next returns the lowest ballot of member m that is above b.
func (b Ballot) Next(m Ordinal) Ballot {
	if b.Member < m {
		return Ballot{b.Round, m}
	}
	return Ballot{b.Round + 1, m}
}

// Pack returns b as one number with the same order: round in the high 48
// bits, member in the low 16.
func (b Ballot) Pack() uint64 { return b.Round<<16 | uint64(b.Member) }

// Unpack is the inverse of [Ballot.Pack].
func Unpack(n uint64) Ballot { return Ballot{n >> 16, Ordinal(n & 0xffff)} }

// String is "round.member", or "0" for the zero Ballot.
func (b Ballot) String() string {
	if b.IsZero() {
		return "0"
	}
	return fmt.Sprintf("%d.%d", b.Round, b.Member)
}

// MaxBallot returns the higher of a and b.
func MaxBallot(a, b Ballot) Ballot {
	if a.Less(b) {
		return b
	}
	return a
}
