// Package leader decides who should propose. Paxos needs that decision only
// to make progress, never to be safe ("Paxos Made Simple", section 2.4), so
// everything here may be wrong and nothing is lost but time; reads by a lease
// excepted, see below.
//
// A [Node] is a deterministic machine: facts, messages and instants in,
// messages and [Advice] out. It holds no clock, no goroutine, no I/O; its
// randomness comes from Config.Seed. It is not safe for concurrent use.
//
// # The rule
//
// Nodes that share a group exchange heartbeats. A link is up while replies
// come back, so that a link broken in one direction counts as broken. Heartbeats
// and replies say, for each group, which ballot the node follows and
// whether it is content with that (the "happy" of OmniPaxos, EuroSys 2023):
//
//   - A leader is content while a quorum of neighbours follows no higher
//     ballot, or while a neighbour is content with a higher one.
//   - A follower is content while the leader itself says, over a direct link,
//     that it is content; or for a moment after it has promised to a new one
//     or entered a new configuration, or after its leader has handed over.
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
// A candidate whose own promise waits for a slow disk may come late: others have
// supported and elected somebody else, with a lower ballot. While the owner of the
// ballot that a node follows leads, the node does not follow one that merely
// campaigns, unless its acceptor has promised; and a candidate that hears of such a
// leader, from itself or from a neighbour content with it, is advised to withdraw.
// Its promise stays, and its acceptor votes for nobody: until the leader, which hears
// of it, begins a ballot of its own above that one (see Node.mend), or the next
// election, which comes at once if a quorum is missing without.
//
// Candidates come one after the other: first who holds most of the log, then who
// is nearest to a quorum, then in an order that each group has for itself. A node whose disk or event loop is ill,
// or that drains, neither leads nor claims. One that keeps up badly with the gossip
// does not claim, after "Lifeguard" (Dadgar, Phillips, Currey, 2017): what it thinks
// of others says more about itself. Should nobody lead for five times
// Config.Silence, it does, for then it is the gossip that is broken.
//
// # Many groups
//
// What a node says to another one is a stream: a message says what has changed, the
// rest stands (see voice). A group that this node is content with, and that waits for
// nothing, sleeps: no beat looks at it until something happens that the rule depends
// on (see Node.wake). So idle groups cost nothing, on the wire or in a beat. The rule
// knows nothing of this: it is evaluated with each beat wherever its outcome could
// have changed.
//
// # Leases
//
// An acceptor that hears in a request the leader it follows say that it leads
// refuses claims and prepares of others for Config.Lease. It damps, so that lost
// heartbeats do not depose a leader that is well. A lapsed lease deposes nobody.
//
// That the leader leads is said once, and stands. Each later request renews the lease
// that has nothing else to say, or says all of it: over a link that is up, with
// nothing missing before it, and not overtaken. When the acceptor stands by the leader
// no longer, what the last such request gave lasts to its end.
//
// It is also what [Node.Leased] rests on, as in Gray and Cheriton's "Leases"
// (1989) and the leader leases of CockroachDB, whose store liveness inspired this
// one: the binding and its renewal are one message here. The acceptor says to which
// ballot it is bound, and its answer that the request has renewed all that it has said
// to be bound to by then, and for how long; the leader counts that
// from when it sent the request, on its own clock, and shorter by twice
// Config.Drift and 10 ms (a fifteenth of a lease below 150 ms). While a quorum is
// bound, its own acceptor among them, no other node can complete phase 1, so nothing
// is chosen that this one does not know of.
//
// That holds because an acceptor lets go for these reasons only:
//
//   - Its lease ends, by its own clock, after the leader's view of it.
//   - The leader's process is gone: another incarnation answers.
//   - The leader has handed over. It ends its own view first and for ever: there is
//     no way back that could find a lease still running (etcd-io/raft#99).
//   - The acceptor restarts. What it gave is not on its disk; so it helps nobody for
//     Config.Mute. A release ends that sooner. It must be of the ballot followed,
//     which is at least the durable promise, and acceptors say that they are bound
//     only to ballots promised durably: so the release is of the highest ballot that
//     the process before can have been bound to.
//   - The configuration ends. A leader has no lease from before its first Accept of a
//     stop-sign (Facts.Sealed), and none in a configuration in which it has
//     inherited one. For the next configuration other acceptors may suffice.
//   - The group is dropped. It is bound again, to nobody, when it comes back too soon.
//   - It votes for a leader with a higher ballot. That one has completed phase 1.
//
// A connection that breaks lets nobody go. That a leader hears from its quorum is no
// lease (etcd-io/raft#166): what counts is what acceptors have said they refuse.
// When it stops leading a leader forgets whom it counted, and counts answers to later
// heartbeats only. Leases would be sound without that, since no acceptor goes back
// on its word; it makes the view simple to argue about.
//
// The assumption is that over any time of the length of a lease the rates of two
// nodes' clocks differ by less than Config.Drift. No agreement on the time is needed.
// It is checked: answers carry the clock, and a peer whose rate differs by more
// than half of that, after the uncertainty of the round trips, ends all leases of
// the groups it shares with us. A virtual machine that is stopped together with its
// clock is beyond any check of ours.
//
// # Hand-over
//
// [Node.Release] gives the lead to another voter without an election: the token frees
// the acceptors for that one, which begins phase 1 at once. Others stay content for
// as long as this takes. A heir that is unfit or dead leaves things as if the leader
// had died: the ordinary rule elects.
//
// A lead moves to a better place only so. Preferred leaders by election are how a
// node with a flapping network took the lead back again and again (etcd#13665):
// [Advice].HandOver needs a leader that has led for a minute, and another voter that
// has been nearer to a quorum, by a fifth and by 5 ms, for Config.MoveAfter.
//
// # Invariants
//
//   - The ballot followed in a configuration never decreases and is never
//     below the promise.
//   - Who hears its leader lead follows no ballot without phase 1 but by a promise.
//   - A node leads no ballot but its own, and advises none that is not above
//     everything it and its live neighbours follow.
//   - A node that is not a voter never claims.
//   - While Leased says true on one node, by its clock, no other node completes
//     phase 1 with a higher ballot, and nothing is chosen in a later configuration.
//   - A ballot that is released is never led with again.
//   - No step depends on anything but its arguments, the state and the seed.
package leader
