package synod_test

import (
	"fmt"

	"github.com/prytany/prytany/synod"
)

// A later proposer must adopt a value that may already have been chosen.
func ExamplePick() {
	old := synod.Vote{Ballot: synod.Ballot{Round: 1, Member: 1}, Value: "alice holds the lock"}
	fmt.Println(synod.Pick("bob holds the lock", []synod.Vote{{}, old}))
	fmt.Println(synod.Pick("bob holds the lock", []synod.Vote{{}, {}}))
	// Output:
	// alice holds the lock
	// bob holds the lock
}

// Three acceptors decide, one of them being unreachable.
func Example() {
	quorums := synod.Majorities(3)
	acceptors := make([]synod.Acceptor, 3)
	ballot := synod.Ballot{}.Next(1)

	proposer := synod.Propose(ballot, "alice holds the lock")
	for seat := range 2 { // phase 1
		voted := acceptors[seat].Voted
		acceptors[seat], _ = acceptors[seat].Prepare(ballot)
		proposer = proposer.Promise(quorums, seat, ballot, voted)
	}

	var learner synod.Learner
	for seat := range 2 { // phase 2
		var chosen bool
		acceptors[seat], _ = acceptors[seat].Accept(proposer.Proposal)
		learner, chosen = learner.Voted(quorums, seat, proposer.Proposal)
		fmt.Println(seat, chosen)
	}
	fmt.Println(learner.Vote.Value)
	// Output:
	// 0 false
	// 1 true
	// alice holds the lock
}

// An acceptor that has promised a ballot refuses all lower ones.
func ExampleAcceptor_Accept() {
	var a synod.Acceptor
	a, _ = a.Prepare(synod.Ballot{Round: 2, Member: 1})
	_, ok := a.Accept(synod.Vote{Ballot: synod.Ballot{Round: 1, Member: 2}, Value: "too late"})
	fmt.Println(ok)
	// Output: false
}

// Quorums may differ by phase as long as they intersect.
func ExampleQuorums_Check() {
	fmt.Println(synod.Quorums{Seats: 4, Q1: 3, Q2: 2}.Check())
	fmt.Println(synod.Quorums{Seats: 4, Q1: 2, Q2: 2}.Check())
	// Output:
	// <nil>
	// synod: a quorum of 2 and one of 2 among 4 acceptors may not intersect
}
