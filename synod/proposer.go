package synod

import "github.com/prytany/prytany/internal/mutant"

// Pick returns the value that a proposer whose phase 1 quorum reported votes
// must propose: that of the highest vote, or wish if nobody has voted. It is
// the heart of Paxos: if some value has been chosen in a lower ballot, the
// quorums intersect and the highest vote carries it.
func Pick(wish Value, votes []Vote) Value {
	var best Vote
	for _, v := range votes {
		best = Higher(best, v)
	}
	if best.Ballot.IsZero() || mutant.On(mutant.IgnoresVotes) {
		return wish
	}
	return best.Value
}

// Higher returns the vote with the higher ballot, a if they are equal.
func Higher(a, b Vote) Vote {
	low := mutant.On(mutant.LowestVote) && !a.Ballot.IsZero() && !b.Ballot.IsZero()
	if a.Ballot.Less(b.Ballot) != low {
		return b
	}
	return a
}

// A Proposer is one ballot's attempt to get a value chosen. Its memory is
// volatile: after a restart its owner must use a higher ballot. The zero
// Proposer proposes nothing; make one with [Propose].
type Proposer struct {
	Ballot   Ballot
	Wish     Value // proposed if the decree is still free
	Promised Set   // acceptors that have promised Ballot
	Highest  Vote  // the highest vote among their answers
	Ready    bool  // phase 1 is complete: Proposal is what to ask votes for
	Proposal Vote
}

// Propose returns a proposer that is about to send Prepare(b) to all
// acceptors. Its owner may use b only once, ever.
func Propose(b Ballot, wish Value) Proposer { return Proposer{Ballot: b, Wish: wish} }

// Promise takes the answer of the acceptor at seat to Prepare(b), which had
// cast voted before. It returns the next state; once a phase 1 quorum has
// answered, Proposal is fixed for good, so that later answers change nothing.
// Answers to other ballots are ignored.
func (p Proposer) Promise(q Quorums, seat int, b Ballot, voted Vote) Proposer {
	if b != p.Ballot && !mutant.On(mutant.OldPromise) || p.Ready {
		return p
	}
	p.Promised = p.Promised.With(seat)
	p.Highest = Higher(p.Highest, voted)
	if q.Phase1(p.Promised) {
		p.Ready = true
		p.Proposal = Vote{p.Ballot, Pick(p.Wish, []Vote{p.Highest})}
	}
	return p
}
