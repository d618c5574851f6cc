// Package replica runs a node's members of all its groups: the [Host] drives
// each [paxos.Group] and the node's one [leader.Node], and carries out their
// effects in the only safe order: persist, then send, then apply.
//
// # One loop
//
// A Host has no goroutine of its own. [Host.Run] is called by one, and that
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
// ([*paxos.NotLeaderError], [paxos.ErrOverloaded]); or unknown
// ([paxos.ErrUnknownOutcome]), which must never be taken for a failure. A
// command is given to one leader once. If it was given a slot and another
// value won that slot, it certainly did not happen, because it was never
// proposed in another slot. Repeating it is up to the caller.
package replica
