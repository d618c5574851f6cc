package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// A SignalError is the cause of a context that a signal ended.
type SignalError struct{ Sig syscall.Signal }

func (e SignalError) Error() string { return fmt.Sprintf("interrupted (%s)", e.Sig) }

// Code is the exit code by which shells know the signal.
func (e SignalError) Code() int { return 128 + int(e.Sig) }

// SignalOf returns the signal that ended ctx, if one did.
func SignalOf(ctx context.Context) (e SignalError, ok bool) {
	return e, errors.As(context.Cause(ctx), &e)
}

// echo is for how long after the first signal others are taken for the same:
// timeout(1) sends each twice, once to its command and once to the group.
const echo = 300 * time.Millisecond

// Signals decides who hears SIGINT, SIGTERM and SIGHUP. The first ends the
// context, so that the command leaves politely, and the second the process.
// While a command runs under a lock, all go to it.
type Signals struct {
	c    chan os.Signal
	exit func(code int)

	mu     sync.Mutex
	cancel context.CancelCauseFunc
	heard  bool
	since  time.Time      // of the first, with heard
	child  chan os.Signal // nil unless a command runs
}

// ListenForSignals returns a context that ends with the first signal.
func ListenForSignals(ctx context.Context, exit func(code int)) (context.Context, *Signals) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &Signals{c: make(chan os.Signal, 16), exit: exit, cancel: cancel}
	signal.Notify(s.c, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(s.c, syscall.SIGHUP)
	}
	go func() {
		for sig := range s.c {
			s.hear(sig)
		}
	}()
	return ctx, s
}

func (s *Signals) hear(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := SignalError{sig.(syscall.Signal)}
	switch {
	case s.child != nil:
		select {
		case s.child <- sig:
		default: // so many unheard ones that another makes no difference
		}
	case !s.heard:
		s.heard, s.since = true, time.Now()
		s.cancel(e)
	case time.Since(s.since) < echo:
	default:
		s.exit(e.Code())
	}
}

// Divert sends the signals that come from now on to the returned channel. It
// does nothing if one came already: then the context has ended.
func (s *Signals) Divert() (<-chan os.Signal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard {
		return nil, false
	}
	s.child = make(chan os.Signal, 16)
	return s.child, true
}

// Reclaim ends what divert began.
func (s *Signals) Reclaim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.child = nil
}

// Stop lets signals have their usual effect.
func (s *Signals) Stop() { signal.Stop(s.c) }
