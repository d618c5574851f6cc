package prytanytest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/client/prytanytest"
)

// shortTTL is the TTL of sessions whose end a test waits for, and that may end before.
const shortTTL = time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func lock(t *testing.T, c *client.Client, name string) *client.Held {
	t.Helper()
	h, err := c.Lock(within(t), name)
	if err != nil {
		t.Fatalf("lock %s: %v", name, err)
	}
	return h
}

// eventually polls until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// waiters returns how many places there are in the queue of a lock.
func waiters(t *testing.T, c *client.Client, name string) int {
	t.Helper()
	rep, err := c.Call(within(t), client.Call{Path: "locks/" + client.EscapeName(name)})
	if err != nil {
		t.Fatal(err)
	}
	var l struct{ Waiters []any }
	if err := json.Unmarshal(rep.Body, &l); err != nil {
		t.Fatal(err)
	}
	return len(l.Waiters)
}

func TestLockIsHandedOverInOrder(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	first := cluster.Client(client.Config{})
	held := lock(t, first, "a//b/../%2F#? ü")
	const n = 4
	order := make(chan int, n)
	var last uint64
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		c := cluster.Client(client.Config{Endpoints: []string{cluster.Endpoints()[i%3]}})
		all.Go(func() {
			h, err := c.Lock(within(t), held.Name())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			if h.Fence() <= last {
				t.Errorf("fence %d after %d", h.Fence(), last)
			}
			last = h.Fence()
			mu.Unlock()
			order <- i
			if err := h.Unlock(within(t)); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "the next stands in the queue", func() bool { return waiters(t, first, held.Name()) == i+1 })
	}
	last = held.Fence()
	if err := held.Unlock(within(t)); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	for i := range n {
		if got := <-order; got != i {
			t.Errorf("client %d got the lock at place %d", got, i)
		}
	}
}

func TestLockSurvivesLeader(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	a, b := cluster.Client(client.Config{}), cluster.Client(client.Config{})
	held := lock(t, a, "job")
	got := make(chan *client.Held, 1)
	go func() {
		h, err := b.Lock(within(t), "job")
		if err != nil {
			t.Error(err)
		}
		got <- h
	}()
	eventually(t, "b waits", func() bool { return waiters(t, a, "job") == 1 })
	cluster.KillLeader()
	cluster.AwaitLeader()
	if _, err := a.Put(within(t), "guarded", []byte("x"), client.WhileHeld(held)); err != nil {
		t.Fatalf("the grant is gone with the leader: %v", err)
	}
	select {
	case h := <-got:
		t.Fatalf("two have the lock: fences %d and %d", held.Fence(), h.Fence())
	default:
	}
	if err := held.Unlock(within(t)); err != nil {
		t.Fatal(err)
	}
	if h := <-got; h != nil && h.Fence() <= held.Fence() {
		t.Errorf("fence %d after %d", h.Fence(), held.Fence())
	}
}

// TestCutOffHolderKnowsFirst is the promise of Held.Context and Held.Err: when the
// server grants the lock to somebody else, the former holder's time is over already,
// though nothing reached it.
func TestCutOffHolderKnowsFirst(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	var valves []*valve
	var through []string
	for _, e := range cluster.Endpoints() {
		v := newValve(t, e)
		valves, through = append(valves, v), append(through, v.url())
	}
	a := cluster.Client(client.Config{Endpoints: through, SessionTTL: shortTTL})
	b := cluster.Client(client.Config{})
	held := lock(t, a, "job")
	for _, v := range valves {
		v.setShut(true)
	}
	next := lock(t, b, "job") // granted when a's session has expired
	if left := held.Session().Remaining(); left > 0 {
		t.Errorf("the lock has another holder, and the former believes to have it for %v", left)
	}
	<-held.Done() // without anybody's asking
	if err := held.Err(); !errors.Is(err, client.ErrLockLost) || !errors.Is(err, client.ErrSessionExpired) {
		t.Errorf("lost with %v", err)
	}
	for _, v := range valves {
		v.setShut(false)
	}
	_, err := b.Put(within(t), "k", []byte("late"), client.WhileHeld(held))
	if !errors.Is(err, client.ErrStaleFence) {
		t.Errorf("a write under the lost grant: %v; want %v", err, client.ErrStaleFence)
	}
	if _, err := b.Put(within(t), "k", []byte("new"), client.WhileHeld(next)); err != nil {
		t.Error(err)
	}
	if err := held.Unlock(within(t)); !errors.Is(err, client.ErrLockLost) {
		t.Errorf("unlock after the loss: %v", err)
	}
	if err := next.Unlock(within(t)); err != nil {
		t.Error(err)
	}
	// The client of the lost session takes a new one, which may be lost as soon.
	again := lock(t, a, "job")
	if again.Session() == held.Session() {
		t.Error("the session that was lost holds a lock")
	}
	if err := again.Unlock(within(t)); err != nil && !errors.Is(err, client.ErrLockLost) {
		t.Error(err)
	}
}

func TestLockedCounterLosesNothing(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	const workers, each = 20, 2
	clients := []*client.Client{cluster.Client(client.Config{}), cluster.Client(client.Config{}), cluster.Client(client.Config{})}
	var all sync.WaitGroup
	halfway := make(chan struct{})
	for w := range workers {
		c := clients[w%len(clients)]
		all.Go(func() {
			for range each {
				err := c.WithLock(within(t), "counter", func(ctx context.Context, h *client.Held) error {
					n, err := number(ctx, c)
					if err != nil {
						return err
					}
					if n == workers*each/2 {
						close(halfway)
					}
					_, err = c.Put(ctx, "n", []byte(strconv.Itoa(n+1)), client.WhileHeld(h))
					return err
				})
				if err != nil {
					t.Errorf("worker %d: %v", w, err)
				}
			}
		})
	}
	<-halfway
	cluster.KillLeader()
	all.Wait()
	if n, err := number(within(t), clients[0]); n != workers*each || err != nil {
		t.Errorf("counted to %d, %v; want %d", n, err, workers*each)
	}
}

