package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	warmUp = 600 * time.Millisecond  // of clients, before the fault
	after  = 1500 * time.Millisecond // what is watched after the fault, or after its end
	armed  = 200 * time.Millisecond  // until a charge waits for its input
)

// A window is a time in which a gap counts, and whose node's clients do not:
// those of the node that is taken away.
type window struct {
	from, to time.Duration
	victim   *node
}

// A trial is one run of a scenario.
type trial struct {
	c       *cluster
	begin   standing
	leader  *node
	others  []*node // the followers
	epoch   time.Time
	idle    sync.RWMutex // held: nobody writes
	windows []window
	writers []*writer
	res     result
}

// A result is what one run has shown. Times are in milliseconds.
type result struct {
	Scenario string              `json:"scenario"`
	Run      int                 `json:"run"`
	Leader   string              `json:"leader"` // at the start
	GapMS    float64             `json:"gap_ms"`
	GapAtMS  float64             `json:"gap_at_ms"`          // when it began, since the fault
	SlowMS   float64             `json:"slowest_writer_ms"`  // longest gap of any one writer but the victim's
	StepsMS  []float64           `json:"steps_ms,omitempty"` // gaps, of several faults
	TookMS   []float64           `json:"took_ms,omitempty"`  // as the nodes say themselves
	FaultMS  float64             `json:"fault_ms"`           // what it took to bring the fault about
	Seen     []sight             `json:"leaders"`            // in order
	Rounds   int                 `json:"rounds"`             // by how much the ballot's round grew
	Changes  int                 `json:"changes"`            // of the leader
	Acks     int                 `json:"acks"`
	Failed   map[string]failures `json:"failed,omitempty"` // by node
	Victims  []string            `json:"victims,omitempty"`
	Grants   int                 `json:"grants"` // of the lock
	Unsafe   []string            `json:"unsafe,omitempty"`
	Note     string              `json:"note,omitempty"`
}

// errNotOffered is that the binary cannot do what is measured.
var errNotOffered = errors.New("not offered by this binary")

// try runs scenario s once on c. An error is one of the measurement.
func try(ctx context.Context, c *cluster, s scenario, number int) (result, error) {
	t := &trial{c: c, epoch: time.Now(), res: result{Scenario: s.name, Run: number}}
	var err error
	if t.begin, err = c.settle(ctx); err != nil {
		return t.res, err
	}
	t.leader = t.begin.leader
	t.res.Leader = t.leader.name
	t.others = slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return n == t.leader })
	watch := &watcher{nodes: c.nodes, epoch: t.epoch}
	lock := &locker{nodes: c.nodes, name: "failover"}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var clients, watching sync.WaitGroup
	perTry := hasty
	if s.patient {
		perTry = patient
	}
	for i, n := range append(slices.Clone(c.nodes), t.others...) {
		w := newWriter(n, fmt.Sprintf("failover/%s-%d-%d", s.name, number, i), perTry, t.epoch)
		t.writers = append(t.writers, w)
		clients.Go(func() { w.run(running, &t.idle) })
	}
	clients.Go(func() { lock.run(running, &t.idle) })
	watched, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	watching.Go(func() { watch.run(watched) })
	sleep(ctx, warmUp)

	err = s.act(ctx, t)
	stop()
	clients.Wait()
	if err == nil {
		err = t.restore(ctx)
	}
	var end standing
	if err == nil {
		end, err = c.settle(ctx)
	}
	stopWatching()
	watching.Wait()
	if err != nil {
		return t.res, err
	}
	t.judge(watch, end)
	t.verify(ctx, lock)
	return t.res, ctx.Err()
}

// open begins a window.
func (t *trial) open(victim *node) {
	t.windows = append(t.windows, window{from: time.Since(t.epoch), victim: victim})
}

// brought notes that the fault is there.
func (t *trial) brought() {
	w := t.windows[len(t.windows)-1]
	t.res.FaultMS = max(t.res.FaultMS, millis(time.Since(t.epoch)-w.from))
}

// close ends the window.
func (t *trial) close() { t.windows[len(t.windows)-1].to = time.Since(t.epoch) }

// restore starts what does not run.
func (t *trial) restore(ctx context.Context) error {
	for _, n := range t.c.nodes {
		if n.running() {
			continue
		}
		if err := n.start(); err != nil {
			return err
		}
		if err := n.await(ctx); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
	return nil
}

// judge draws the figures from what the clients have seen.
func (t *trial) judge(watch *watcher, end standing) {
	r := &t.res
	fault := t.windows[0].from
	for _, w := range t.windows {
		var merged []time.Duration
		for _, x := range t.writers {
			if x.node == w.victim {
				continue
			}
			merged = append(merged, x.acks...)
			own, _ := longestGap(x.acks, w.from, w.to)
			r.SlowMS = max(r.SlowMS, millis(own))
		}
		slices.Sort(merged)
		gap, at := longestGap(merged, w.from, w.to)
		r.StepsMS = append(r.StepsMS, millis(gap))
		if millis(gap) > r.GapMS {
			r.GapMS, r.GapAtMS = millis(gap), millis(at-fault)
		}
		if w.victim != nil && !slices.Contains(r.Victims, w.victim.name) {
			r.Victims = append(r.Victims, w.victim.name)
		}
	}
	if len(t.windows) == 1 {
		r.StepsMS = nil
	}
	r.Failed = map[string]failures{}
	for _, x := range t.writers {
		r.Acks += len(x.acks)
		if x.failed.sum() > 0 {
			r.Failed[x.node.name] = r.Failed[x.node.name].plus(x.failed)
		}
		r.Unsafe = append(r.Unsafe, x.wrong...)
	}
	r.Seen = watch.leaders(fault)
	r.Rounds = int(end.round - t.begin.round)
	r.Changes = changes(r.Seen, r.Rounds)
}

// verify asks every node whether all that was acknowledged is there.
func (t *trial) verify(ctx context.Context, lock *locker) {
	for _, x := range t.writers {
		for _, n := range t.c.nodes {
			if why := x.verify(ctx, n); why != "" {
				t.res.Unsafe = append(t.res.Unsafe, why)
			}
		}
	}
	t.res.Unsafe = append(t.res.Unsafe, lock.wrong...)
	t.res.Grants = lock.grants
}

// longestGap returns the longest time without an acknowledgment from the
// beginning of a window on, and when it began. It may end after the window. acks
// are in order. With none after it the gap lasts to the end of the window.
func longestGap(acks []time.Duration, from, to time.Duration) (gap, at time.Duration) {
	last := from
	for _, ack := range acks {
		switch {
		case ack <= from:
			continue
		case last >= to:
			return gap, at
		case ack-last > gap:
			gap, at = ack-last, last
		}
		last = ack
	}
	if to-last > gap {
		gap, at = to-last, last
	}
	return gap, at
}

// changes is how often the leader changed: as often as another ballot was seen
// to lead, or as often as rounds say, since each change takes a higher one and
// a leader may be gone before it is seen.
func changes(seen []sight, rounds int) int {
	ballots := map[string]bool{}
	for _, s := range seen {
		ballots[s.Ballot] = true
	}
	return max(len(ballots)-1, rounds, 0)
}
