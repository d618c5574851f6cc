// Package synod is single-decree Paxos, and nothing else: the Synod of
// Lamport's "The Part-Time Parliament" (section 2) and "Paxos Made Simple"
// (section 2.2), written as values and pure functions.
//
// A decree is chosen in two phases. In phase 1 a [Proposer] asks every
// [Acceptor] to promise its [Ballot]; an acceptor answers with the [Vote] it
// cast last. In phase 2 the proposer asks them to vote for a value: the one of
// the highest vote it was told of, or its own wish if it was told of none
// ([Pick]). A value is chosen once a phase 2 quorum has voted for it in one
// ballot; a [Learner] counts.
//
// Every type here is a comparable value and every method a pure function: no
// clock, no goroutine, no I/O, no randomness, no map order. Nothing is
// mutated: a step returns the next state. The zero Acceptor has promised
// nothing. Package paxos maps these acceptors over the slots of a log.
//
// # Invariants
//
//   - Acceptor.Promised never decreases.
//   - Acceptor.Voted.Ballot never decreases and is at most Acceptor.Promised.
//   - One ballot proposes at most one value.
//   - If two ballots choose a value, they choose the same value.
package synod
