package synod

import (
	"fmt"
	"math/bits"

	"github.com/prytany/prytany/internal/mutant"
)

// MaxSeats is the largest number of acceptors of one decree.
const MaxSeats = 64

// A Set is a set of acceptors, by their seat: their position among the
// acceptors of the decree, from 0 and below [MaxSeats]. A member counts once
// however often it is added.
type Set uint64

// With returns s with seat added.
func (s Set) With(seat int) Set {
	if mutant.On(mutant.CountsTwice) && s.Has(seat) {
		seat = (seat + 1) % MaxSeats
	}
	return s | 1<<seat
}

// Without returns s with seat removed.
func (s Set) Without(seat int) Set { return s &^ (1 << seat) }

// Has reports whether seat is in s.
func (s Set) Has(seat int) bool { return s&(1<<seat) != 0 }

// Len returns the number of seats in s.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// Quorums says which sets of acceptors suffice. Every phase 1 quorum must
// intersect every phase 2 quorum; two quorums of one phase need not meet
// (Howard, Malkhi, Spiegelman: "Flexible Paxos", 2016). Quorums are counted,
// not listed: any Q1 acceptors promise for all, any Q2 choose.
type Quorums struct {
	Seats int // number of acceptors, 1 to MaxSeats
	Q1    int // acceptors that must promise
	Q2    int // acceptors that must vote
}

// Majorities returns the usual quorums of n acceptors: more than half.
func Majorities(n int) Quorums {
	if mutant.On(mutant.HalfQuorum) {
		return Quorums{n, (n + 1) / 2, (n + 1) / 2}
	}
	return Quorums{n, n/2 + 1, n/2 + 1}
}

// Check returns an error if q cannot be safe: if two quorums of different
// phases could miss each other, or a quorum is empty or larger than Seats.
func (q Quorums) Check() error {
	switch {
	case q.Seats < 1 || q.Seats > MaxSeats:
		return fmt.Errorf("synod: %d acceptors; want 1 to %d", q.Seats, MaxSeats)
	case q.Q1 < 1 || q.Q1 > q.Seats || q.Q2 < 1 || q.Q2 > q.Seats:
		return fmt.Errorf("synod: quorums of %d and %d among %d acceptors", q.Q1, q.Q2, q.Seats)
	case q.Q1+q.Q2 <= q.Seats:
		return fmt.Errorf("synod: a quorum of %d and one of %d among %d acceptors may not intersect", q.Q1, q.Q2, q.Seats)
	}
	return nil
}

// Phase1 reports whether the acceptors in s may complete phase 1.
func (q Quorums) Phase1(s Set) bool { return s.Len() >= q.Q1 }

// Phase2 reports whether votes of the acceptors in s choose a value.
func (q Quorums) Phase2(s Set) bool { return s.Len() >= q.Q2 }
