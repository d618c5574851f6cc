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
// With -long each run has ten simulated minutes, in which faults are rare and may last for
// minutes (see [plan.Long]). A failing seed is made smaller and kept by
//
//	go test ./internal/sim -run TestMinimise -minimise -seed=N
//
// # Stories, sequences, a quiet day
//
// Beside the seeds there are tests of what the leader rule is for.
// TestStories has an established leader crash, stand still, lose a link, all of
// them or the disk, hand over and more, and bounds what that may cost: how many
// changes of leader, and the longest time without an acknowledged write.
// -sim.stories=N runs more seeds of each. TestChurn makes random sequences of
// faults, leaves the links as they are, and wants a calm leader wherever a node
// reaches a quorum; -sim.churn=N runs more. TestQuiet is a day in which nothing is
// wrong and no leader may change, or five minutes with -short; -sim.quiet says otherwise.
//
// # Many groups
//
// TestSides has groups beside main created, moved and dropped. TestIdleGroupsSendNothing,
// TestCrashWakesOnlyItsGroups and the tests of sleeping groups have 200 of them: idle
// ones add no packet, the crash of a node costs one election for each group that it led
// and none for another, and after minutes of sleep a group serves at once.
// TestVotersChangeUnderEveryFault has each kind of fault strike alone while voters change;
// TestOneOfTwoReconfigurationsWins asks for different ones at once;
// TestSnapshotsAreCutOff has transfers of snapshots end half-way. TestLostDisks and
// TestRollbacks have disks vanish, and come back as they were. The last five count what
// they have seen.
//
// # What is modelled
//
// The kinds of faults are those of [plan.Fault]; each strikes alone in
// TestEveryKindStrikes. Network, per direction of each path: loss, repetition, order or
// none, delay with heavy tails, queues, stalls, damage, cuts in one direction or both or of
// one plane, partitions of all shapes, flapping, connections that break. Processes: crashes
// between any two steps of a turn (before, during and after a write, between two messages,
// between two commands), power loss, restarts in a storm, pauses, sleep, little processor.
// Disks: slow writes, writes that fail and may yet have happened or are there in part, no
// room, trimmed votes that come back, bits that turn, loss for good, an older copy in the place
// of a disk. Identities: whoever has lost its disk, or finds it damaged, comes back as somebody
// else; whoever has an old one is found out by its peers (package roster) and quarantined.
// Clocks: of every process its own, with its own rate, which may change, and in a few runs
// breaks its promise. The failure detector: lies of all kinds. Clients: repeat requests
// at other nodes under the same id, at once or much later, give up, wait in queues, keep sessions
// alive, are cut off from nodes. Leaders: hand over to whom they like or to anybody,
// now and then in half of the runs. Voters: removed, replaced, added. Clusters that begin with one voter or three and
// grow by learners. Groups beside main: created and dropped by nodes that look at different
// times, with members that come and go, each with an oracle of its own; what the
// steward of a real node does by the directory, the run does by what it knows.
//
// What clients do, by seed all or a few of it (see [workload.Features]): locks
// that are exclusive or shared, with downgrades and upgrades; semaphores; several
// locks at once; locks without a session; requests to yield, and locks broken by
// force; lock-delays, and sessions that nobody ends; elections; fence registers;
// transactions and guarded changes. Watchers of prefixes go from node to node,
// stay away, begin anew from an old revision, and come too late because events
// were dropped. Nodes gather renewals, and hold keepalives back until there is
// news of the session.
//
// Beside these clients there are, in most runs, workers (package work). They use
// the cluster as package client does, each with a clock of its own, and while they
// believe that they hold a lock they change resources beyond the cluster (package
// effect). Their messages, to nodes and to resources, may take longer than a lease
// lasts. They crash with what they hold, and stand still: at any moment, or just
// between looking at the clock and acting.
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
//   - I8: a linearizable read sees everything that was acknowledged before it; in
//     half of the runs leaders answer reads by their lease.
//   - I9: while a ballot completes phase 1, or a value is chosen in it, no process
//     believes by its own clock that it holds the lease of a lower one, whether
//     it moves or stands still; this, L4 and L5 as long as clocks keep their promise.
//   - I10: every answer is that of a second account of the machine (package
//     audit): a lock has one writer, or readers, or as many holders as it has
//     slots, whose sessions are alive; nobody overtakes a queue; fences rise.
//   - I11: a request has one effect and one answer, however often it is made.
//   - I12: streams tell what the log did, all of it, once and in order, or say
//     from which revision on they could.
//   - L3: at a resource that looks at fences, what is accepted never falls, each
//     fence is used by the session alone that it was granted to, whoever holds the
//     lock is not refused, and no update that was accepted is lost. This does not
//     depend on clocks.
//   - L5: the beliefs of two clients that they hold what only one can hold never
//     overlap, of readers and writers neither, nor more than there are slots; and
//     none outlasts its lease. A belief begins when the client hears of the grant,
//     and ends by its clock as package client reckons.
//   - L4, L7: no lease, lock-delay or time to yield ends before its time, or
//     before what a leader has told is left of it; what is over stays over.
//
// At the end everything heals, and within a bound every request must have its
// answer, all nodes must agree with each other and the account, every
// acknowledged change must be there, and what nobody keeps alive must end (L6).
// The history that the clients saw must be linearizable, by a model for each
// kind of object. In some runs one fault that must be survived stays; in some
// there is none from the beginning, and then there must be exactly one election
// and no unknown outcome.
//
// # What is counted
//
// What clients do is not what they believe: one that stands still between check
// and act, or whose message is late, acts when it may not any more. The
// statistics of a campaign (Work) say how often: updates sent (Outside) or
// come (Late) after the belief had ended, how many of them met another holder
// (Meeting), and were refused by their fence (Refused). Beside each resource
// stands one that does not look at fences and gets the same updates: what it Lost
// is what fences are for. Taken counts beliefs in a lock that was broken by force,
// by those who had not heard of it.
//
// # Rooms
//
// Packages below this one: plan says what a run is like, faults breaks it, agenda keeps what
// is to happen, network the links, disk the disks, machine the machines of nodes; oracle and
// audit judge; workload, work and effect are clients, workers and what these change; shrink
// makes a run that fails smaller; dice is chance.
//
// # What is not
//
// Real sockets, files and clocks; goroutines and data races, so that snapshots are
// written in the turn and not beside the loop; the bytes of a real log; a disk that loses
// a part of what it has synced, unnoticed; a node that lies; versions that differ; wall
// clocks, which nothing here can see. TestLeasesRestOnSomething takes away what
// leases rest on, the rates of clocks and the silence after a restart, and wants I9 to
// notice.
package sim
