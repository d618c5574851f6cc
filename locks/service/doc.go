// Package service answers requests about the locks of one group, on any of its
// nodes: it validates, has the group decide what is to change, and reads the
// local [locks.Machine] when that is new enough. It keeps nothing that a node
// may not lose.
//
// # Invariants
//
//   - A change is one command with a request id, however often it is sent. The
//     answer says that it happened, that it did not, or that nobody knows.
//   - A read is of one state, which holds everything that was acknowledged
//     before the read began, unless it is asked to be stale.
//   - Whoever was told when a lease ends was told too early rather than too
//     late: the time is the leader's, counted from before the question was sent.
//   - A stream tells every event once and in order, on whatever node it is
//     resumed, or says that events are missing.
//   - What waits costs nothing while nothing happens to it: it is woken by what
//     it waits for. Only leases are renewed by the clock.
//
// # Goroutines
//
// Every method runs on its caller's goroutine and ends with its context or its
// own time limit. Beside these there are
//
//   - at most two that ask the leader to begin leases anew, for all who wait for
//     that; they end when nobody does;
//   - one for each waiting acquire without a session, which keeps the session
//     made for it alive and ends with it;
//   - one for each such acquire that is taken back after its caller has gone, at
//     most 256, for at most two request timeouts.
package service
