package prytanytest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/client/prytanytest"
)

// TestReadersAndWriters lets goroutines of two clients share and exclude each
// other, while the leader is killed.
func TestReadersAndWriters(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	ctx := within(t)
	var readers, writers atomic.Int32
	var together atomic.Bool
	var fence atomic.Uint64
	var all sync.WaitGroup
	work := func(c *client.Client, shared bool) {
		for range 5 {
			h, err := c.Acquire(ctx, "job", client.Options{Shared: shared})
			if err != nil {
				t.Error(err)
				return
			}
			if shared {
				if readers.Add(1) > 1 {
					together.Store(true)
				}
			} else if old := fence.Swap(h.Fence()); old >= h.Fence() || writers.Add(1) != 1 {
				t.Errorf("two writers, or fence %d after %d", h.Fence(), old)
			}
			if readers.Load() > 0 && writers.Load() > 0 {
				t.Error("readers beside a writer")
			}
			time.Sleep(5 * time.Millisecond)
			if shared {
				readers.Add(-1)
			} else {
				writers.Add(-1)
			}
			if err := h.Unlock(ctx); err != nil {
				t.Error(err)
			}
		}
	}
	for range 2 {
		c := cluster.Client(client.Config{})
		for i := range 6 {
			all.Go(func() { work(c, i > 0) })
		}
	}
	killed := cluster.KillLeader()
	all.Wait()
	cluster.Restart(killed)
	if !together.Load() {
		t.Error("readers did not share the lock")
	}
}