// number reads the counter.
func number(ctx context.Context, c *client.Client) (int, error) {
	e, err := c.Get(ctx, "n")
	if errors.Is(err, client.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(e.Value))
}

func TestCompareAndSetCountsExactly(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	const workers, each = 8, 5
	c := cluster.Client(client.Config{})
	if _, err := c.Put(within(t), "n", []byte("0")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	halfway := make(chan struct{})
	var once sync.Once
	for range workers {
		c := cluster.Client(client.Config{})
		all.Go(func() {
			for range each {
				for {
					e, err := c.Get(within(t), "n")
					if err != nil {
						t.Error(err)
						return
					}
					n, _ := strconv.Atoi(string(e.Value))
					if n >= workers*each/3 {
						once.Do(func() { close(halfway) })
					}
					_, err = c.Put(within(t), "n", fmt.Append(nil, n+1), client.IfRevision(e.Revision))
					if err == nil {
						break
					}
					if !errors.Is(err, client.ErrConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	<-halfway
	killed := cluster.KillLeader()
	cluster.AwaitLeader()
	cluster.Restart(killed)
	all.Wait()
	if n, err := number(within(t), c); n != workers*each || err != nil {
		t.Errorf("counted to %d, %v; want %d", n, err, workers*each)
	}
}

func TestEndOfSession(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	v := newValve(t, cluster.Endpoints()[0])
	gone := cluster.Client(client.Config{Endpoints: []string{v.url()}})
	c := cluster.Client(client.Config{})
	s, err := gone.NewSession(within(t), client.SessionConfig{TTL: 5 * time.Second, Name: "gone"})
	if err != nil {
		t.Fatal(err)
	}
	held, err := gone.Acquire(within(t), "job", client.Options{Session: s})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Put(within(t), "alive/gone", []byte("here"), client.Ephemeral(s)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TryLock(within(t), "job"); !errors.Is(err, client.ErrHeld) {
		t.Fatalf("err = %v; want %v", err, client.ErrHeld)
	}
	v.setShut(true)
	if err := lock(t, c, "job").Unlock(within(t)); err != nil {
		t.Error(err)
	}
	if list, err := c.List(within(t), "alive/"); len(list) != 0 || err != nil {
		t.Errorf("entries of a session that is over: %v, %v", list, err)
	}
	if _, err := c.Put(within(t), "k", nil, client.WhileHeld(held)); !errors.Is(err, client.ErrStaleFence) {
		t.Errorf("a write after the loss: %v; want %v", err, client.ErrStaleFence)
	}
	if _, err := c.Put(within(t), "k", nil, client.Ephemeral(s)); !errors.Is(err, client.ErrSessionExpired) {
		t.Errorf("an entry of a session that is over: %v; want %v", err, client.ErrSessionExpired)
	}
	v.setShut(false)
}

func TestCancelledLockLeavesQueue(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	a, b := cluster.Client(client.Config{}), cluster.Client(client.Config{})
	held := lock(t, a, "job")
	ctx, cancel := context.WithCancel(within(t))
	failed := make(chan error, 1)
	go func() {
		_, err := b.Lock(ctx, "job")
		failed <- err
	}()
	eventually(t, "b waits", func() bool { return waiters(t, a, "job") == 1 })
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v; want %v", err, context.Canceled)
	}
	eventually(t, "b has left", func() bool { return waiters(t, a, "job") == 0 })
	if err := held.Unlock(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := lock(t, b, "job").Unlock(within(t)); err != nil {
		t.Error(err)
	}
}

// TestWaiterLeavesSilentNode waits at a node that stops: another grants.
func TestWaiterLeavesSilentNode(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	a := cluster.Client(client.Config{})
	held := lock(t, a, "job")
	v := newValve(t, cluster.Endpoints()[0])
	b := cluster.Client(client.Config{Endpoints: []string{v.url(), cluster.Endpoints()[1]}, SessionTTL: 5 * time.Second})
	got := make(chan error, 1)
	go func() {
		h, err := b.Lock(within(t), "job")
		if err == nil {
			err = h.Unlock(within(t))
		}
		got <- err
	}()
	eventually(t, "b waits", func() bool { return waiters(t, a, "job") == 1 })
	v.setShut(true)
	if err := held.Unlock(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("b, whose node fell silent: %v", err)
	}
}

func TestPartitionAndPause(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	c := cluster.Client(client.Config{})
	for i, breakIt := range []func(leader string){
		func(l string) { cluster.Pause(l) },
		func(l string) { cluster.Partition([]string{l}) },
	} {
		breakIt(cluster.AwaitLeader())
		if _, err := c.Put(within(t), "k", fmt.Append(nil, i)); err != nil {
			t.Error(err)
		}
		cluster.Heal()
		cluster.Ready()
	}
	cluster.Cut("n1", "n2")
	cluster.Heal()
	if e, err := c.Get(within(t), "k"); string(e.Value) != "1" || err != nil {
		t.Errorf("k = %q, %v", e.Value, err)
	}
}
