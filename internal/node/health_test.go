package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/leader"
)

// A ward is a vitals under a clock of its own, with a disk and a gossip that do
// as they are told.
type ward struct {
	*vitals
	t      *testing.T
	told   []leader.Health
	kinds  []string
	score  atomic.Int64
	probes atomic.Int64
	disk   func() error // what a probe does
	cancel context.CancelFunc
	ended  chan error
}

// admitWard starts a ward. Its disk answers at once.
func admitWard(t *testing.T) *ward {
	w := &ward{t: t, disk: func() error { return nil }, ended: make(chan error, 1)}
	w.vitals = newVitals(func(h leader.Health) { w.told = append(w.told, h) },
		func(kind, _, _, _ string) { w.kinds = append(w.kinds, kind) })
	return w
}

func (w *ward) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.cancel = cancel
	probe := func() error { w.probes.Add(1); return w.disk() }
	go func() { w.ended <- w.vitals.run(ctx, probe, func() int { return int(w.score.Load()) }) }()
}

// stop ends the ward and waits for it.
func (w *ward) stop() {
	w.cancel()
	if err := <-w.ended; !errors.Is(err, context.Canceled) {
		w.t.Errorf("run ended with %v; want the context's end", err)
	}
}

// after lets d pass and what is due then happen, and wants the disk to be well
// or not, as the loop was told last and as people are told.
func (w *ward) after(d time.Duration, well bool) {
	w.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	last := leader.Health{Disk: true, Loop: true}
	if len(w.told) > 0 {
		last = w.told[len(w.told)-1]
	}
	s := w.vitals.disk()
	if last.Disk != well || s.well != well || (s.why == "") != well {
		w.t.Errorf("the loop was told %v, people are told %v (%q); want %v", last.Disk, s.well, s.why, well)
	}
}

const aMoment = time.Millisecond

func TestAWriteThatHangsIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := admitWard(t)
		write := w.begin()
		w.after(overdueAfter-aMoment, true)
		w.after(aMoment, false)
		w.after(time.Minute, false)
		if took := w.vitals.disk().took; took < time.Minute {
			t.Errorf("the write has taken %v; want a minute and more", took)
		}
		w.end(write)
		w.after(overdueFor-aMoment, false)
		w.after(aMoment, true)
		if want := []string{kindDiskSlow, kindDiskWell}; !slices.Equal(w.kinds, want) {
			t.Errorf("events %v; want %v", w.kinds, want)
		}
	})
}

func TestWritesInTimeChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := admitWard(t)
		for range 10 {
			write := w.begin()
			w.after(overdueAfter-aMoment, true)
			w.end(write)
			w.after(aMoment, true)
		}
		w.after(time.Minute, true)
		if len(w.told) != 0 || len(w.open) != 0 {
			t.Errorf("the loop was told %v, %d writes are open; want nothing", w.told, len(w.open))
		}
	})
}

// TestOneOfTwoWritesHangs ends the log's write while the probe hangs, and has a
// second slow write prolong what the first one began.
func TestOneOfTwoWritesHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := admitWard(t)
		probe := w.begin()
		w.after(overdueAfter, false)
		w.end(w.begin())
		w.after(overdueFor, false)
		w.end(probe)
		write := w.begin()
		w.after(overdueFor-overdueAfter, false)
		w.end(write) // took longer than 500 ms, too
		w.after(overdueAfter, false)
		w.after(overdueFor-overdueAfter-aMoment, false)
		w.after(aMoment, true)
	})
}

// TestDrainAndDiskHaveOneOwner says that the node goes while its disk is slow,
// and wants neither to be forgotten for the other.
func TestDrainAndDiskHaveOneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := admitWard(t)
		w.run()
		w.score.Store(3)
		write := w.begin()
		w.after(time.Second, false)
		w.drain()
		w.after(aMoment, false)
		w.end(write)
		w.after(overdueFor, true)
		want := leader.Health{Disk: true, Loop: true, Draining: true, Score: 3}
		if got := w.told[len(w.told)-1]; got != want {
			t.Errorf("told last %+v; want %+v", got, want)
		}
		for i, h := range w.told {
			if i > 0 && h == w.told[i-1] || !h.Loop {
				t.Errorf("told %+v, number %d", h, i)
			}
		}
		w.stop()
	})
}

func TestAnIdleDiskIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := admitWard(t)
		w.run()
		w.after(time.Minute, true)
		if n := w.probes.Load(); n < 40 || n > 61 {
			t.Errorf("%d probes in a minute without writes; want about one a second", n)
		}
		before := w.probes.Load()
		for range 100 {
			w.end(w.begin())
			w.after(probeEvery/2, true)
		}
		if n := w.probes.Load() - before; n > 1 {
			t.Errorf("%d probes while the log was written; want none", n)
		}
		w.stop()
	})
}

func TestAProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := admitWard(t)
		hung := make(chan struct{})
		w.disk = func() error { <-hung; return nil }
		w.run()
		w.after(lookEvery, true) // the probe begins
		w.after(overdueAfter, false)
		w.after(time.Minute, false)
		if n := w.probes.Load(); n != 1 {
			t.Errorf("%d probes on a disk that hangs; want one", n)
		}
		// The process can end while the probe hangs, and the probe after it.
		w.stop()
		close(hung)
		synctest.Wait()
		w.after(overdueFor, true)
	})
}

func TestAProbeThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := admitWard(t)
		var answer atomic.Pointer[error]
		disk := func(err error) { answer.Store(&err) }
		disk(fmt.Errorf("probe: %w", storage.ErrFull))
		w.disk = func() error { return *answer.Load() }
		w.run()
		w.after(time.Second, false)
		if why := w.vitals.disk().why; !strings.Contains(why, "full") {
			t.Errorf("why %q; want that the disk is full", why)
		}
		disk(nil)
		for range 10 { // the log is written all the time: that is no proof of room
			w.end(w.begin())
			time.Sleep(probeEvery / 5)
		}
		w.after(aMoment, true)
		if want := []string{kindDiskFull, kindDiskWell}; !slices.Equal(w.kinds, want) {
			t.Errorf("events %v; want %v", w.kinds, want)
		}

		lost := errors.New("input/output error")
		disk(lost)
		if err := <-w.ended; !errors.Is(err, lost) {
			t.Errorf("run ended with %v; want the disk's error", err)
		}
		w.cancel()
	})
}

// TestALeaderWhoseDiskHangsIsReplaced hangs the disk of a leader of three that
// has nothing to write, wants another to lead, and the first one not to claim
// the lead before its disk is well again.
func TestALeaderWhoseDiskHangsIsReplaced(t *testing.T) {
	faults := &Faults{}
	logs := map[string]*keeper{}
	log := func(name string) *slog.Logger {
		logs[name] = &keeper{Handler: slog.DiscardHandler, least: slog.LevelInfo}
		return slog.New(logs[name])
	}
	nodes := []*Node{runNode(t, Config{Name: "n1", Bootstrap: true, Faults: faults, Log: log("n1")})}
	for _, name := range []string{"n2", "n3"} {
		nodes = append(nodes, runNode(t, Config{Name: name, Join: []string{nodes[0].GossipAddr()}, Faults: faults, Log: log(name)}))
	}
	all := func(ok func(*Node) bool) func() bool {
		return func() bool { return !slices.ContainsFunc(nodes, func(n *Node) bool { return !ok(n) }) }
	}
	await(t, "three voters", all(func(n *Node) bool { return n.Voter() && n.Ready() }))
	var old *Node
	await(t, "a leader", func() bool {
		i := slices.IndexFunc(nodes, (*Node).Leads)
		if i >= 0 {
			old = nodes[i]
		}
		return i >= 0
	})
	faults.HangDisk(old.Name())
	t.Cleanup(func() { faults.FreeDisk(old.Name()) }) // before the nodes are stopped
	await(t, "another leader", func() bool {
		return slices.ContainsFunc(nodes, func(n *Node) bool { return n != old && n.Leads() })
	})
	await(t, "unwell", func() bool { return !old.diskHealth().well })
	if old.Ready() || old.status().Disk.Healthy {
		t.Error("ready, or healthy, with a disk that hangs")
	}
	faults.FreeDisk(old.Name())
	await(t, "well again", all(func(n *Node) bool { return n.diskHealth().well && n.Ready() }))
	unwell, unfit := false, false // as people and as the loop are told, who hear of it side by side
	for _, line := range logs[old.Name()].all() {
		switch {
		case strings.Contains(line, "the disk is unwell"):
			unwell = true
		case strings.Contains(line, "the disk is well again"):
			unwell = false
		case strings.Contains(line, "should not lead"):
			unfit = true
		case strings.Contains(line, "may lead again"):
			unfit = false
		case unwell && unfit && strings.Contains(line, "asks for support to lead"):
			t.Error("a claim by a node that is unwell")
		}
	}
	if logs[old.Name()].count("should not lead") == 0 {
		t.Error("the loop was not told that the disk is unwell")
	}
}
