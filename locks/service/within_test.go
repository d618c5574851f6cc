package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

// A narrow is a context that can be narrowed, and notes by how much.
type narrow struct {
	context.Context
	deadline, first time.Time
	shortest        time.Duration
	end             context.CancelFunc
	timer           *time.Timer
}

func newNarrow(t *testing.T, d time.Duration) *narrow {
	ctx, cancel := context.WithCancel(t.Context())
	at := time.Now().Add(d)
	n := &narrow{Context: ctx, deadline: at, first: at, shortest: d, end: cancel}
	n.timer = time.AfterFunc(d, cancel)
	return n
}

func (n *narrow) Narrow(at time.Time) (was time.Time) {
	was = n.deadline
	if at.Before(was) {
		n.set(at)
	}
	return was
}

func (n *narrow) Widen(was time.Time) { n.set(was) }

func (n *narrow) set(at time.Time) {
	n.deadline, n.shortest = at, min(n.shortest, time.Until(at))
	n.timer.Reset(time.Until(at))
}

// A context that can be narrowed is while the service works with it, as far as a
// context of the service's own would be, and is as it was when the answer is there.
func TestNarrower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		id := open(t, s, "")
		for name, tc := range map[string]struct {
			most time.Duration
			do   func(context.Context) error
		}{
			"put": {10 * time.Second, func(ctx context.Context) error {
				_, _, _, err := s.Put(ctx, Put{Key: "a", Value: []byte("v")})
				return err
			}},
			"acquire": {10 * time.Second, func(ctx context.Context) error {
				_, _, err := s.Acquire(ctx, Acquire{Name: "l", Session: id})
				return err
			}},
			"get lock":  {time.Second, func(ctx context.Context) error { _, _, err := s.GetLock(ctx, "l", Read{}); return err }},
			"keepalive": {10 * time.Second, func(ctx context.Context) error { _, _, err := s.KeepAlive(ctx, KeepAlive{ID: id}); return err }},
		} {
			if name == "get lock" {
				l.order(&locks.AcquireCommand{Lock: "l", Session: id, Slots: 1})
			}
			n := newNarrow(t, 15*time.Second)
			if err := tc.do(n); err != nil || n.shortest != tc.most || !n.deadline.Equal(n.first) || n.Err() != nil {
				t.Errorf("%s: %v, narrowed to %v, in the end by %v: %v", name, err, n.shortest, n.first.Sub(n.deadline), n.Err())
			}
			n.end()
		}
		l.propose = func(int, func()) error { return &paxos.NotLeaderError{} }
		n := newNarrow(t, 15*time.Second)
		defer n.end()
		began := time.Now()
		_, _, _, err := s.Put(n, Put{Key: "a"})
		e, _ := errors.AsType[*locks.Error](err)
		if took := time.Since(began); e == nil || e.Code != locks.NoLeader || took < 10*time.Second || took > 11*time.Second {
			t.Errorf("without a leader: %v after %v", err, took)
		}
	})
}
