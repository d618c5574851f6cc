// Package locks is what the replicated log is for: sessions, locks with strict
// queues and fences, elections, config entries, and the history of what happened
// to them. The [Machine] is the replicated state; package locks/service has the
// way to it.
//
// # Invariants
//
//   - The state is a function of the commands applied. No clock and no dice
//     have a part in it, and equal states have equal snapshots. A snapshot that
//     no commands make is not restored.
//   - A lock has one exclusive holder, or any number of shared ones, or as many
//     exclusive ones as it has slots; the number of slots is fixed while it is
//     held, waited for or under lock-delay. A holder's session lives, and has one
//     grant of a lock. A session ends in one command together with its grants,
//     its places in queues and its ephemeral entries, and whoever is next gets
//     the locks in that command.
//   - A fence is the revision of the command that made the grant. No session has
//     a lock twice with the same fence, not even after the lock was forgotten; a
//     later grant of any lock has a higher fence. What one command grants shares
//     the number: several locks, when their holder's session ends or all are
//     asked for together, and several holders of one lock, when readers or slots
//     follow one another.
//   - Who begins to share keeps the fence; who ends it, being the only one, gets
//     a new one, and the old one is dead.
//   - A queue is served in the order of the log: a reader behind a writer waits,
//     and comes along once that has gone. Only a transfer of leadership and the
//     upgrade of an only reader are out of turn. Who was told "not acquired" is
//     never granted the lock by that request later. Nobody both holds a lock and
//     waits for it.
//   - An election is a lock whose holder campaigned, and publishes a value. Its
//     term is the fence. Plain holders and candidates stand in one queue.
//   - A request to yield is about the grants from before it, and is over when the
//     last of them is. To ask again gives them no more time.
//   - A lock-delay keeps everybody out, whatever the lock has room for.
//   - A transaction and a request for several locks do all or nothing.
//   - A command with a request id has one effect, however often it is
//     replicated, and one answer while that is remembered.
//   - A lease ends by a command alone, and only if the leader that proposed it
//     is the newest in the log and saw the newest renewal in the log. Lock-delays
//     and times to yield end by commands too, each by one that names the revision
//     since which it ran.
//   - Every change of holders, entries and sessions is an event of the command's
//     revision, in the order in which it was done. Events are kept in the state,
//     so that any node tells the same, up to a bound; what was dropped is known
//     by its revision. An event never changes.
//
// # Goroutines
//
// The Machine is driven by the one goroutine that owns the log; readers take
// its read lock for short sections, and may keep the entries and changes that
// they got.
package locks
