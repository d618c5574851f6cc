package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/leader"
)

const (
	overdueAfter = 500 * time.Millisecond // a durable write that takes longer makes the disk unwell
	overdueFor   = 2 * time.Second        // and so it stays after the write's end
	probeEvery   = time.Second            // the disk is probed if no write has ended for so long
	lookEvery    = 200 * time.Millisecond // how often gossip's score and the need of a probe are looked at
)

// The kinds of a node's events about itself.
const (
	kindDiskSlow = "disk-slow"
	kindDiskFull = "disk-full"
	kindDiskWell = "disk-well"
)

// A vitals is the one owner of what this node says of its own health. It judges
// the disk by the age of the oldest durable write that has not ended, and not
// only by writes that have: a disk that hangs ends none. It uses Go's monotonic
// clock, which stands still while the machine sleeps: to sleep is not to hang.
//
// The loop's own lateness is not judged here, but by the loop.
type vitals struct {
	set   func(leader.Health)                   // tells the event loop; does not block
	event func(kind, peer, reason, text string) // see [Node.event]

	mu      sync.Mutex
	health  leader.Health // as told last
	open    []*diskWrite  // begun and not ended, the oldest first; the log's and the probe's
	overdue int           // of these, for longer than overdueAfter
	until   time.Time     // unwell for a write that has ended
	full    bool          // the last probe found no room
	wrote   time.Time     // when a durable write ended last
	took    time.Duration // by that write
	probed  time.Time     // when the last probe began
}

// A diskWrite is a durable write that has begun.
type diskWrite struct {
	begun   time.Time
	timer   *time.Timer
	ended   bool
	overdue bool
}

func newVitals(set func(leader.Health), event func(kind, peer, reason, text string)) *vitals {
	return &vitals{set: set, event: event, health: leader.Health{Disk: true, Loop: true}}
}

// begin notes that a durable write begins. The caller ends it by end.
func (v *vitals) begin() *diskWrite {
	w := &diskWrite{begun: time.Now()}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = append(v.open, w)
	w.timer = time.AfterFunc(overdueAfter, func() {
		v.change(func() {
			if !w.ended {
				w.overdue = true
				v.overdue++
			}
		})
	})
	return w
}

// end notes that w has ended. When it returns the event loop has been told what
// follows from that.
func (v *vitals) end(w *diskWrite) {
	w.timer.Stop()
	v.change(func() {
		w.ended = true
		for i, o := range v.open {
			if o == w {
				v.open = append(v.open[:i], v.open[i+1:]...)
				break
			}
		}
		if w.overdue {
			v.overdue--
		}
		v.wrote = time.Now()
		v.took = v.wrote.Sub(w.begun)
		if v.took > overdueAfter {
			v.until = v.wrote.Add(overdueFor)
			time.AfterFunc(overdueFor, func() { v.change(func() {}) })
		}
	})
}

// change has f change what health follows from, under the lock, and tells the
// loop and people if it is another than before.
func (v *vitals) change(f func()) {
	v.mu.Lock()
	before := v.health
	f()
	now := time.Now()
	v.health.Disk = v.overdue == 0 && !now.Before(v.until) && !v.full
	if v.health != before {
		v.set(v.health) // under the lock: the last one told must be the last one judged
	}
	after, full := v.health, v.full
	v.mu.Unlock()

	switch {
	case after.Disk == before.Disk:
	case after.Disk:
		v.event(kindDiskWell, "", "", "the disk is well again")
	case full:
		v.event(kindDiskFull, "", "a probe found no room", "the disk is unwell: this node neither leads nor claims")
	default:
		v.event(kindDiskSlow, "", fmt.Sprintf("a durable write takes longer than %v", overdueAfter),
			"the disk is unwell: this node neither leads nor claims")
	}
}

// drain says for good that this node is about to go.
func (v *vitals) drain() { v.change(func() { v.health.Draining = true }) }

// A diskState is how the disk fares.
type diskState struct {
	well bool
	why  string        // if not
	took time.Duration // by the last durable write, or by one that has not ended if that is longer already
}

// disk returns how the disk fares.
func (v *vitals) disk() diskState {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := diskState{well: v.health.Disk, took: v.took}
	if len(v.open) > 0 {
		s.took = max(s.took, time.Since(v.open[0].begun))
	}
	switch {
	case s.well:
	case v.full:
		s.why = "the disk is full"
	case v.overdue > 0:
		s.why = fmt.Sprintf("a write has not ended for %v", time.Since(v.open[0].begun).Round(10*time.Millisecond))
	default:
		s.why = fmt.Sprintf("a write took longer than %v within the last %v", overdueAfter, overdueFor)
	}
	return s
}

// due reports whether a probe is due, and takes note that it begins. While the
// log is written there is nothing to learn from one, unless the last one found
// no room: then nothing else would find out that there is some again.
func (v *vitals) due() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if now.Sub(v.probed) < probeEvery || !v.full && now.Sub(v.wrote) < probeEvery {
		return false
	}
	v.probed = now
	return true
}

// run probes the disk and follows gossip's score, until ctx ends or the disk
// has lost a write. It does not wait for a probe that hangs: that would keep a
// process from its end. At most one probe is under way.
func (v *vitals) run(ctx context.Context, probe func() error, score func() int) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	ended := make(chan error, 1)
	probing := false
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-ended:
			probing = false
			if err != nil && !errors.Is(err, storage.ErrFull) {
				return err
			}
			v.change(func() { v.full = err != nil })
		case <-tick.C:
			now := score()
			v.change(func() { v.health.Score = now })
			if probing || !v.due() {
				continue
			}
			probing = true
			go func() {
				w := v.begin()
				err := probe()
				v.end(w)
				ended <- err
			}()
		}
	}
}

// watchHealth is the part of Run that judges the node on its disk and on how it
// keeps up with the gossip.
func (n *Node) watchHealth(ctx context.Context) error {
	return n.vitals.run(ctx, n.probe, n.gossip.HealthScore)
}

// probe writes one block beside the log.
func (n *Node) probe() error {
	n.cfg.Faults.awaitDisk(n.cfg.Name)
	return n.store.Probe()
}

// diskHealth returns how the disk with the log fares.
func (n *Node) diskHealth() diskState { return n.vitals.disk() }

// disk is how the disk with the log fares, for people.
func (n *Node) disk() api.Disk {
	s := n.diskHealth()
	return api.Disk{
		Healthy: s.well, Reason: s.why, WriteMS: millis(s.took.Nanoseconds()),
		FreeBytes: freeBytes(n.store.Dir()), StoreBytes: n.store.Size(), Log: n.store.LogStore(),
	}
}

// tell logs an event and keeps it for those who ask what happened.
func (n *Node) tell(kind, peer, reason, text string) {
	n.cfg.Log.Info(text, "event", kind, "peer", peer, "reason", reason)
	n.journal.Note(kind, peer, reason, text)
}
