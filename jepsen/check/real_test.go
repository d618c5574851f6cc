package check

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/cluster"
	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/verdict"
)

// A caller is a client of real nodes that writes down what it does.
type caller struct {
	h       *history.Writer
	urls    []string
	ids     *atomic.Uint64
	done    *atomic.Uint64 // calls that succeeded, of all callers
	process int
	session string
	rng     *rand.Rand
}

// do makes one call. read fills in what the answer says.
func (c *caller) do(e history.Event, method, path string, header http.Header, body string, read func(status int, b []byte, end *history.Event)) history.Event {
	if c.process == 0 {
		c.process = int(c.ids.Add(1))
	}
	n := c.rng.IntN(len(c.urls))
	e.Op, e.Process, e.Node = c.ids.Add(1), c.process, fmt.Sprintf("n%d", n+1)
	if method != "GET" && e.F != history.KeepAlive {
		e.Request = fmt.Sprintf("r%d", e.Op)
		header.Set(api.HeaderIdempotencyKey, e.Request)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	// net/http sends a request with an Idempotency-Key again by itself if the connection
	// breaks: that the last attempt was refused says nothing about the first.
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, method, c.urls[n]+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header = header
	start := e
	start.Kind = history.Invoke
	c.h.Write(start)
	end := e
	end.Args = nil
	end.Kind = history.Info
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		end.Error = err.Error()
		if !sent.Load() {
			end.Kind = history.Fail
		}
	} else {
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil {
			settle(resp, b, &end, read)
		}
	}
	c.h.Write(end)
	if end.Kind == history.OK {
		c.done.Add(1)
	}
	if end.Kind == history.Info {
		c.process = 0
	}
	return end
}

// settle reads an answer.
func settle(resp *http.Response, b []byte, end *history.Event, read func(int, []byte, *history.Event)) {
	end.Status = resp.StatusCode
	end.Slot, _ = strconv.ParseUint(resp.Header.Get(api.HeaderSlot), 10, 64)
	end.Revision, _ = strconv.ParseUint(resp.Header.Get(api.HeaderRevision), 10, 64)
	end.Kind = history.OK
	if resp.StatusCode >= 400 {
		var p api.Problem
		_ = json.Unmarshal(b, &p)
		end.Code, end.Kind, end.Error = string(p.Code), history.Fail, p.Detail
		if p.Applied == api.AppliedUnknown {
			end.Kind = history.Info
		}
	}
	if read != nil {
		read(resp.StatusCode, b, end)
	}
}

func (c *caller) open() {
	const ttl = 2 * time.Second
	e := c.do(history.Event{F: history.Open, Args: history.OpenArgs{TTL: int64(ttl)}}, "POST", "sessions", http.Header{}, `{"ttl":"2s"}`,
		func(status int, b []byte, end *history.Event) {
			var s api.SessionCreated
			if status < 300 && json.Unmarshal(b, &s) == nil {
				end.Session, end.Result = s.ID, history.OpenResult{TTL: s.TTLMS * int64(time.Millisecond)}
			}
		})
	c.session = e.Session
}

func (c *caller) keepAlive() {
	e := c.do(history.Event{F: history.KeepAlive, Key: c.session, Session: c.session}, "PUT", "sessions/"+c.session, http.Header{}, "",
		func(status int, b []byte, end *history.Event) {
			var k api.KeptAlive
			if status < 300 && json.Unmarshal(b, &k) == nil {
				end.Result = history.KeepAliveResult{TTL: k.TTLMS * int64(time.Millisecond)}
			}
		})
	if e.Kind == history.Fail && e.Slot == 0 && (e.Code == sessionExpired || e.Code == sessionUnknown) {
		c.session = ""
	}
}

func (c *caller) put() {
	key := fmt.Sprintf("k%d", c.rng.IntN(4))
	value := fmt.Sprintf("v%d", c.ids.Add(1))
	header := http.Header{}
	args := history.PutArgs{Value: value}
	if c.rng.IntN(4) == 0 {
		args.IfRevision = new(uint64)
		header.Set("If-None-Match", "*")
	}
	c.do(history.Event{F: history.Put, Key: key, Args: args}, "PUT", "config/"+key, header, value, func(status int, b []byte, end *history.Event) {
		var p api.Put
		var no api.Problem
		if status < 300 && json.Unmarshal(b, &p) == nil {
			end.Result = history.PutResult{Revision: p.Revision}
		} else if end.Code == string(api.CodeRevisionMismatch) && json.Unmarshal(b, &no) == nil && no.CurrentRevision != nil {
			end.Result = history.PutResult{Current: *no.CurrentRevision}
		}
	})
}

func (c *caller) get() {
	key := fmt.Sprintf("k%d", c.rng.IntN(4))
	header := http.Header{"Accept": {api.TypeJSON}}
	c.do(history.Event{F: history.Get, Key: key}, "GET", "config/"+key, header, "", func(status int, b []byte, end *history.Event) {
		var e api.Entry
		if status < 300 && json.Unmarshal(b, &e) == nil && e.Value != nil {
			end.Result = history.GetResult{Found: true, Value: *e.Value, Revision: e.Revision}
		}
	})
}

func (c *caller) deleteKey() {
	key := fmt.Sprintf("k%d", c.rng.IntN(4))
	c.do(history.Event{F: history.Delete, Key: key, Args: history.DeleteArgs{}}, "DELETE", "config/"+key, http.Header{}, "", nil)
}

