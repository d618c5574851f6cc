package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/load"
)

// A kind is one way to be slow.
type kind struct {
	name  string
	begin string        // is sent at once
	drop  string        // is sent a byte a second, over and over
	reads bool          // what the server says
	limit time.Duration // by which it should have been cut off
}

// The bounds are those of the server: 10 s for a head, 30 s for a body, twice as long for
// an answer.
var kinds = []kind{
	{"heads", "GET /v1/config/slow HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", "x", true, 10 * time.Second},
	{"bodies", "PUT /v1/config/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", "x", true, 30 * time.Second},
	{"answers", strings.Repeat("GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n", 100), "\n", false, 60 * time.Second},
}

// tardy is by how much later than it should be a connection may be cut off: the second
// that it sleeps, and a machine that is busy.
const tardy = 10 * time.Second

// spares are files for everything but slow connections.
const spares = 500

// slow measures clients without and with slow connections beside them, by turns, and
// judges whether these are cut off.
func slow(ctx context.Context, o options) ([]verdict, error) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return nil, err
	}
	if uint64(o.slow)+spares > lim.Cur {
		return nil, fmt.Errorf("-slow %d needs %d open files, and there may be %d: see ulimit -n", o.slow, o.slow+spares, lim.Cur)
	}
	say("slow: starting 3 nodes")
	c, err := start(ctx, o.binary, 3)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	if _, err := c.settle(ctx); err != nil {
		return nil, err
	}
	r := slowed{n: o.slow}
	d := &drips{c: c, n: o.slow}
	for i := range o.rounds {
		say("slow: round %d of %d, %v without and %v with %d slow connections", i+1, o.rounds, o.round, o.round, o.slow)
		without, err := measure(ctx, c, o)
		if err != nil {
			return nil, err
		}
		before, err := resident(c)
		if err != nil {
			return nil, err
		}
		d.open(ctx)
		if err := d.await(ctx); err != nil {
			return nil, err
		}
		with, err := measure(ctx, c, o)
		if err != nil {
			return nil, err
		}
		after, err := resident(c)
		if err != nil {
			return nil, err
		}
		r.memory = max(r.memory, float64(after-before)/float64(o.slow))
		r.without, r.with = append(r.without, without), append(r.with, with)
		if i < o.rounds-1 {
			d.close()
		}
	}
	say("slow: waiting until the last ones are cut off")
	r.left = d.drain(ctx, kinds[len(kinds)-1].limit+tardy+5*time.Second)
	d.close()
	r.longest = d.longest()
	return judgeSlow(r), ctx.Err()
}

// resident is the memory of all nodes together, in bytes.
func resident(c *cluster) (sum int64, err error) {
	all, err := c.fleet.Usages()
	for _, u := range all {
		sum += u.Resident
	}
	return sum, err
}

// A measured is how clients fared that are not slow.
type measured struct {
	p50, p99     time.Duration
	done, failed int64
}

// measure has clients write and read at a fixed rate.
func measure(ctx context.Context, c *cluster, o options) (m measured, err error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}, Timeout: patience}
	defer client.CloseIdleConnections()
	res, err := load.Run(ctx, load.Plan{
		Workers: 64, Rate: o.calm, Warmup: time.Second, Duration: o.round, Kinds: []string{"request"},
		Do: func(ctx context.Context, worker, i int) (int, error) {
			method, body := http.MethodGet, ""
			if i%2 == 0 {
				method, body = http.MethodPut, "x"
			}
			n := c.node(worker + i)
			_, err := n.Do(ctx, client, method, fmt.Sprintf("/v1/config/calm/%d", worker), body)
			return 0, err
		},
	})
	if err != nil {
		return m, err
	}
	k := res.Kinds[0]
	if k.Done == 0 {
		return m, errors.Join(errors.New("no request was answered"), k.First)
	}
	return measured{load.Quantile(k.Latency, 50), load.Quantile(k.Latency, 99), k.Done, k.Failed}, nil
}

// drips are slow connections.
type drips struct {
	c    *cluster
	n    int
	stop context.CancelFunc
	all  sync.WaitGroup

	renew  atomic.Bool  // one that was cut off is made anew
	alive  atomic.Int64 // now
	begun  atomic.Int64 // in this round
	mu     sync.Mutex
	cut    [3]int           // of each kind, by the server
	oldest [3]time.Duration // that was cut off
}

// open opens all of them, and keeps as many open.
func (d *drips) open(ctx context.Context) {
	ctx, d.stop = context.WithCancel(ctx)
	d.renew.Store(true)
	d.begun.Store(0)
	for i := range d.n {
		d.all.Go(func() {
			if !sleep(ctx, time.Duration(i)*2*time.Second/time.Duration(d.n)) { // not all at once
				return
			}
			for ok := true; ok; ok = d.renew.Load() && ctx.Err() == nil {
				d.one(ctx, i)
			}
		})
	}
}

