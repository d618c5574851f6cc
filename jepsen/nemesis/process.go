//go:build linux

package nemesis

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/fault"
	"github.com/prytany/prytany/jepsen/world"
)

// start starts the nodes of list that do not run.
func start(list []*world.Node) end {
	return func(context.Context) error {
		var errs []error
		for _, n := range list {
			if !n.Running() {
				errs = append(errs, n.Start())
			}
		}
		return errors.Join(errs...)
	}
}

func killed(ctx context.Context, s *strike) (end, error) {
	for _, n := range s.nodes {
		if err := n.Signal(syscall.SIGKILL); err != nil {
			return nil, err
		}
	}
	for _, n := range s.nodes {
		if err := n.End(ctx, syscall.SIGKILL); err != nil {
			return nil, err
		}
	}
	return start(s.nodes), nil
}

func stopped(ctx context.Context, s *strike) (end, error) {
	for _, n := range s.nodes {
		if err := n.End(ctx, syscall.SIGTERM); err != nil {
			return nil, err
		}
	}
	return start(s.nodes), nil
}

func storm(ctx context.Context, s *strike) (end, error) {
	nodes := s.nodes
	return repeat(ctx, s, 150*time.Millisecond, 900*time.Millisecond, func(ctx context.Context) error {
		ctx = context.WithoutCancel(ctx) // a kill that began is seen through
		n := nodes[s.dice.IntN(len(nodes))]
		if err := n.End(ctx, syscall.SIGKILL); err != nil {
			return err
		}
		if s.dice.IntN(3) == 0 {
			return nil // it stays down until it is hit again, or to the end
		}
		return start(nodes)(ctx)
	}, start(nodes))
}

// repeat does something again and again, with pauses between least and most, until
// the fault ends; then it does last.
func repeat(ctx context.Context, s *strike, least, most time.Duration, do func(context.Context) error, last end) (end, error) {
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		for running.Err() == nil {
			if err := do(running); err != nil && running.Err() == nil {
				done <- err
				return
			}
			sleep(running, least+time.Duration(s.dice.Int64N(int64(most-least))))
		}
		done <- nil
	}()
	return func(ctx context.Context) error {
		cancel()
		return errors.Join(<-done, last(ctx))
	}, nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func rolling(ctx context.Context, s *strike) (end, error) {
	for _, i := range s.dice.Perm(len(s.nodes)) {
		n := s.nodes[i]
		if err := n.End(ctx, syscall.SIGTERM); err != nil {
			return nil, err
		}
		if err := n.Start(); err != nil {
			return nil, err
		}
		if err := n.Await(ctx); err != nil {
			return nil, err
		}
	}
	return start(s.nodes), nil
}

func transfer(ctx context.Context, s *strike) (end, error) {
	return repeat(ctx, s, 300*time.Millisecond, 900*time.Millisecond, func(ctx context.Context) error {
		leader := s.world.Leader(ctx)
		if leader == nil {
			return nil
		}
		voters := s.world.Voters()
		to := voters[s.dice.IntN(len(voters))]
		body, err := json.Marshal(api.HandOver{To: to.Name})
		if err != nil {
			return err
		}
		_, _, _ = leader.Ask(ctx, http.MethodPost, "/v1/leader:transfer", string(body)) // it may be refused
		return nil
	}, func(context.Context) error { return nil })
}

func paused(_ context.Context, s *strike) (end, error) {
	resume := func(context.Context) error {
		var errs []error
		for _, n := range s.nodes {
			errs = append(errs, n.Signal(syscall.SIGCONT))
		}
		return errors.Join(errs...)
	}
	for _, n := range s.nodes {
		if err := n.Signal(syscall.SIGSTOP); err != nil {
			return resume, err
		}
	}
	return resume, nil
}

func pauseClient(ctx context.Context, s *strike) (end, error) {
	name, resume, err := s.clients.Pause(ctx)
	if err != nil {
		return nil, err
	}
	s.whom = []string{name}
	return func(context.Context) error { return resume() }, nil
}

func starve(_ context.Context, s *strike) (end, error) {
	const quota, period = 3 * time.Millisecond, 100 * time.Millisecond
	n := s.nodes[0]
	limit, err := fault.MakeThrottle(s.world.Prefix+"-"+n.Name, quota, period)
	if err != nil {
		return nil, err
	}
	pid := n.PID()
	release := func(context.Context) error { return limit.Release(pid) }
	return release, limit.Take(pid)
}
