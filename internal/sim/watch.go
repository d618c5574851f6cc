package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/machine"
	"github.com/prytany/prytany/internal/sim/workload"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos/replica"
)

// A watcher reads a stream of events, and goes on at another node when its own
// is gone, from the last revision that it was told of (I12).
type watcher struct {
	w      *World
	name   string
	prefix string
	types  locks.EventSet
	exact  bool

	began bool   // it knows where it is
	told  uint64 // up to which revision it was told
	node  *node  // nil while it looks for one
	inc   uint64
	tail  *machine.Tail
	until time.Duration // when it leaves its node by itself
	away  time.Duration // until when it is not there
}

// watchers begins some watchers of random prefixes.
func (w *World) watchers() {
	if !w.opt.Features.Has(workload.WithWatch) {
		return
	}
	for i := range 1 + w.rng.IntN(3) {
		v := &watcher{w: w, name: fmt.Sprintf("watcher %d", i+1)}
		v.prefix = dice.Pick(w.rng, "", "", "key-", "lock-", "lock-0", "seat-0-0", "session-1", "group-", "attached-0")
		v.exact = v.prefix != "" && dice.Chance(w.rng, 0.3)
		if dice.Chance(w.rng, 0.3) {
			v.types = v.types.With(dice.Pick(w.rng, locks.EventPut, locks.EventExpire, locks.EventLock, locks.EventUnlock, locks.EventLeader))
		}
		w.watching = append(w.watching, v)
		w.at(w.sample(w.opt.Think), v.look)
	}
	w.at(time.Second, w.compact)
}

// compact drops old events now and then, as a leader does after an hour.
func (w *World) compact() {
	if w.quiesced {
		return
	}
	w.at(w.now+w.opt.Every(time.Second), w.compact)
	if n := w.nodes[w.rng.IntN(len(w.nodes))]; n.host != nil && dice.Chance(w.rng, 0.3) {
		upTo := uint64(w.rng.IntN(w.audit.Count() + 1))
		n.submit(replica.KindPropose, locks.Encode(&locks.CompactCommand{UpTo: upTo}), func(replica.Result) {})
	}
}

// look takes what is new, or another node.
func (v *watcher) look() {
	w := v.w
	if w.quiesced {
		return
	}
	w.at(w.now+w.opt.Every(lookEvery)+w.sample(w.opt.Think), v.look)
	if n := v.node; n != nil && (!n.hearsClients() || n.incarnation != v.inc || w.now >= v.until) {
		if n.host != nil && n.incarnation == v.inc {
			v.tail.Stop()
		}
		v.node = nil
		if dice.Chance(w.rng, 0.3) {
			v.away = w.now + time.Duration(w.rng.ExpFloat64()*float64(3*time.Second))
		}
		if dice.Chance(w.rng, 0.1) { // it wants to hear it all again
			v.told = uint64(w.rng.Int64N(int64(v.told) + 1))
		}
	}
	if w.now < v.away {
		return
	}
	if v.node == nil {
		v.attach(w.nodes[w.rng.IntN(len(w.nodes))])
		return
	}
	v.read()
}

// attach goes to n. The first time that is after everything that was
// acknowledged before.
func (v *watcher) attach(n *node) {
	w := v.w
	if !n.hearsClients() {
		return
	}
	if v.began {
		v.follow(n)
		return
	}
	n.submit(replica.KindBarrier, nil, func(r replica.Result) {
		if r.Err == nil && !v.began {
			v.began, v.told = true, uint64(n.machine.Count)
			v.follow(n)
		}
	})
	v.until = w.now
}

// follow begins to read at n.
func (v *watcher) follow(n *node) {
	w := v.w
	v.node, v.inc = n, n.incarnation
	v.until = w.now + time.Duration(w.rng.ExpFloat64()*float64(3*time.Second))
	v.tail = machine.NewTail(v.name+" at "+n.name, v.told, v.matters, v.subscribe)
	v.read()
}

func (v *watcher) matters(e *locks.Event) bool {
	return v.types.Has(e.Type) && (e.Name == v.prefix || !v.exact && strings.HasPrefix(e.Name, v.prefix))
}

func (v *watcher) subscribe(view locks.View) (locks.Ring, func()) {
	if v.exact {
		return view.SubscribeName(v.prefix)
	}
	return view.SubscribePrefix(v.prefix)
}

// read takes what is new at the present node. What is no longer kept is told
// to be so; then the watcher goes on from the present.
func (v *watcher) read() {
	w := v.w
	changes, missed := v.tail.Read(v.node.machine)
	v.told = v.tail.Told
	w.stats.Told += len(changes)
	if missed {
		w.stats.Compacted++
	}
}

// lastWords lets every watcher read to the end, at each node in turn.
func (w *World) lastWords() {
	for _, v := range w.watching {
		for _, n := range w.nodes {
			if n.host != nil && !w.nemesis.Keeps(n.index) && v.began {
				v.follow(n)
			}
		}
	}
}
