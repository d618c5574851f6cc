// Package paxos is one member of one replicated log, as a deterministic
// machine: Multi-Paxos from the acceptors of package synod.
//
// See [Group].
package paxos
