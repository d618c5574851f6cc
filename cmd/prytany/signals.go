package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// errSignal is the cause of a context that a signal ended.
type errSignal struct{ sig syscall.Signal }

func (e errSignal) Error() string { return fmt.Sprintf("interrupted (%s)", e.sig) }

// code is the exit code by which shells know the signal.
func (e errSignal) code() int { return 128 + int(e.sig) }

// signalOf returns the signal that ended ctx, if one did.
func signalOf(ctx context.Context) (e errSignal, ok bool) {
	return e, errors.As(context.Cause(ctx), &e)
}

// signals decides who hears SIGINT, SIGTERM and SIGHUP. The first ends the
// context, so that the command leaves politely, and the second the process.
// While a command runs under a lock, all go to it.
type signals struct {
	c    chan os.Signal
	exit func(code int)

	mu     sync.Mutex
	cancel context.CancelCauseFunc
	heard  bool
	child  chan os.Signal // nil unless a command runs
}

// listenForSignals returns a context that ends with the first signal.
func listenForSignals(ctx context.Context, exit func(code int)) (context.Context, *signals) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &signals{c: make(chan os.Signal, 16), exit: exit, cancel: cancel}
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

func (s *signals) hear(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := errSignal{sig.(syscall.Signal)}
	switch {
	case s.child != nil:
		select {
		case s.child <- sig:
		default: // so many unheard ones that another makes no difference
		}
	case !s.heard:
		s.heard = true
		s.cancel(e)
	default:
		s.exit(e.code())
	}
}

// divert sends the signals that come from now on to the returned channel. It
// does nothing if one came already: then the context has ended.
func (s *signals) divert() (<-chan os.Signal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard {
		return nil, false
	}
	s.child = make(chan os.Signal, 16)
	return s.child, true
}

// reclaim ends what divert began.
func (s *signals) reclaim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.child = nil
}

// stop lets signals have their usual effect.
func (s *signals) stop() { signal.Stop(s.c) }