// await waits until each was open once.
func (d *drips) await(ctx context.Context) error {
	for begin := time.Now(); d.begun.Load() < int64(d.n); {
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
		if time.Since(begin) > time.Minute {
			return fmt.Errorf("only %d of %d slow connections could be opened", d.begun.Load(), d.n)
		}
	}
	return nil
}

// one opens a connection and is slow until it is cut off.
func (d *drips) one(ctx context.Context, i int) {
	which := i % len(kinds)
	k := kinds[which]
	// Small buffers: what this kernel takes for one that does not read is no answer taken.
	dial := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		ctrl := raw.Control(func(fd uintptr) {
			err = errors.Join(syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096),
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536))
		})
		return errors.Join(ctrl, err)
	}}
	conn, err := dial.DialContext(ctx, "tcp", strings.TrimPrefix(d.c.node(i/len(kinds)).URL, "http://"))
	if err != nil {
		sleep(ctx, time.Second)
		return
	}
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer unhook()
	defer func() { _ = conn.Close() }()
	d.begun.Add(1)
	d.alive.Add(1)
	defer d.alive.Add(-1)
	begin := time.Now()
	_, err = conn.Write([]byte(k.begin))
	for err == nil {
		err = k.second(ctx, conn)
	}
	if ctx.Err() != nil {
		return // broken off here
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut[which]++
	d.oldest[which] = max(d.oldest[which], time.Since(begin))
}

// second sends a byte, and hears whether the connection still stands.
func (k kind) second(ctx context.Context, conn net.Conn) error {
	_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte(k.drop)); err != nil && !late(err) {
		return err
	}
	if !k.reads {
		sleep(ctx, time.Second)
		return ctx.Err()
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := conn.Read(make([]byte, 512)); err != nil && !late(err) {
		return err
	}
	return nil
}

func late(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// drain makes no new ones, and waits until all are cut off; it returns how many are left.
func (d *drips) drain(ctx context.Context, most time.Duration) int {
	d.renew.Store(false)
	for begin := time.Now(); d.alive.Load() > 0 && time.Since(begin) < most && sleep(ctx, 100*time.Millisecond); {
	}
	return int(d.alive.Load())
}

// close ends all.
func (d *drips) close() {
	d.renew.Store(false)
	d.stop()
	d.all.Wait()
}

// longest is how long the oldest of each kind lasted that was cut off, -1 if none was.
func (d *drips) longest() (out [3]time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range kinds {
		if out[i] = d.oldest[i]; d.cut[i] == 0 {
			out[i] = -1
		}
	}
	return out
}

// slowed is what slow connections have shown.
type slowed struct {
	n             int
	without, with []measured
	memory        float64          // bytes of a node for each
	longest       [3]time.Duration // of each kind, when it was cut off; -1: never seen
	left          int              // that were not cut off at the end
}

func judgeSlow(r slowed) []verdict {
	var ratios []string
	var plain, beside []time.Duration
	var failed [2]int64
	for i := range r.with {
		a, b := r.without[i], r.with[i]
		plain, beside = append(plain, a.p99), append(beside, b.p99)
		failed[0], failed[1] = failed[0]+a.failed, failed[1]+b.failed
		ratios = append(ratios, fmt.Sprintf("%v and %v", a.p99.Round(time.Millisecond), b.p99.Round(time.Millisecond)))
	}
	a, b := median(plain), median(beside)
	ratio := 0.0
	if a > 0 {
		ratio = float64(b) / float64(a)
	}
	out := []verdict{
		{What: fmt.Sprintf("99 %% of clients beside %d slow connections", r.n),
			Figure: fmt.Sprintf("%.2f times as long as without, by the rounds' medians; the bar is 2, no verdict is made of one busy machine. Without and with, each round: %s; %d and %d failed",
				ratio, strings.Join(ratios, ", "), failed[0], failed[1])},
		{What: "… memory", Figure: fmt.Sprintf("%.1f KiB resident for each in its node", r.memory/1024)},
	}
	for i, k := range kinds {
		figure := fmt.Sprintf("after %v at the latest", r.longest[i].Round(time.Second/10))
		if r.longest[i] < 0 {
			figure = "never"
		}
		out = append(out, verdict{"… slow " + k.name + " are cut off", figure, fmt.Sprintf("%v, and %v for a busy machine", k.limit, tardy), r.longest[i] >= 0 && r.longest[i] <= k.limit+tardy})
	}
	return append(out, verdict{"… of the last ones are left", fmt.Sprint(r.left), "none", r.left == 0})
}
