// Package sim runs whole clusters in one goroutine on virtual time, from one
// seed: the same code that serves in production (the host with its groups,
// the leader machine, the lock machine, the codec), with dice for a network,
// for disks, for clocks and for clients. It is for tests.
//
// # To repeat a failure
//
// A failing run prints its seed, the invariant that it broke, the last lines of
// its trace, and this command, which repeats it step by step and prints all:
//
//	go test ./internal/sim -run TestSeeds -seed=N -v
//
// The seed stands for everything: the size of the cluster, the faults, the
// constants of the code under test (see [Swarm]) and every throw of the dice
// (see [Run]). It means the same only as long as the code is the same; a fixed
// bug is kept as a named run in the tests' table of regressions. More seeds:
//
//	go test ./internal/sim -run TestSeeds -seeds=10000 -from=1 -timeout=0
//
// # What is modelled
//
// Network, per direction of each path: loss, repetition, order or none, delay
// with heavy tails, cuts in one direction or both, partitions of all shapes,
// flapping. Processes: crashes between any two steps of a turn (before, during
// and after a write, between two messages, between two commands), power loss,
// restarts in a storm, pauses. Disks: slow writes, writes that fail and may yet
// have happened, trimmed votes that come back. Clocks: of every process its
// own, with its own rate. The failure detector: lies. Clients: repeat requests
// at other nodes under the same id, give up, wait in queues, keep sessions
// alive, are cut off from nodes. Clusters that begin with one voter or three and
// grow by learners.
//
// # What is always checked
//
//   - I1: at most one value per slot is chosen, counted from durable votes alone.
//   - I2: durable promises and votes never fall.
//   - I3: one ballot has one proposer and one value per slot.
//   - I4: every proposal is legal for some quorum of promises of its ballot.
//   - I5: nothing is sent that the sender's synced disk does not justify.
//   - I6: nodes apply the same commands with the same results to the same states.
//   - I7: they apply what is chosen, without gaps, and never go back.
//   - I8: a linearizable read sees everything that was acknowledged before it.
//   - I10: a lock has one holder whose session is alive, and its fences rise.
//   - I11: a request has one effect and one answer, however often it is made.
//   - L4, L7: no lease ends before its time; what is over stays over.
//
// At the end everything heals, and within a bound every request must have its
// answer, all nodes must agree, every acknowledged change must be there, and
// the history that the clients saw must be linearizable. In some runs one fault
// that must be survived stays; in some there is none from the beginning, and
// then there must be exactly one election and no unknown outcome.
//
// # What is not
//
// Real sockets, files and clocks; goroutines and data races; a disk that loses
// or damages what it has synced; a node that lies; leases that let a leader
// answer reads on its own.
package sim
