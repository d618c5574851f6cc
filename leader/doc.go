// Package leader decides who should propose. Paxos needs that decision only
// to make progress, never to be safe ("Paxos Made Simple", section 2.4), so
// everything here may be wrong and nothing is lost but time.
//
// A [Node] is a deterministic machine: facts, messages and instants in,
// messages and [Advice] out. It holds no clock, no goroutine, no I/O; its
// randomness comes from Config.Seed. It is not safe for concurrent use.
//
// # The rule
//
// Nodes that share a group exchange heartbeats. A link is up while replies
// come back, so that a link broken in one direction counts as broken. Every
// heartbeat and reply says, for each group, which ballot the node follows and
// whether it is content with that:
//
//   - A leader is content while a quorum of neighbours follows no higher
//     ballot, or while a neighbour is content with a higher one.
//   - A follower is content while the leader itself says, over a direct link,
//     that it is content; or for a moment after it has promised to a new one
//     or entered a new configuration.
//   - A node may claim the lead only if it is not content, reaches a quorum,
//     and no neighbour is content. So a leader that still has its quorum is
//     left alone by a node that merely cannot hear it.
//
// A claim is a question before phase 1 and costs no disk write. It names the
// next ballot above all that neighbours report; a node supports one claim at
// a time, for a moment that repeated claims do not prolong, and a claimant
// that fails waits for a random time. A quorum of support becomes Advice. Only
// ballots told by their owner over a direct link are followed: to pass on that
// somebody leads is what makes leaderships chase each other along a chain.
//
// # Leases
//
// An acceptor that hears the leader it follows say that it leads refuses
// claims and prepares of others for Config.Lease. It damps, so that lost
// heartbeats do not depose a leader that is well.
//
// It is no ground for answering reads from memory. For that the leader must
// know which acceptors are bound: they would have to echo its ballot and a
// counter that changes whenever it stops leading, expiry would have to be
// counted from when the leader sent, less clock drift, and an acceptor that
// restarts would have to keep silent for a whole lease, because what it
// granted is not on its disk.
//
// # Invariants
//
//   - The ballot followed in a configuration never decreases and is never
//     below the promise.
//   - A node leads no ballot but its own, and advises none that is not above
//     everything it and its live neighbours follow.
//   - A node that is not a voter never claims.
//   - No step depends on anything but its arguments, the state and the seed.
package leader
