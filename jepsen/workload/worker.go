//go:build linux

package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/resource"
)

// A party is one client process. What it writes is in the order of its clock.
type party struct {
	Spec
	mu     sync.Mutex
	out    *json.Encoder
	things *resource.Client
	ids    atomic.Uint64
	procs  atomic.Int64
}

// now is the time of the run.
func (p *party) now() time.Duration { return time.Duration(Clock() - p.Epoch) }

// write writes an event, stamped now unless it has a stamp. Without a reader there is
// nobody to work for.
func (p *party) write(e history.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.At == 0 {
		e.At = p.now()
	}
	if err := p.out.Encode(e); err != nil {
		panic(fmt.Sprintf("the history cannot be written: %v", err))
	}
}

// unique is a number above 0 that no other call of the run has.
func (p *party) unique() uint64 {
	return p.ids.Add(1)*uint64(p.Clients) + uint64(p.Client)
}

// process is a number of a process, from 1, that no other of the run has.
func (p *party) process() int { return int(p.procs.Add(1)-1)*p.Clients + p.Client + 1 }

// A worker makes one call after the other.
type worker struct {
	*party
	name  string
	index int // among the workers of its workload and process
	id    int // as a process of the history; another one after an unknown outcome
	dice  *rand.Rand
	at    int // the node that it talks to
	http  *http.Client
}

// worker makes one; its dice follow from the seed and its name.
func (p *party) worker(name string, index int) *worker {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d/%s", p.Client, name)
	w := &worker{party: p, name: name, index: index, id: p.process(), dice: rand.New(rand.NewPCG(p.Seed, h.Sum64()))}
	w.at = w.dice.IntN(len(p.Nodes))
	w.http = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: 10 * time.Second}}
	return w
}

// aide is another worker who does something beside this one.
func (w *worker) aide(name string) *worker { return w.worker(w.name+"/"+name, w.index) }

// away says that nobody knows what became of a call: the process ends, and its client
// goes on as another, at another node.
func (w *worker) away() {
	w.id = w.process()
	w.roam()
}

// roam chooses another node.
func (w *worker) roam() {
	if n := len(w.Nodes); n > 1 {
		w.at = (w.at + 1 + w.dice.IntN(n-1)) % n
	}
}

// pause waits for about d, as slow as the run goes, between calls.
func (w *worker) pause(ctx context.Context, d time.Duration) {
	d = time.Duration(float64(d) * w.Pace)
	sleep(ctx, time.Duration(w.dice.Int64N(int64(2*d))+1))
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// A rota hands out names of objects, each for so many calls and so much time, so that
// what happened to one can be checked in a moment.
type rota struct {
	prefix string
	width  int           // objects at a time
	calls  int           // of this worker to one object
	every  time.Duration // all workers go on to the next at about the same time

	generation int
	used       []int
}

// next returns the name of the object to use now.
func (r *rota) next(w *worker) string {
	if byTime := int(w.now() / r.every); byTime > r.generation {
		r.generation, r.used = byTime, nil
	}
	if r.used == nil {
		r.used = make([]int, r.width)
	}
	i := w.dice.IntN(r.width)
	if r.used[i]++; r.used[i] > r.calls {
		r.generation, r.used = r.generation+1, make([]int, r.width)
		r.used[i]++
	}
	return fmt.Sprintf("%s%d.%d", r.prefix, i, r.generation)
}