// TestSemaphoreIsNeverOverfull counts who is inside. Nobody leaves before there were as
// many as there may be.
func TestSemaphoreIsNeverOverfull(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	ctx := within(t)
	c := cluster.Client(client.Config{})
	const slots = 3
	var inside atomic.Int32
	full := make(chan struct{})
	var fill sync.Once
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			h, err := c.Semaphore(ctx, "downloads", slots)
			if err != nil {
				t.Error(err)
				return
			}
			switch n := inside.Add(1); {
			case n > slots:
				t.Errorf("%d inside at a time", n)
			case n == slots:
				fill.Do(func() { close(full) })
			}
			select {
			case <-full:
			case <-ctx.Done():
				t.Errorf("never %d inside at a time", slots)
			}
			time.Sleep(10 * time.Millisecond)
			inside.Add(-1)
			if err := h.Unlock(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestBrokenLockIsLostAtOnce breaks a lock and asks for another, whose holders
// hear of it from any node.
func TestBrokenLockIsLostAtOnce(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	ctx := within(t)
	for _, url := range cluster.Endpoints() {
		c := cluster.Client(client.Config{Endpoints: []string{url}, SessionTTL: time.Minute})
		broken, asked := lock(t, c, "broken"), lock(t, c, "asked")
		other := cluster.Client(client.Config{})
		if err := other.AskYield(ctx, "asked", 50*time.Millisecond, "deploy"); err != nil {
			t.Fatal(err)
		}
		if err := other.Break(ctx, "broken", "stuck"); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for _, h := range []*client.Held{broken, asked} {
			<-h.Done()
			var lost *client.LostError
			if err := h.Err(); !errors.As(err, &lost) || !slices.Contains([]string{"forced: stuck", "yielded: deploy"}, lost.Reason) {
				t.Errorf("%s: %v", h.Name(), err)
			}
		}
		if took := time.Since(begin); took > 20*time.Second { // of a TTL of 60 s
			t.Errorf("took %v", took)
		}
		if r := <-asked.Yield(); r.Reason != "deploy" || r.Within != 50*time.Millisecond {
			t.Errorf("asked %+v", r)
		}
	}
}

// A counter counts renewals of sessions that were held back and then answered.
type counter struct{ held atomic.Int32 }

func (c *counter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusOK && req.Method == http.MethodPut &&
		strings.HasPrefix(req.URL.Path, "/v1/sessions/") && req.URL.Query().Has("hold") {
		c.held.Add(1)
	}
	return resp, err
}

// TestListenerKeepsSessions holds a lock by renewals that wait for news, each for a quarter
// of the TTL, and for longer than its TTL after the loss of the leader.
func TestListenerKeepsSessions(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	var n counter
	c := cluster.Client(client.Config{SessionTTL: 10 * time.Second, HTTPClient: &http.Client{Transport: &n}})
	h := lock(t, c, "job")
	more := func(k int32) {
		to := n.held.Load() + k
		eventually(t, "renewals that are held", func() bool { return n.held.Load() >= to || h.Err() != nil })
		if err := h.Err(); err != nil {
			t.Fatal(err)
		}
	}
	more(1)
	killed := cluster.KillLeader()
	cluster.AwaitLeader()
	more(5)
	cluster.Restart(killed)
	if err := c.CheckFence(within(t), "job", h.Fence()); err != nil {
		t.Error(err)
	}
}

// TestElectionsOverlapNever runs rivals on all nodes, kills the leader of the
// group, breaks the leadership and hands it over.
func TestElectionsOverlapNever(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	ctx, cancel := context.WithCancel(within(t))
	var leading atomic.Int32
	var newest atomic.Uint64
	var all sync.WaitGroup
	var rivals []*client.Election
	for i := range 3 {
		c := cluster.Client(client.Config{})
		e := c.Election("e", client.ElectionConfig{Value: fmt.Sprint(i)})
		rivals = append(rivals, e)
		all.Go(func() {
			err := e.Run(ctx, func(ctx context.Context, term client.Term) error {
				if n := leading.Add(1); n != 1 {
					t.Errorf("%d lead", n)
				}
				defer leading.Add(-1)
				if old := newest.Swap(term.Fence); old >= term.Fence {
					t.Errorf("term %d after %d", term.Fence, old)
				}
				<-ctx.Done()
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	watcher := cluster.Client(client.Config{}).Election("e", client.ElectionConfig{})
	seen := make(chan client.Leader, 100)
	all.Go(func() {
		var last uint64
		for l, err := range watcher.Observe(ctx) {
			if err != nil {
				return
			}
			if l.Term != 0 && l.Term < last {
				t.Errorf("term %d after %d", l.Term, last)
			}
			last = max(last, l.Term)
			seen <- l
		}
	})
	led := func(after uint64) (l client.Leader) {
		for l.Term <= after {
			l = <-seen
		}
		return l
	}
	first := led(0)
	var list []client.Candidate
	eventually(t, "two candidates", func() bool {
		var err error
		list, err = watcher.Candidates(ctx)
		return err == nil && len(list) == 2
	})
	var leader *client.Election
	for i, e := range rivals {
		if first.Value == fmt.Sprint(i) {
			leader = e
		}
	}
	if err := leader.Transfer(ctx, list[1].Session); err != nil {
		t.Fatal(err)
	}
	second := led(first.Term)
	if second.Session != list[1].Session {
		t.Errorf("%v leads instead of %v", second, list[1])
	}
	killed := cluster.KillLeader()
	cluster.AwaitLeader()
	for i, e := range rivals {
		if second.Value == fmt.Sprint(i) {
			if err := e.Resign(ctx); err != nil {
				t.Error(err)
			}
		}
	}
	led(second.Term)
	cluster.Restart(killed)
	cancel()
	all.Wait()
}

// TestWatchOverNodes puts a key many times while nodes are killed and paused one
// after the other: the watcher hears of each revision once, in order.
func TestWatchOverNodes(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	ctx := within(t)
	writer, reader := cluster.Client(client.Config{}), cluster.Client(client.Config{})
	start, err := writer.Browse(ctx, "", client.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	var revisions []uint64
	var all sync.WaitGroup
	all.Go(func() {
		for i := range n {
			rev, err := writer.Put(ctx, "w/k", []byte(fmt.Sprint(i)))
			if err != nil {
				t.Error(err)
				return
			}
			revisions = append(revisions, rev)
		}
	})
	all.Go(func() {
		for range 2 {
			killed := cluster.KillLeader()
			cluster.AwaitLeader()
			cluster.Restart(killed)
			cluster.Ready()
		}
	})
	var got []uint64
	for e, err := range reader.Watch(ctx, "w/", client.WatchOptions{From: start.Revision + 1}) {
		if err != nil || string(e.Entry.Value) != fmt.Sprint(len(got)) {
			t.Errorf("event %d is %q, %v", len(got), e.Entry.Value, err)
			break
		}
		if got = append(got, e.Revision); len(got) == n {
			break
		}
	}
	all.Wait()
	if !slices.Equal(got, revisions) {
		t.Errorf("told of %v; written were %v", got, revisions)
	}
}

// TestValueOverNodes follows an entry while its node is killed, and a deletion.
func TestValueOverNodes(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 3)
	ctx := within(t)
	c := cluster.Client(client.Config{})
	v, err := client.Value(ctx, c, "greeting", client.Text, client.ValueOptions[string]{Default: "none"})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for i, text := range []string{"one", "two"} {
		if i == 1 {
			defer cluster.Restart(cluster.KillLeader())
		}
		if _, err := c.Put(ctx, "greeting", []byte(text)); err != nil {
			t.Fatal(err)
		}
		eventually(t, text, func() bool { return v.Load() == text })
	}
	if err := c.Delete(ctx, "greeting"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the default", func() bool { return v.Load() == "none" && v.Err() == nil })
}

// TestWatchTellsOfEverything has the kinds of events that there are.
func TestWatchTellsOfEverything(t *testing.T) {
	t.Parallel()
	cluster := prytanytest.NewCluster(t, 1)
	ctx := within(t)
	c := cluster.Client(client.Config{})
	s, err := c.NewSession(ctx, client.SessionConfig{Name: "it"})
	if err != nil {
		t.Fatal(err)
	}
	at, err := c.Put(ctx, "x/key", nil, client.Ephemeral(s))
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.Acquire(ctx, "x/lock", client.Options{Session: s})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		h.Downgrade(ctx), h.Upgrade(ctx), c.AskYield(ctx, "x/lock", time.Hour, "why"), s.End(ctx), c.Delete(ctx, "x/none"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for e, err := range c.Watch(ctx, "x/", client.WatchOptions{From: at}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", e.Type, e.Name, e.Mode, e.Reason)), " "))
		if e.Type == client.EventUnlock && e.Reason == "ended" {
			break
		}
	}
	want := []string{
		"put x/key", "lock x/lock exclusive", "lock x/lock shared", "unlock x/lock upgraded", "lock x/lock exclusive",
		"yield x/lock why", "expire x/key", "unlock x/lock ended",
	}
	if !slices.Equal(got, want) {
		t.Errorf("told of %q; want %q", got, want)
	}
}
