package synod

import "github.com/prytany/prytany/internal/mutant"

// A Value is what gets chosen. It is opaque here, immutable and comparable.
type Value string

// A Vote is an accepted proposal. The zero Vote means "has not voted".
type Vote struct {
	Ballot Ballot
	Value  Value
}

// An Acceptor is one node's memory of one decree. The zero value is ready.
//
// Both of its methods follow one durability rule: if ok, the caller must make
// next durable before anybody else can learn of it. If not ok, next equals a.
type Acceptor struct {
	Promised Ballot // takes part in no ballot below this one
	Voted    Vote   // the last vote cast
}

// Prepare answers a phase 1 request ("Paxos Made Simple", phase 1b). An equal
// ballot is promised again, because the first answer may have been lost.
func (a Acceptor) Prepare(b Ballot) (next Acceptor, ok bool) {
	if b.Less(a.Promised) {
		return a, false
	}
	if !mutant.On(mutant.NoPromise) {
		a.Promised = b
	}
	return a, true
}

// Accept answers a phase 2 request ("Paxos Made Simple", phase 2b). To vote in
// a ballot above the promise is to promise it too.
func (a Acceptor) Accept(v Vote) (next Acceptor, ok bool) {
	if v.Ballot.Less(a.Promised) && !mutant.On(mutant.VotesBelow) {
		return a, false
	}
	return Acceptor{Promised: v.Ballot, Voted: v}, true
}
