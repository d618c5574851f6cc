package synod

import (
	"slices"
	"testing"
)

// A book is an acceptor that forgets nothing and computes everything from what it
// has said: the reference for Acceptor.
type book struct {
	promised []Ballot
	votes    []Vote
}

// may reports whether nothing that was said forbids ballot b.
func (k *book) may(b Ballot) bool {
	return !slices.ContainsFunc(k.promised, b.Less) && !slices.ContainsFunc(k.votes, func(v Vote) bool { return b.Less(v.Ballot) })
}

// last is the vote in the highest ballot, of several the latest.
func (k *book) last() (last Vote) {
	for _, v := range k.votes {
		if !v.Ballot.Less(last.Ballot) {
			last = v
		}
	}
	return last
}

// FuzzSynod plays a decree: each three bytes of the input are a step, a ballot and an
// acceptor. The acceptors must do as their books say. What proposers then ask for, and
// only that, is voted for, and all learners must learn one value.
func FuzzSynod(f *testing.F) {
	f.Add([]byte{0, 5, 0, 0, 5, 1, 1, 5, 0, 1, 5, 1, 0, 9, 1, 0, 9, 2, 1, 9, 1, 1, 9, 2}, uint8(3))
	f.Add([]byte{0, 4, 0, 0, 8, 0, 1, 4, 0, 0, 4, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, steps []byte, seats uint8) {
		n := 1 + int(seats)%5
		q := Majorities(n)
		acceptors, books := make([]Acceptor, n), make([]book, n)
		proposers, learners := map[Ballot]Proposer{}, make([]Learner, n)
		var chosen []Value
		for steps = steps[:min(len(steps), 3*48)]; len(steps) >= 3; steps = steps[3:] {
			b := Ballot{Round: uint64(steps[1] / 4), Member: Ordinal(steps[1] % 4)}
			i := int(steps[2]) % n
			a, k := &acceptors[i], &books[i]
			if b.IsZero() {
				continue
			}
			p, ok := proposers[b]
			if !ok {
				p = Propose(b, Value(b.String()))
			}
			if steps[0]%2 == 0 {
				next, ok := a.Prepare(b)
				if ok != k.may(b) || next.Voted != k.last() || !ok && next != *a {
					t.Fatalf("%v prepares %v: %v, %v; its book says %+v", *a, b, next, ok, k)
				}
				if *a = next; ok {
					k.promised = append(k.promised, b)
					p = p.Promise(q, i, b, next.Voted)
				}
			} else if p.Ready {
				next, ok := a.Accept(p.Proposal)
				if ok != k.may(b) || !ok && next != *a {
					t.Fatalf("%v accepts %v: %v, %v; its book says %+v", *a, p.Proposal, next, ok, k)
				}
				if *a = next; ok {
					k.votes = append(k.votes, p.Proposal)
					for j := range learners {
						var learned bool
						if learners[j], learned = learners[j].Voted(q, i, p.Proposal); learned {
							chosen = append(chosen, learners[j].Vote.Value)
						}
					}
				}
			}
			proposers[b] = p
		}
		if len(chosen) > 0 && slices.ContainsFunc(chosen, func(v Value) bool { return v != chosen[0] }) {
			t.Fatalf("chosen: %q", chosen)
		}
	})
}
