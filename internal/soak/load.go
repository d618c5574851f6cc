package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/api"
)

const (
	maxOpen   = 256              // operations at a time; those that are due beyond it are left out and counted
	patience  = 10 * time.Second // of one request
	valueSize = 2 << 10
	maxWrong  = 100 // of each kind are kept
	prefix    = "soak/"
)

// A workload is all clients of a soak.
type workload struct {
	c         *cluster
	o         options
	registers []*register
	pairs     []*pair
	locks     []*lock
	waited    []*lock

	sent  atomic.Int64 // bytes of values
	late  atomic.Int64 // operations that were due and not begun
	mu    sync.Mutex
	kinds map[string]*tally
	wrong map[string][]string // by the promise that was broken
}

// A tally counts how operations of one kind ended.
type tally struct {
	Done, Refused, Unknown int
}

// The promises.
const (
	lostWrites = "lost"
	badFences  = "fences"
	badLeases  = "leases"
	badWatches = "watches"
)

func newWorkload(c *cluster, o options) *workload {
	l := &workload{c: c, o: o, kinds: map[string]*tally{}, wrong: map[string][]string{}}
	for i := range 48 {
		l.registers = append(l.registers, &register{key: fmt.Sprintf("%sr/%d", prefix, i)})
	}
	for i := range 12 {
		l.pairs = append(l.pairs, &pair{a: register{key: fmt.Sprintf("%sp/%d/a", prefix, i)}, b: register{key: fmt.Sprintf("%sp/%d/b", prefix, i)}})
	}
	for i := range 8 {
		l.locks = append(l.locks, &lock{name: fmt.Sprintf("%sl/%d", prefix, i), seen: map[uint64]bool{}})
	}
	for i := range 2 {
		l.waited = append(l.waited, &lock{name: fmt.Sprintf("%sw/%d", prefix, i), seen: map[uint64]bool{}})
	}
	return l
}

// An operation is drawn as often as its weight says.
type operation struct {
	name   string
	weight int
	do     func(*workload, context.Context, *rand.Rand) ending
}

var operations = []operation{
	{"get", 35, (*workload).get}, {"put", 30, (*workload).put}, {"transaction", 10, (*workload).transact},
	{"lock", 15, (*workload).lock}, {"wait", 10, (*workload).wait},
}

// An ending is how an operation ended.
type ending int

const (
	done ending = iota
	refused
	unknown
	skipped // nothing was sent
)

// run works until ctx ends and all clients have left.
func (l *workload) run(ctx context.Context) {
	var all sync.WaitGroup
	for i := range l.o.sessions {
		all.Go(func() { l.live(ctx, i, l.dice(2, i)) })
	}
	for i := range l.o.watchers {
		all.Go(func() { l.watch(ctx, i, l.dice(3, i)) })
	}
	l.operate(ctx)
	all.Wait()
	for _, n := range l.c.nodes {
		n.HTTP1.CloseIdleConnections()
		n.HTTP2.CloseIdleConnections()
	}
}

// dice returns those of one client.
func (l *workload) dice(kind, i int) *rand.Rand {
	return rand.New(rand.NewPCG(l.o.seed, uint64(kind)<<32|uint64(i)))
}

// operate begins an operation whenever one is due.
func (l *workload) operate(ctx context.Context) {
	sum := 0
	for _, op := range operations {
		sum += op.weight
	}
	room := make(chan struct{}, maxOpen)
	dice := l.dice(4, 0)
	begin := time.Now()
	var all sync.WaitGroup
	for i := 0; sleep(ctx, time.Until(begin.Add(time.Duration(float64(i)/l.o.rate*float64(time.Second))))); i++ {
		k, op := dice.IntN(sum), operations[0]
		for _, op = range operations {
			if k -= op.weight; k < 0 {
				break
			}
		}
		own := l.dice(5, i)
		select {
		case room <- struct{}{}:
		default:
			l.late.Add(1)
			continue
		}
		all.Go(func() {
			// What has begun is brought to its end: its outcome is wanted.
			l.count(op.name, op.do(l, context.WithoutCancel(ctx), own))
			<-room
		})
	}
	all.Wait()
}

func (l *workload) count(kind string, e ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.kinds[kind]
	if t == nil {
		t = &tally{}
		l.kinds[kind] = t
	}
	switch e {
	case done:
		t.Done++
	case refused:
		t.Refused++
	case unknown:
		t.Unknown++
	case skipped:
		l.late.Add(1)
	}
}

// breach notes that a promise was broken.
func (l *workload) breach(promise, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong[promise]) < maxWrong {
		l.wrong[promise] = append(l.wrong[promise], fmt.Sprintf(format, args...))
		say("WRONG, %s: %s", promise, l.wrong[promise][len(l.wrong[promise])-1])
	}
}

// A workResult is what the clients found.
type workResult struct {
	kinds map[string]tally
	wrong map[string][]string
	late  int64
	sent  int64
	keys  int
}

func (l *workload) result() workResult {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := workResult{kinds: map[string]tally{}, wrong: map[string][]string{}, late: l.late.Load(), sent: l.sent.Load(), keys: len(l.registers) + 2*len(l.pairs)}
	for name, t := range l.kinds { //lint:ordered into a map
		r.kinds[name] = *t
	}
	for name, list := range l.wrong { //lint:ordered into a map
		r.wrong[name] = slices.Clone(list)
	}
	return r
}

// An answer is what a request came to. Status 0: there is none.
type answer struct {
	status  int
	body    []byte
	problem api.Problem // of a status beyond 299
}

// ending is how a change ended that was answered so.
func (a answer) ending() ending {
	switch {
	case a.status == 0:
		return unknown
	case a.status < 300:
		return done
	case a.problem.Applied == api.AppliedNo:
		return refused
	}
	return unknown
}

// call sends a request to n; headers are names and values by turns.
func (l *workload) call(ctx context.Context, n *node, c *http.Client, method, path, body string, headers ...string) (a answer) {
	req, err := http.NewRequestWithContext(ctx, method, n.URL+path, strings.NewReader(body))
	if err != nil {
		panic(err) // the address is made here
	}
	req.Header.Set("Accept", api.TypeJSON)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return answer{}
	}
	if a.status = resp.StatusCode; a.status > 299 && json.Unmarshal(a.body, &a.problem) != nil {
		a.problem.Applied = api.AppliedUnknown
	}
	return a
}

// any returns a node.
func (l *workload) any(dice *rand.Rand) *node { return l.c.nodes[dice.IntN(len(l.c.nodes))] }

// value is something to write that says n.
func value(n uint64) string { return fmt.Sprintf("%-*d", valueSize, n) }
