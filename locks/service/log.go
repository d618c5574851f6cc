package service

import "context"

// Log is the replicated log as the Service needs it. Errors are those of
// package paxos: *NotLeaderError, ErrOverloaded and ErrStopped mean that nothing
// happened, ErrUnknownOutcome that the command may still take effect. After
// ErrStopped nothing will: nobody asks again.
type Log interface {
	// Propose replicates cmd and returns what Machine.Apply returned for it,
	// and its slot.
	Propose(ctx context.Context, cmd []byte) (result []byte, slot uint64, err error)
	// Barrier returns once the local Machine has applied everything that was
	// chosen before the call: reading the Machine then is linearizable.
	Barrier(ctx context.Context) error
	// Ask has the leader's Machine answer req under fresh proof of leadership.
	Ask(ctx context.Context, req []byte) (answer []byte, err error)
}
