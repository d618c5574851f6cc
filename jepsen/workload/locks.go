//go:build linux

package workload

import (
	"context"
	"errors"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/resource"
)

// fencedPrefix is of the locks whose resources look at fences.
const fencedPrefix = "lock/"

// A user takes locks through the client library, with a session of its own, and
// works on what they protect the way users do: it looks at the lock when it begins
// and not again between reading and writing.
type user struct {
	*worker
	fenced  bool
	locks   *rota
	client  *client.Client
	session *client.Session
}

// lock is the workload with the library's locks; fenced says whether the resource
// looks at fences.
func lock(fenced bool) func(context.Context, *worker) {
	return func(ctx context.Context, w *worker) {
		prefix := "ulock/"
		if fenced {
			prefix = fencedPrefix
		}
		c, err := client.New(client.Config{Endpoints: w.Nodes, SessionTTL: w.TTL, Timeout: 2 * patience})
		if err != nil {
			panic(err) // addresses of ours
		}
		u := &user{worker: w, fenced: fenced, client: c, locks: &rota{prefix: prefix, width: 2, calls: 8, every: 2 * lifeTime}}
		for ctx.Err() == nil {
			if u.session == nil || u.session.Context().Err() != nil {
				if u.session = u.open(ctx); u.session == nil {
					u.pause(ctx, 100*time.Millisecond)
					continue
				}
			}
			u.cycle(ctx)
			u.pause(ctx, 30*time.Millisecond)
		}
		u.leave()
	}
}

// leave ends the session, so that what is held is held no longer, and closes.
func (u *user) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if u.session != nil && u.session.Context().Err() == nil {
		u.close(ctx, u.session)
	}
	_ = u.client.Close() // what it cannot tell the server ends by itself
}

// A doing is a call of the library that is under way.
type doing struct {
	history.Event
	mu      sync.Mutex
	request string
}

// begin stamps the beginning of a call of the library. The context that it gives has
// the request's id be overheard, since the library makes one itself.
func (u *user) begin(ctx context.Context, f, key string, args any) (context.Context, *doing) {
	d := &doing{Event: history.Event{Kind: history.Invoke, At: u.now(), Process: u.id, Op: u.unique(), F: f, Key: key, Args: args}}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: func(name string, values []string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if strings.EqualFold(name, api.HeaderIdempotencyKey) && len(values) > 0 && d.request == "" {
			d.request = values[0]
		}
	}})
	return ctx, d
}

// end writes the beginning, with the request that was made, and the end of a call of
// the library: with result if err is nil.
func (u *user) end(d *doing, err error, result any) history.Event {
	e := d.Event
	e.At, e.Args, e.Kind, e.Result = u.now(), nil, history.OK, result
	d.mu.Lock()
	d.Request, e.Request = d.request, d.request
	d.mu.Unlock()
	begin := d.Event
	if begin.F != history.Open {
		begin.Session = e.Session
	} else {
		begin.Session = ""
	}
	begin.Fence = 0
	if begin.F == history.Release {
		begin.Fence = e.Fence
	}
	u.write(begin)
	if err != nil {
		e.Kind, e.Result, e.Error = history.Info, nil, err.Error()
		p, refused := errors.AsType[*client.ProblemError](err)
		if refused {
			e.Code, e.Status, e.Revision = p.Code, p.Status, p.Revision
		}
		// What the library finds by its own clock, such as the end of a session, says
		// nothing about a request that is on its way.
		if refused && p.Applied == string(api.AppliedNo) || errors.Is(err, client.ErrUnavailable) || e.Request == "" {
			e.Kind = history.Fail
		}
	}
	u.write(e)
	if e.Kind == history.Info {
		u.id = u.process()
	}
	return e
}

func (u *user) open(ctx context.Context) *client.Session {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*patience)
	defer cancel()
	ctx, begin := u.begin(ctx, history.Open, "", history.OpenArgs{TTL: int64(u.TTL)})
	s, err := u.client.NewSession(ctx, client.SessionConfig{TTL: u.TTL})
	if err == nil {
		begin.Session = s.ID()
	}
	u.end(begin, err, history.OpenResult{TTL: int64(u.TTL)})
	return s
}

