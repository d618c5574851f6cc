// Package replica runs a node's members of all its groups: the [Host] drives
// each [paxos.Group] and the node's one [leader.Node], and carries out their
// effects in the only safe order: persist, then send, then apply.
//
// # One loop
//
// A Host has no goroutine of its own, but one for each snapshot that Run has
// written beside everything else. [Host.Run] is called by one, and that
// one owns every group, every machine, the leader machine, the storage and all
// waiting requests. Everything else may be called from anywhere: it puts
// something into a bounded queue and rings. The loop takes what has arrived
// for all groups, lets each group act once, and makes one durable write for
// all of them. The loop never waits for a caller or a peer; it does wait for
// the disk.
//
// [Host.Poll] is one such step without goroutine, clock or randomness: given
// the same calls in the same order it does the same. Run adds a timer to it; a
// simulator has no Run and calls Poll itself. A Host is driven by one of the
// two, never both.
//
// # Requests
//
// A request ends exactly once, in one of three ways: done; certainly not done
// ([*paxos.NotLeaderError], [paxos.ErrOverloaded], [paxos.ErrStopped]); or
// unknown ([paxos.ErrUnknownOutcome]), which must never be taken for a failure. A
// command is given to one leader at a time. If another value won the slot that it
// was given, or if that leader refuses it, it certainly did not happen: then the
// node that it was submitted to keeps it and gives it to the next leader, until
// RetryAfter is over. A command that was given away and has no answer is never
// repeated here; that is up to the caller, who alone can make it harmless.
//
// # Reads
//
// A read takes effect at a moment between its arrival and its answer at which
// nobody but the leader asked can have led. Proof is a round to a quorum, begun
// after it arrived; or with Config.LeaseReads the lease, looked at after it
// arrived, and no stop-sign under way.
//
// # Gathering
//
// A slot, and a round for reads, cost the same whatever is in them. So commands that do
// not fill a slot wait while one is under way, and reads while a round, or at a
// follower a question to the leader, is: what ends it lets go all that have come
// meanwhile. Nothing waits at the second tick after which it has not ended.
//
// # Many groups
//
// A group without anything to do sleeps: it takes no part in ticks, sends nothing and
// writes nothing. Whatever arrives for it wakes it, and so do its machine's deadline
// ([Sleeper]), a change of its leader, and at the leader a voter that can be reached
// again. A leader sleeps only when all voters in reach have what it has proposed, a
// follower only when it knows of nothing that it lacks.
//
// [Host.Create] and [Host.Drop] make and end groups while the host runs. What was
// dropped stays dropped. A member that was removed leaves by [Host.Leave], see
// [paxos.Status].Relieved for when it may; it has forgotten what it voted for, and if
// it comes back, by [Host.Learn], it votes in later configurations only.
//
// # Hand-over
//
// [Host.HandOver] holds proposals until the heir has voted for everything, gives
// the ballot up for ever, lease first, and has the leader machine send the token
// that lets acceptors promise to the heir at once. What waited is sent to it.
package replica
