package cli

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// timeout(1) sends every signal twice, which must not cut a polite leave short.
func TestTheSecondSignalEndsTheProcessUnlessItEchoesTheFirst(t *testing.T) {
	synctest.Test(t, testSecondSignal)
}

func testSecondSignal(t *testing.T) {
	code := 0
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &Signals{cancel: cancel, exit: func(c int) { code = c }}
	s.hear(syscall.SIGTERM)
	if sig, ok := SignalOf(ctx); !ok || sig.Sig != syscall.SIGTERM || code != 0 {
		t.Errorf("after the first: context ended by %v, exit code %d; want SIGTERM and none", context.Cause(ctx), code)
	}
	s.hear(syscall.SIGTERM)
	if code != 0 {
		t.Errorf("after its echo: exit code %d; want none", code)
	}
	time.Sleep(echo)
	s.hear(syscall.SIGINT)
	if code != 130 {
		t.Errorf("after the second: exit code %d; want 130", code)
	}
}

func TestSignalsGoToTheCommandWhileItRuns(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &Signals{cancel: cancel, exit: func(c int) { t.Errorf("exit %d", c) }}
	c, ok := s.Divert()
	if !ok {
		t.Fatal("divert refused before any signal")
	}
	for range 100 { // more than anybody listens to: none may block
		s.hear(syscall.SIGINT)
	}
	if got := <-c; got != syscall.SIGINT {
		t.Errorf("the command heard %v", got)
	}
	if ctx.Err() != nil {
		t.Error("a signal for the command ended the context")
	}
	s.Reclaim()
	s.hear(syscall.SIGTERM)
	if sig, ok := SignalOf(ctx); !ok || sig.Sig != syscall.SIGTERM {
		t.Errorf("after the command: context ended by %v; want SIGTERM", context.Cause(ctx))
	}
	if _, ok := s.Divert(); ok {
		t.Error("divert took over after a signal that ended the context")
	}
}
