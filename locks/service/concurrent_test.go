package service

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

// TestConcurrentUse has many callers do everything at once, over a log that
// fails now and then, for as long as they feel like. Afterwards nothing is left
// of them but what they were granted.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		fate := rand.New(rand.NewPCG(5, 6)) // used by the log, one call at a time
		l.propose = func(_ int, apply func()) error {
			switch fate.IntN(12) {
			case 0:
				return &paxos.NotLeaderError{}
			case 1:
				return paxos.ErrUnknownOutcome
			case 2:
				apply()
				return paxos.ErrUnknownOutcome
			case 3:
				return paxos.ErrOverloaded
			}
			return nil
		}
		l.delay = func() time.Duration { return 3 * time.Millisecond }
		stop := make(chan struct{})
		var lead, all sync.WaitGroup
		lead.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					l.lead()
				}
			}
		})
		for i := range 20 {
			all.Go(func() { (&caller{s: s, r: rand.New(rand.NewPCG(uint64(i), 7))}).run(t, 60) })
		}
		all.Wait()
		time.Sleep(time.Minute) // what was abandoned is taken back or runs out
		close(stop)
		lead.Wait()
		synctest.Wait()
		if n := l.m.Counts(); n.Waiters != 0 {
			t.Errorf("%d wait in queues", n.Waiters)
		}
		if n := subscriptions(l.m); n != 0 || len(s.abandoned) != 0 || s.renewals.state() != [2]int{} {
			t.Errorf("left over: %d subscriptions, %d abandoned, %v", n, len(s.abandoned), s.renewals.state())
		}
	})
}

// A caller does whatever comes to its mind.
type caller struct {
	s       *Service
	r       *rand.Rand
	session string
	grant   locks.Grant
}

func (c *caller) run(t *testing.T, steps int) {
	for range steps {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+c.r.IntN(4000))*time.Millisecond)
		err := c.step(ctx)
		cancel()
		if e, ok := errors.AsType[*locks.Error](err); err != nil && (!ok || e.Code == locks.Internal || e.Code == locks.Invalid) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v", err)
		}
	}
}

func (c *caller) step(ctx context.Context) error {
	name := fmt.Sprint("l", c.r.IntN(3)) // l0 is a lock, l1 a semaphore, l2 an election
	a := Acquire{Name: name, Session: c.session, Wait: time.Duration(c.r.IntN(3)) * time.Second}
	if c.r.IntN(2) == 0 || c.session == "" {
		a.Session, a.TTL = "", 3*time.Second
	}
	switch name {
	case "l0":
		a.Mode = locks.Mode(c.r.IntN(2))
	case "l1":
		a.Slots = 3
	case "l2":
		a.Campaign, a.Value = true, fmt.Sprint(c.r.IntN(2))
	}
	switch c.r.IntN(9) {
	case 0:
		x, _, err := c.s.CreateSession(ctx, CreateSession{TTL: 5 * time.Second})
		c.session = x.ID
		return err
	case 1, 2, 3:
		g, _, err := c.s.Acquire(ctx, a)
		if err == nil {
			c.grant = g
		}
		return err
	case 4:
		if c.grant.Fence == 0 {
			return nil
		}
		_, err := c.s.Release(ctx, Release{Name: c.grant.Name, Fence: c.grant.Fence, Session: c.grant.Session})
		return err
	case 5:
		if c.session == "" {
			return nil
		}
		_, _, err := c.s.KeepAlive(ctx, KeepAlive{ID: c.session, Hold: time.Minute})
		return err
	case 6:
		return c.watch(ctx)
	case 7:
		_, err := c.s.AskYield(ctx, AskYield{Name: name, Within: time.Second})
		return err
	}
	_, _, err := c.s.GetLock(ctx, name, Read{Wait: time.Second, HasNot: true})
	return err
}

func (c *caller) watch(ctx context.Context) error {
	w, _, err := c.s.Watch(ctx, Watch{Prefix: "l"})
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		if _, _, err := w.Next(ctx, time.Second); err != nil {
			return err
		}
	}
}
