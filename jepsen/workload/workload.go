//go:build linux

// Package workload is what clients do in a run, and how they write down what they
// asked and were told. A process of its own does it for each client host, so that it
// can be stopped like any process: it is given a Spec, takes commands on its input, a
// line each, and writes events of the history to its output as they happen.
package workload

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/resource"
)

// A Kind is one workload.
type Kind struct {
	Name    string
	What    string // a sentence
	Workers int    // in each client process
	Session bool   // has sessions, so that it is worth to stop a client
	Holds   bool   // has locks around resources, and belief
	run     func(context.Context, *worker)
}

// Kinds lists all workloads.
func Kinds() []Kind {
	return []Kind{
		{"register", "entries that are put, read, deleted and compared-and-set under unique values", 2, false, false, register},
		{"stuck", "entries that are read by clients who stay with one node each, whatever becomes of it", 4, false, false, stuck},
		{"txn", "transactions that compare and write several entries at once and read them", 1, false, false, transactions},
		{"retries", "the same, with little patience: what is not answered is asked again elsewhere under the same Idempotency-Key", 1, false, false, retries},
		{"lock", "the client library's locks around a resource that refuses lower fences", 2, true, true, lock(true)},
		{"lock-unfenced", "the same around a resource that takes every write: the negative control, must lose updates when clients are stopped", 2, true, true, lock(false)},
		{"semaphore", "two slots for all, over the plain API", 1, true, false, holders(shape{prefix: "sem/", slots: 2})},
		{"sessions", "sessions that are opened, kept alive, ended and left to expire, with locks in them", 1, true, false, holders(shape{prefix: "slock/", lapse: true})},
		{"election", "candidates who publish a value, and observers", 1, true, false, holders(shape{prefix: "elect/", election: true})},
		{"several", "two or three locks at once or none, and requests to let go within a time", 2, true, false, several},
		{"handover", "elections whose leaders publish anew and hand over to a candidate", 1, true, false, handover},
		{"fences", "the registers of fences of resources, which are advanced, read and forgotten", 1, false, false, fences},
		{"watch", "writers, and watchers who go on at another node when a stream ends", 2, false, false, watching},
	}
}

// Find returns the workload of that name.
func Find(name string) (Kind, bool) {
	all := Kinds()
	i := slices.IndexFunc(all, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return all[i], true
}

// A Spec tells a client process what to do.
type Spec struct {
	Epoch     int64         `json:"epoch"` // when the run began, by Clock, ns
	Seed      uint64        `json:"seed"`
	Client    int           `json:"client"`  // which one this is, from 0
	Clients   int           `json:"clients"` // how many there are
	Nodes     []string      `json:"nodes"`   // URLs
	Names     []string      `json:"names"`   // of the nodes, in the same order
	Workloads []string      `json:"workloads"`
	TTL       time.Duration `json:"ttl"`
	Resource  string        `json:"resource"` // socket
	Pace      float64       `json:"pace"`     // by how much longer than usual pauses between calls are
}

// The commands, and what is said in answer, as the text of a note.
const (
	Stop    = "stop" // end what is under way
	Stopped = "client stopped"
	Read    = "read" // followed by keys: read each, and by a number sign and a lock: its resource
	HasRead = "client has read"
)

// Main is a client process: it works until it is told to stop, reads what it is told
// to, and returns when in ends.
func Main(ctx context.Context, spec Spec, in io.Reader, out io.Writer) error {
	p := &party{Spec: spec, out: json.NewEncoder(out), things: resource.Dial(spec.Resource)}
	working, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	for _, name := range spec.Workloads {
		k, ok := Find(name)
		if !ok {
			return fmt.Errorf("no workload %q", name)
		}
		for i := range k.Workers {
			w := p.worker(fmt.Sprintf("%s/%d", name, i), i)
			all.Go(func() { k.run(working, w) })
		}
	}
	lines := bufio.NewScanner(in)
	const most = 1 << 20
	lines.Buffer(nil, most)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case Stop:
			stop()
			all.Wait()
			p.write(history.Event{Kind: history.Note, Text: Stopped})
		case Read:
			p.read(ctx, words[1:])
			p.write(history.Event{Kind: history.Note, Text: HasRead})
		default:
			return fmt.Errorf("no command %q", words[0])
		}
	}
	stop()
	all.Wait()
	return lines.Err()
}

// read reads everything once more.
func (p *party) read(ctx context.Context, keys []string) {
	w := p.worker("final", 0)
	for _, key := range keys {
		if ctx.Err() != nil {
			return
		}
		if lock, ok := strings.CutPrefix(key, "#"); ok {
			w.useResource(ctx, "", strings.HasPrefix(lock, fencedPrefix), resource.Ask{Lock: lock})
			continue
		}
		w.get(ctx, key)
	}
}
