package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
)

func lockCommand(a *cli.App) *cobra.Command {
	s := &settings{}
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Measure cycles of acquiring and releasing a lock",
		Long: `Each client has a session and takes a lock and lets go of it, again and again: one operation is both. With fewer --locks
than clients they queue up, and the latency is mostly that of waiting. Fences must rise, and a lock must never have two
holders.`,
		Example: "  prytany bench lock --clients 64\n  prytany bench lock --clients 64 --locks 1",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(cmd); err != nil {
				return err
			}
			b, err := s.connect(cmd.Context(), a, s.ttl)
			if err != nil {
				return err
			}
			return b.measure(cmd.Context(), "lock", newLocks(b))
		},
	}
	s.addFlags(cmd)
	cmd.Flags().IntVar(&s.locks, "locks", 0, "how many locks to use; 0: one for each client")
	cmd.Flags().DurationVar(&s.ttl, "ttl", 15*time.Second, "lease of each client's session")
	return cmd
}

// locks are cycles of acquiring and releasing.
type locks struct {
	*base
	sessions []*client.Session // of each worker
	state    []lockState
	cycles   atomic.Int64
}

// A lockState is what is known of one lock.
type lockState struct {
	holder atomic.Int64  // worker that holds it, from 1; 0: nobody
	fence  atomic.Uint64 // highest seen
}

func newLocks(b *base) *locks {
	n := b.locks
	if n == 0 {
		n = b.settings.clients
	}
	return &locks{base: b, state: make([]lockState, n), sessions: make([]*client.Session, b.settings.clients)}
}

func (l *locks) kinds() []string { return []string{"cycle"} }

// prepare opens the sessions.
func (l *locks) prepare(ctx context.Context) error {
	errs := make([]error, len(l.sessions))
	var all sync.WaitGroup
	for w := range l.sessions {
		all.Go(func() { l.sessions[w], errs[w] = l.client(w).NewSession(ctx, client.SessionConfig{}) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *locks) do(ctx context.Context, worker, _ int) (int, error) {
	i := worker % len(l.state)
	st := &l.state[i]
	h, err := l.client(worker).Acquire(ctx, fmt.Sprintf("%sl%d", l.run, i), client.Options{Session: l.sessions[worker], Note: "prytany bench"})
	if err != nil {
		return 0, err
	}
	if before := st.holder.Swap(int64(worker) + 1); before != 0 && h.Err() == nil {
		l.blame("clients %d and %d held %s at a time", before-1, worker, h.Name())
	}
	if before := st.fence.Swap(h.Fence()); h.Fence() <= before {
		l.blame("%s was granted with fence %d after %d", h.Name(), h.Fence(), before)
	}
	st.holder.Store(0)
	// Whoever was told to stop lets go all the same.
	letGo, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.app.Timeout)
	defer cancel()
	if err := h.Unlock(letGo); err != nil {
		return 0, err
	}
	l.cycles.Add(1)
	return 0, nil
}

// verify has nothing left to look at: each cycle was judged when it was done.
func (l *locks) verify(context.Context) (int64, error) { return l.cycles.Load(), nil }

// clean ends the sessions.
func (l *locks) clean(ctx context.Context) error {
	errs := make([]error, len(l.sessions))
	var all sync.WaitGroup
	for i, s := range l.sessions {
		if s != nil {
			all.Go(func() { errs[i] = s.End(ctx) })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}
