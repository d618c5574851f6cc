// Package paxos is one member of one replicated log, as a deterministic
// machine: Multi-Paxos ("Paxos Made Simple", section 3) from the acceptors of
// package synod, one per slot, that share one promise.
//
// A [Group] changes only itself. What the world must do is appended to
// [Effects], whose order is the safety rule: persist, then send, then apply.
// There is no clock here, no goroutine, no I/O, no randomness and no dependence
// on map order: the same calls give the same effects. Who should lead is
// decided elsewhere ([Group.Campaign]); Paxos is safe whoever tries.
//
// # How it goes
//
// Phase 1 is done once per leadership, for all slots above the watermark at
// once ([Prepare], [Promise]); what others have voted for is proposed anew, and
// holes become no-ops. Then every proposal takes one round trip and one write
// ([Accept], [Accepted]), pipelined. The watermark, up to which everything is
// chosen, rides on Accepts. Whoever has missed something asks any member
// ([CatchUp], [Learned]), or gets a snapshot. A configuration ends with a
// stop-sign, a value like any other; ballots begin afresh after it.
//
// # Invariants
//
//   - A promise never goes back within a configuration, and is durable before
//     anybody hears of it. A vote is never above the promise.
//   - A ballot proposes at most one value per slot: it is promised durably by
//     its owner before it proposes, and a restart needs a higher one.
//   - A Promise lists every vote above the sender's watermark, and a proposer
//     proposes nothing up to the highest watermark it was promised under.
//   - Accepted counts votes in that very ballot. To know what is chosen is not
//     to have voted.
//   - A slot is decided from a watermark only if the own vote is of the very
//     ballot that the watermark came with, or the value was learned as chosen.
//   - Applied slots have no gaps, and hold the chosen values.
//   - Nothing above a chosen stop-sign is chosen in the configuration that it
//     ends; messages of different configurations never meet.
//   - Ballot (1, Leader) of a configuration other than the first belongs to its
//     designated leader, who does without phase 1; nobody else uses round 1.
package paxos
