// Package client is the Go client of Prytany: sessions that keep themselves
// alive, locks that tell in time when they are lost, elections, config entries
// and values that follow them, transactions, and streams of everything that
// happens. It depends on the standard library only.
//
//	c, err := client.New(client.Config{Endpoints: []string{"http://127.0.0.1:7480"}})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	err = c.WithLock(ctx, "billing/nightly", func(ctx context.Context, h *client.Held) error {
//		return store.Write(ctx, rows, h.Fence()) // the store refuses smaller fences
//	})
//
// # What a lock is worth
//
// The server gives a lock to nobody else before the session's TTL has passed
// since the last renewal it acknowledged. The client counts that TTL from
// before it sent the renewal, takes a margin for clocks that run at different
// rates, and ends [Held.Context] then: before the server may grant the lock to
// another, also when no packet gets through and when the machine slept. Work
// that goes on all the same, or a write that is on its way already, can only be
// stopped by what it writes to: pass [Held.Fence] along and have the resource
// refuse smaller ones.
//
// While the server can be reached, the session also hears at once when a lock
// was taken from it, by force or after a request to yield: see [LostError] and
// [Held.Yield].
//
// # Sessions
//
// [Client.Lock] and its like share one session, and exclude goroutines of the
// client from each other. Whoever shares a lock, takes a slot of a semaphore or
// campaigns in an election has a session of its own: the server grants a lock
// to a session once, and each of them has to be counted for itself. All of these
// are ended by [Client.Close].
//
// # Streams
//
// [Client.Watch], [Election.Observe] and [Value] go on by themselves when a
// connection breaks or a node falls silent, at the next node and where they
// were. They end with the context, or when the loop does, and leave nothing
// running.
//
// # Retries
//
// Requests go to any endpoint and on to the next if one does not answer.
// Every change carries an Idempotency-Key, so it may be repeated without
// being done twice. When the time is over, the error says what is known:
// [ErrUnavailable] means nothing happened, [ErrUnknownOutcome] that the change
// may have happened or may still.
package client
