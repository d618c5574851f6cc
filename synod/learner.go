package synod

import "github.com/prytany/prytany/internal/mutant"

// A Learner counts the votes of one decree in one ballot at a time, the
// highest it has heard of. Votes of different ballots never add up.
type Learner struct {
	Vote   Vote // what is being counted
	Voters Set  // acceptors that have cast it
}

// Voted takes the news that the acceptor at seat has cast v and returns the
// next state, and whether v.Value is known to be chosen now.
func (l Learner) Voted(q Quorums, seat int, v Vote) (next Learner, chosen bool) {
	switch c := v.Ballot.Compare(l.Vote.Ballot); {
	case c > 0 && mutant.On(mutant.MixesBallots):
		l = Learner{Vote: v, Voters: l.Voters.With(seat)}
	case c > 0:
		l = Learner{Vote: v, Voters: Set(0).With(seat)}
	case c == 0:
		l.Voters = l.Voters.With(seat)
	default:
		return l, false
	}
	return l, q.Phase2(l.Voters)
}
