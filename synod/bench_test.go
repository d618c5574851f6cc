package synod_test

import (
	"testing"

	"github.com/prytany/prytany/synod"
)

// BenchmarkDecree is one decree from the first promise to the value that is known
// to be chosen, by three acceptors: both phases, or the second alone, as under a
// leader that stays.
func BenchmarkDecree(b *testing.B) {
	q := synod.Majorities(3)
	for _, phases := range []string{"both", "second"} {
		b.Run("phases="+phases, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var acceptors [3]synod.Acceptor
				ballot := synod.Ballot{Round: 1, Member: 1}
				p := synod.Propose(ballot, "value")
				for seat := 0; seat < len(acceptors) && phases == "both"; seat++ {
					next, ok := acceptors[seat].Prepare(ballot)
					if !ok {
						b.Fatal("not promised")
					}
					acceptors[seat] = next
					p = p.Promise(q, seat, ballot, next.Voted)
				}
				vote := p.Proposal
				if phases == "second" {
					vote = synod.Vote{Ballot: ballot, Value: "value"}
				}
				var l synod.Learner
				chosen := false
				for seat := range acceptors {
					next, ok := acceptors[seat].Accept(vote)
					if !ok {
						b.Fatal("not accepted")
					}
					acceptors[seat] = next
					l, chosen = l.Voted(q, seat, vote)
				}
				if !chosen {
					b.Fatal("not chosen")
				}
			}
		})
	}
}