func (c *caller) lock() {
	name, wait := fmt.Sprintf("lock-%d", c.rng.IntN(2)), c.rng.IntN(300)
	e := c.do(history.Event{F: history.Acquire, Key: name, Session: c.session, Args: history.AcquireArgs{Wait: int64(wait) * int64(time.Millisecond)}},
		"PUT", fmt.Sprintf("locks/%s?wait=%dms", name, wait), http.Header{}, fmt.Sprintf(`{"session":%q}`, c.session),
		func(status int, b []byte, end *history.Event) {
			var g api.Grant
			if status < 300 && json.Unmarshal(b, &g) == nil {
				end.Session, end.Fence = g.Session, g.Fence
			}
		})
	if e.Kind != history.OK {
		return
	}
	time.Sleep(time.Duration(c.rng.IntN(20)) * time.Millisecond)
	if c.rng.IntN(8) == 0 {
		return // it is left to the end of the session
	}
	header := http.Header{"If-Match": {api.FormatETag(e.Fence)}}
	c.do(history.Event{F: history.Release, Key: name, Session: c.session, Fence: e.Fence, Args: history.ReleaseArgs{Fence: e.Fence}},
		"DELETE", "locks/"+name, header, "", nil)
}

func (c *caller) holder() {
	name := fmt.Sprintf("lock-%d", c.rng.IntN(2))
	c.do(history.Event{F: history.Holder, Key: name}, "GET", "locks/"+name, http.Header{}, "", func(status int, b []byte, end *history.Event) {
		var l api.Lock
		if status < 300 && json.Unmarshal(b, &l) == nil {
			var r history.HolderResult
			for _, h := range l.Holders {
				r.Holders = append(r.Holders, history.Hold{Session: h.Session, Fence: h.Fence})
			}
			end.Result = r
		}
	})
}

func (c *caller) run(stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		switch n := c.rng.IntN(10); {
		case c.session == "" || n == 0 && i%40 == 39: // or the session is left to die
			c.open()
		case i%8 == 7:
			c.keepAlive()
		case n < 3:
			c.put()
		case n < 6:
			c.get()
		case n == 6:
			c.deleteKey()
		case n < 9:
			c.lock()
		default:
			c.holder()
		}
		time.Sleep(time.Duration(c.rng.IntN(8)) * time.Millisecond)
	}
}

// TestRealNodes judges a run of real nodes, of which the leader is killed.
func TestRealNodes(t *testing.T) {
	dir := t.TempDir()
	c, err := cluster.Start(cluster.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, s := range c.States() {
		urls = append(urls, s.URL)
	}
	var record bytes.Buffer
	h := history.NewWriter(&record, history.Run{
		Name: "real", Nodes: []string{"n1", "n2", "n3"}, Workload: "mixed", Faults: []string{"kill-leader"}, Drift: 0.02, TTL: 2 * time.Second,
	})
	stop, all, ids, done := make(chan struct{}), sync.WaitGroup{}, &atomic.Uint64{}, &atomic.Uint64{}
	for i := range 5 {
		all.Go(func() {
			(&caller{h: h, urls: urls, ids: ids, done: done, rng: rand.New(rand.NewPCG(7, uint64(i)))}).run(stop)
		})
	}
	more := func(n uint64) {
		for from := done.Load(); done.Load() < from+n; time.Sleep(10 * time.Millisecond) {
		}
	}
	more(300)
	victim := c.Leader()
	for victim == "" { // nobody leads just now
		time.Sleep(10 * time.Millisecond)
		victim = c.Leader()
	}
	if err := c.Kill(victim); err != nil {
		t.Fatal(err)
	}
	h.Write(history.Event{Kind: history.Fault, Fault: "kill-leader", Phase: "begin", Nodes: []string{victim}})
	time.Sleep(time.Second)
	if err := c.Restart(victim); err != nil {
		t.Fatal(err)
	}
	h.Write(history.Event{Kind: history.Fault, Fault: "kill-leader", Phase: "end", Nodes: []string{victim}})
	more(300)
	time.Sleep(3 * time.Second) // sessions that were left to die do
	close(stop)
	all.Wait()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := decided.ReadDir(filepath.Join(dir, "n1")); err == nil {
		t.Error("the directory of a running node was read")
	}
	c.Stop()
	judgeReal(t, dir, record.Bytes())
}

func judgeReal(t *testing.T, dir string, record []byte) {
	file := filepath.Join(dir, "history.ndjson")
	if err := os.WriteFile(file, record, 0o600); err != nil {
		t.Fatal(err)
	}
	var logs []string
	for _, name := range []string{"n1", "n2", "n3"} {
		logs = append(logs, filepath.Join(dir, name+".ndjson"))
		if err := decided.Save(filepath.Join(dir, name), logs[len(logs)-1]); err != nil {
			t.Fatal(err)
		}
	}
	h, log, err := Load(file, logs)
	if err != nil {
		t.Fatal(err)
	}
	v := Run(h, log, Options{Failover: time.Minute})
	for _, c := range v.Checks {
		slow := c.Outcome == verdict.Undecided && strings.HasPrefix(c.Name, "linear-") // this machine may be
		if c.Outcome != verdict.Passed && c.Outcome != verdict.None && !slow {
			t.Errorf("%s is %s", c.Name, c.Outcome)
		}
	}
	t.Logf("%v\n%s", v.Counts, text(v))
	for _, c := range v.Checks {
		t.Log(c.Name, c.Counts)
	}
}