// cycle takes a lock, works and lets it go.
func (u *user) cycle(ctx context.Context) {
	const wait = time.Second
	name := u.locks.next(u.worker)
	asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait+2*patience)
	asked, begin := u.begin(asked, history.Acquire, name, history.AcquireArgs{Wait: int64(wait)})
	begin.Session = u.session.ID()
	h, err := u.client.Acquire(asked, name, client.Options{Wait: wait, Session: u.session})
	cancel()
	if err != nil {
		if e := u.end(begin, err, nil); e.Kind == history.Info {
			u.drop()
		}
		return
	}
	begin.Fence, begin.Revision = h.Fence(), h.Fence()
	u.end(begin, nil, history.AcquireResult{})
	believed := u.believe(h)
	u.work(ctx, h)
	believed()
	u.release(h)
}

// drop gives the session up, since it may hold what nobody knows of, and has it
// expire or end behind our back.
func (u *user) drop() {
	s := u.session
	u.session = nil
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	u.close(ctx, s)
}

func (u *user) close(ctx context.Context, s *client.Session) {
	ctx, begin := u.begin(ctx, history.CloseS, "", nil)
	begin.Session = s.ID()
	u.end(begin, s.End(ctx), nil) // that it was over already is as good to the library
}

// believe notes how long the library says that the lock is held: until its deadline,
// also if the process was stopped and hears of that later. The process of the belief is
// one of its own, since the worker calls meanwhile.
func (u *user) believe(h *client.Held) (end func()) {
	id := u.process()
	begin := history.Event{Kind: history.Invoke, Process: id, Op: u.unique(), F: history.Belief, Key: h.Name(), Fence: h.Fence(), Session: h.Session().ID()}
	// The clock is looked at after the stamp, so that what is noted was true then, however long
	// this process stood still before or stands still now.
	begin.At = u.now()
	if h.Err() != nil {
		return func() {}
	}
	u.write(begin)
	return func() {
		e := begin
		e.Kind, e.At = history.OK, u.now()
		if err := h.Err(); err != nil {
			e.Error = err.Error()
		}
		if left := time.Until(h.Deadline()); left < 0 {
			e.At = max(e.At+left, begin.At+1)
		}
		u.write(e)
	}
}

// work reads, thinks and writes, a few times.
func (u *user) work(ctx context.Context, h *client.Held) {
	for range 1 + u.dice.IntN(3) {
		if h.Err() != nil {
			return
		}
		seen := u.useResource(ctx, h.Session().ID(), u.fenced, resource.Ask{Lock: h.Name(), Fenced: u.fenced, Fence: h.Fence()})
		if seen == nil {
			return
		}
		u.pause(ctx, 25*time.Millisecond)
		if u.useResource(ctx, h.Session().ID(), u.fenced, resource.Ask{Lock: h.Name(), Fenced: u.fenced, Fence: h.Fence(), Write: true, Base: seen.Counter, Value: u.unique()}) == nil {
			return
		}
	}
}

// useResource does one operation on a resource that looks at fences or not; nil says
// that it was refused.
func (w *worker) useResource(ctx context.Context, session string, fenced bool, a resource.Ask) *resource.Answer {
	f := history.ResourceRead
	if a.Write {
		f = history.ResourceWrite
	}
	begin := history.Event{Kind: history.Invoke, Process: w.id, Op: w.unique(), F: f, Key: a.Lock, Fence: a.Fence, Session: session,
		Args: history.ResourceArgs{Fenced: fenced, Base: a.Base, Value: a.Value}}
	w.write(begin)
	out, err := w.things.Do(context.WithoutCancel(ctx), a)
	end := begin
	end.At, end.Args, end.Kind = 0, nil, history.OK
	end.Result = history.ResourceResult{Place: out.Place, Counter: out.Counter, Set: out.Set, Highest: out.Highest}
	switch {
	case err != nil:
		end.Kind, end.Result, end.Error = history.Info, nil, err.Error()
	case out.Refused:
		end.Kind = history.Fail
	}
	w.write(end)
	if err != nil {
		w.id = w.process()
	}
	if end.Kind != history.OK {
		return nil
	}
	return &out
}

func (u *user) release(h *client.Held) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	ctx, begin := u.begin(ctx, history.Release, h.Name(), history.ReleaseArgs{Fence: h.Fence()})
	begin.Fence, begin.Session = h.Fence(), h.Session().ID()
	err := h.Unlock(ctx)
	if u.end(begin, err, nil); err != nil && !errors.Is(err, client.ErrLockLost) {
		u.drop()
	}
}
