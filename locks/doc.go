// Package locks is what the replicated log is for: sessions, locks with
// strict queues and fences, and config entries. The [Machine] is the
// replicated state, the [Service] the way to it.
//
// # Invariants
//
//   - The state is a function of the commands applied. No clock and no dice
//     have a part in it, and equal states have equal snapshots.
//   - A lock has at most one holder, whose session lives. A session ends in one
//     command together with its grants, its places in queues and its ephemeral
//     entries, and whoever is next gets the locks in that command.
//   - A fence is the revision of the command that made the grant. No lock has
//     the same fence twice, not even after it was forgotten; a later grant of
//     any lock has a higher fence. Several locks granted by one command, as
//     when their holder's session ends, share the number.
//   - A queue is served in the order of the log. Who was told "not acquired"
//     is never granted the lock by that request later.
//   - A command with a request id has one effect, however often it is
//     replicated, and one answer while that is remembered.
//   - A lease ends by a command alone, and only if the leader that proposed it
//     is the newest in the log and saw the newest renewal in the log.
//
// # Goroutines
//
// The Machine is driven by the one goroutine that owns the log; readers take
// its read lock for short sections. The Service has a goroutine for each
// waiting request without a session, which keeps the session it made alive,
// and for each request that is taken back after its caller has gone.
package locks
