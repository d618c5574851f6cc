package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// An apiTest asks the nodes of one real cluster in turn, so that most requests
// are forwarded.
type apiTest struct {
	t    *testing.T
	c    *Cluster
	urls []string
	next *atomic.Int64
}

func (a apiTest) sub(t *testing.T) apiTest { return apiTest{t, a.c, a.urls, a.next} }

// url returns the next node's URL.
func (a apiTest) url() string {
	return a.urls[int(a.next.Add(1))%len(a.urls)]
}

// do sends one request to the next node and decodes the answer into out, if it
// is not nil. A node that cannot answer at present, and says that the request may be
// sent again, gets it again.
func (a apiTest) do(want int, method, path, body string, out any, header ...string) http.Header {
	a.t.Helper()
	url := a.url() + path
	resp, raw := a.send(method, url, body, header...)
	for end := time.Now().Add(time.Minute); resp.StatusCode != want && resp.StatusCode >= 500 && again(resp.StatusCode, raw) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		resp, raw = a.send(method, url, body, header...)
	}
	if resp.StatusCode != want {
		a.t.Fatalf("%s %s %s: %s; want %d\n%s", method, path, body, resp.Status, want, raw)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(raw), out); err != nil {
			a.t.Fatalf("%s %s: %v\n%s", method, path, err, raw)
		}
	}
	return resp.Header
}

// send sends one request and reads the answer.
func (a apiTest) send(method, url, body string, header ...string) (*http.Response, string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var raw strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&raw); err != nil {
		a.t.Fatal(err)
	}
	return resp, raw.String()
}

// fails is do for a refusal of a kind.
func (a apiTest) fails(status int, code api.Code, method, path, body string, header ...string) api.Problem {
	a.t.Helper()
	var p api.Problem
	a.do(status, method, path, body, &p, header...)
	if p.Code != code || p.Applied == "" || p.RequestID == "" {
		a.t.Fatalf("%s %s: %+v; want %s", method, path, p, code)
	}
	return p
}

func (a apiTest) session(ttl string) string {
	a.t.Helper()
	var s api.SessionCreated
	h := a.do(201, "POST", "/v1/sessions", fmt.Sprintf(`{"ttl":%q}`, ttl), &s)
	if s.ID == "" || s.TTLMS <= 0 || h.Get("Location") != "/v1/sessions/"+s.ID {
		a.t.Fatalf("session %+v, %v", s, h)
	}
	return s.ID
}

// acquire takes a lock and returns the fence.
func (a apiTest) acquire(name, session, more string) uint64 {
	a.t.Helper()
	var g api.Grant
	h := a.do(200, "PUT", "/v1/locks/"+name, fmt.Sprintf(`{"session":%q%s}`, session, more), &g)
	if g.Fence == 0 || g.Session != session || h.Get("ETag") != api.FormatETag(g.Fence) || h.Get(api.HeaderFence) != fmt.Sprint(g.Fence) {
		a.t.Fatalf("grant %+v, %v", g, h)
	}
	return g.Fence
}

// later runs f beside the test, which waits for it at its end, also when it has failed.
func (a apiTest) later(f func(apiTest)) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(a)
	}()
	wait = func() { <-done }
	a.t.Cleanup(wait)
	return wait
}

// queued waits until so many wait for a lock.
func (a apiTest) queued(name string, n int) api.Lock {
	a.t.Helper()
	var l api.Lock
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		l = api.Lock{}
		a.do(200, "GET", "/v1/locks/"+name, "", &l)
		if len(l.Waiters) == n {
			return l
		}
	}
	a.t.Fatalf("%d wait for %s; want %d", len(l.Waiters), name, n)
	return l
}

func TestAPI(t *testing.T) {
	c := start(t, 3)
	all := apiTest{t: t, c: c, next: new(atomic.Int64)}
	for _, s := range c.States() {
		all.urls = append(all.urls, s.URL)
	}
	for _, sub := range []struct {
		name string
		run  func(apiTest)
	}{
		{"sessions", testSessions}, {"held keepalives", testHeldKeepalives},
		{"locks", testLocks}, {"shared locks", testSharedLocks}, {"semaphores", testSemaphores},
		{"several locks", testSeveralLocks}, {"breaking and yielding", testBreakAndYield}, {"fences", testFences},
		{"elections", testElections}, {"config", testConfig}, {"transactions", testTransactions},
		{"watches", testWatches}, {"explain", testExplain}, {"retries", testRetries}, {"groups", testGroups}, {"the node", testNode},
	} {
		t.Run(sub.name, func(t *testing.T) { sub.run(all.sub(t)) })
	}
}

func testSessions(a apiTest) {
	id := a.session("30s")
	var kept api.KeptAlive
	a.do(200, "PUT", "/v1/sessions/"+id, "", &kept)
	if kept.TTLMS != 30_000 || kept.ExpiresInMS <= 20_000 || kept.ExpiresInMS > 30_000 {
		a.t.Errorf("kept alive: %+v", kept)
	}
	a.acquire("sessions/a", id, "")
	a.do(201, "PUT", "/v1/config/sessions/key", "v", nil, api.HeaderSession, id)
	if h := a.do(200, "GET", "/v1/config/sessions/key", "", nil); h.Get(api.HeaderSession) != id || h.Get(api.HeaderVersion) != "1" {
		a.t.Errorf("an entry of a session: %v", h)
	}
	var s api.Session
	for end := time.Now().Add(time.Minute); s.ExpiresInMS == nil && time.Now().Before(end); { // absent if the leader was slow to say
		s = api.Session{}
		a.do(200, "GET", "/v1/sessions/"+id, "", &s)
	}
	if len(s.Holds) != 1 || s.Holds[0].Name != "sessions/a" || len(s.Keys) != 1 || s.ExpiresInMS == nil {
		a.t.Errorf("session %+v", s)
	}
	var list api.Sessions
	a.do(200, "GET", "/v1/sessions?prefix="+id, "", &list)
	if len(list.Sessions) != 1 {
		a.t.Errorf("sessions %+v", list)
	}
	a.do(204, "DELETE", "/v1/sessions/"+id, "", nil)
	a.fails(410, api.CodeSessionExpired, "PUT", "/v1/sessions/"+id, "")
	a.fails(404, api.CodeSessionUnknown, "PUT", "/v1/sessions/s-nobody", "")
	a.fails(404, api.CodeKeyNotFound, "GET", "/v1/config/sessions/key", "")
	a.acquire("sessions/a", a.session("10s"), "") // it is free
	a.fails(400, api.CodeInvalid, "POST", "/v1/sessions", `{"ttl":"1s"}`)
}

func testHeldKeepalives(a apiTest) {
	mine, other := a.session("30s"), a.session("30s")
	fence := a.acquire("held/l", mine, "")
	a.do(202, "POST", "/v1/locks/held/l:yield", `{"reason":"deploy"}`, nil)
	var k api.KeptAlive
	a.do(200, "PUT", "/v1/sessions/"+mine+"?hold=100ms", "", &k)
	if k.HeldMS < 90 || k.Revision == 0 || len(k.Events) != 0 {
		a.t.Errorf("without news: %+v", k)
	}
	since := k.Revision
	wait := a.later(func(a apiTest) {
		a.queued("held/l", 1)
		a.do(204, "DELETE", "/v1/locks/held/l", "", nil, "If-Match", api.FormatETag(fence))
	})
	waited := a.later(func(a apiTest) {
		var g api.Grant
		a.do(200, "PUT", "/v1/locks/held/l?wait=20s", fmt.Sprintf(`{"session":%q}`, other), &g)
	})
	a.do(200, "PUT", fmt.Sprintf("/v1/sessions/%s?hold=60s&since=%d", mine, since), "", &k)
	if len(k.Events) != 1 || k.Events[0].Type != api.EventUnlock || k.Events[0].Fence != fence || k.Events[0].Reason != "released" || k.Missed {
		a.t.Errorf("news: %+v", k)
	}
	wait()
	waited()
	a.do(200, "PUT", fmt.Sprintf("/v1/sessions/%s?hold=60s&since=%d", other, since), "", &k)
	if len(k.Events) != 1 || k.Events[0].Type != api.EventLock {
		a.t.Errorf("news of the grant: %+v", k)
	}
}

func testLocks(a apiTest) {
	var g api.Grant
	h := a.do(200, "PUT", "/v1/locks/locks/one", `{"ttl":"30s","note":"n"}`, &g)
	if g.Mode != api.ModeExclusive || g.Session == "" || h.Get(api.HeaderRevision) != fmt.Sprint(g.Fence) || h.Get(api.HeaderSlot) == "" {
		a.t.Errorf("grant %+v %v", g, h)
	}
	p := a.fails(409, api.CodeLockHeld, "PUT", "/v1/locks/locks/one", `{"ttl":"30s"}`)
	if p.Holder == nil || p.Holder.Fence != g.Fence || p.Holder.Note != "n" || p.QueuePosition != 1 {
		a.t.Errorf("refusal %+v", p)
	}
	if again := a.acquire("locks/one", g.Session, ""); again != g.Fence {
		a.t.Errorf("a renewal has fence %d; want %d", again, g.Fence)
	}
	a.do(204, "GET", fmt.Sprintf("/v1/locks/locks/one?fence=%d", g.Fence), "", nil)
	a.fails(412, api.CodeStaleFence, "GET", "/v1/locks/locks/one?fence=1", "")
	a.fails(428, api.CodeFenceRequired, "DELETE", "/v1/locks/locks/one", "")
	a.fails(412, api.CodeStaleFence, "DELETE", "/v1/locks/locks/one", "", "If-Match", `"1"`)

	// Two stand in line and are served in order; one gives up.
	first, second, third := a.session("30s"), a.session("30s"), a.session("30s")
	var got [2]api.Grant
	w1 := a.later(func(a apiTest) {
		a.do(200, "PUT", "/v1/locks/locks/one?wait=30s", fmt.Sprintf(`{"session":%q}`, first), &got[0])
	})
	a.queued("locks/one", 1)
	a.fails(409, api.CodeLockHeld, "PUT", "/v1/locks/locks/one?wait=100ms", fmt.Sprintf(`{"session":%q}`, third))
	w2 := a.later(func(a apiTest) {
		a.do(200, "PUT", "/v1/locks/locks/one?wait=30s", fmt.Sprintf(`{"session":%q}`, second), &got[1])
	})
	l := a.queued("locks/one", 2)
	if l.Waiters[0].Session != first || l.Waiters[1].Session != second {
		a.t.Errorf("queue %+v", l.Waiters)
	}
	poll := a.later(func(a apiTest) {
		var l api.Lock
		a.do(200, "GET", "/v1/locks/locks/one?wait=30s", "", &l, "If-None-Match", api.FormatETag(g.Fence))
		if len(l.Holders) != 1 || l.Holders[0].Fence == g.Fence {
			a.t.Errorf("long poll: %+v", l)
		}
	})
	a.do(204, "DELETE", "/v1/locks/locks/one", "", nil, "If-Match", api.FormatETag(g.Fence))
	w1()
	poll()
	a.do(204, "DELETE", "/v1/locks/locks/one", "", nil, "If-Match", api.FormatETag(got[0].Fence))
	w2()
	if got[0].Fence <= g.Fence || got[1].Fence <= got[0].Fence || got[1].WaitedMS == 0 {
		a.t.Errorf("grants %+v", got)
	}
	a.do(204, "DELETE", "/v1/sessions/"+second, "", nil)
	a.do(200, "GET", "/v1/locks/locks/one", "", &l)
	if len(l.Holders) != 0 || len(l.Past) != 3 || l.Past[0].Reason != "ended" || l.Past[1].Reason != "released" {
		a.t.Errorf("history %+v", l)
	}
	var list api.Locks
	a.do(200, "GET", "/v1/locks?prefix=locks/", "", &list)
	if len(list.Locks) != 1 {
		a.t.Errorf("list %+v", list)
	}

	// A lock-delay keeps the lock closed after its holder has expired.
	var s api.SessionCreated
	a.do(201, "POST", "/v1/sessions", `{"ttl":"5s","lock_delay":"60s"}`, &s)
	a.acquire("locks/delayed", s.ID, "")
	for begin := time.Now(); ; {
		p := a.fails(409, api.CodeLockHeld, "PUT", "/v1/locks/locks/delayed", `{"ttl":"30s"}`)
		if p.Holder == nil && p.LockDelayRemainingMS > 0 {
			break
		}
		if time.Since(begin) > time.Minute {
			a.t.Fatalf("no lock-delay: %+v", p)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func testSharedLocks(a apiTest) {
	r1, r2, w, r3 := a.session("30s"), a.session("30s"), a.session("30s"), a.session("30s")
	f1 := a.acquire("shared/l", r1, `,"mode":"shared"`)
	f2 := a.acquire("shared/l", r2, `,"mode":"shared"`)
	a.fails(409, api.CodeUpgradeRefused, "PUT", "/v1/locks/shared/l", fmt.Sprintf(`{"session":%q}`, r1))
	var gw, g3 api.Grant
	waitW := a.later(func(a apiTest) {
		a.do(200, "PUT", "/v1/locks/shared/l?wait=30s", fmt.Sprintf(`{"session":%q}`, w), &gw)
	})
	a.queued("shared/l", 1)
	// A reader does not overtake the writer.
	a.fails(409, api.CodeLockHeld, "PUT", "/v1/locks/shared/l", fmt.Sprintf(`{"session":%q,"mode":"shared"}`, r3))
	wait3 := a.later(func(a apiTest) {
		a.do(200, "PUT", "/v1/locks/shared/l?wait=30s", fmt.Sprintf(`{"session":%q,"mode":"shared"}`, r3), &g3)
	})
	a.queued("shared/l", 2)
	a.do(204, "DELETE", "/v1/locks/shared/l", "", nil, "If-Match", api.FormatETag(f1))
	a.do(204, "DELETE", "/v1/locks/shared/l", "", nil, "If-Match", api.FormatETag(f2))
	waitW()
	// The writer becomes a reader and lets the other in, in one step.
	if f := a.acquire("shared/l", w, `,"mode":"shared"`); f != gw.Fence {
		a.t.Errorf("a downgrade has fence %d; want %d", f, gw.Fence)
	}
	wait3()
	if g3.Mode != api.ModeShared || g3.Fence <= gw.Fence {
		a.t.Errorf("reader %+v after writer %+v", g3, gw)
	}
	a.do(204, "DELETE", "/v1/locks/shared/l", "", nil, "If-Match", api.FormatETag(g3.Fence))
	if f := a.acquire("shared/l", w, `,"mode":"exclusive"`); f <= g3.Fence {
		a.t.Errorf("an upgrade has fence %d; want one above %d", f, g3.Fence)
	}
	a.fails(412, api.CodeStaleFence, "DELETE", "/v1/locks/shared/l", "", "If-Match", api.FormatETag(gw.Fence))
}

func testSemaphores(a apiTest) {
	var ids []string
	for range 4 {
		ids = append(ids, a.session("30s"))
	}
	f0 := a.acquire("sem/l", ids[0], `,"slots":2`)
	a.acquire("sem/l", ids[1], `,"slots":2`)
	a.fails(409, api.CodeLockHeld, "PUT", "/v1/locks/sem/l", fmt.Sprintf(`{"session":%q,"slots":2}`, ids[2]))
	p := a.fails(409, api.CodeLimitMismatch, "PUT", "/v1/locks/sem/l", fmt.Sprintf(`{"session":%q,"slots":3}`, ids[2]))
	if p.Slots != 2 || p.RequestedSlots != 3 {
		a.t.Errorf("mismatch %+v", p)
	}
	var g api.Grant
	wait := a.later(func(a apiTest) {
		a.do(200, "PUT", "/v1/locks/sem/l?wait=30s", fmt.Sprintf(`{"session":%q,"slots":2}`, ids[3]), &g)
	})
	a.queued("sem/l", 1)
	a.do(204, "DELETE", "/v1/locks/sem/l", "", nil, "If-Match", api.FormatETag(f0))
	wait()
	var l api.Lock
	a.do(200, "GET", "/v1/locks/sem/l", "", &l)
	if l.Slots != 2 || len(l.Holders) != 2 || g.Slots != 2 {
		a.t.Errorf("semaphore %+v, grant %+v", l, g)
	}
	// All at once: those who wait get one fence together, and say whose they release.
	a.do(204, "DELETE", "/v1/locks/sem/l?force=true", "", nil)
	a.acquire("sem/m", ids[0], `,"slots":3`)
	a.acquire("sem/m", ids[1], `,"slots":3`)
}

func testSeveralLocks(a apiTest) {
	mine, other := a.session("30s"), a.session("30s")
	a.acquire("several/b", other, "")
	p := a.fails(409, api.CodeLockHeld, "POST", "/v1/locks:acquire", fmt.Sprintf(`{"session":%q,"names":["several/a","several/b"]}`, mine))
	if len(p.Held) != 1 || p.Held[0].Name != "several/b" || p.Held[0].Holder == nil || p.Held[0].Holder.Session != other {
		a.t.Errorf("refusal %+v", p)
	}
	a.fails(404, api.CodeLockUnknown, "GET", "/v1/locks/several/a", "")
	var g api.Grants
	a.do(200, "POST", "/v1/locks:acquire", fmt.Sprintf(`{"session":%q,"names":["several/a","several/c"]}`, mine), &g)
	if len(g.Locks) != 2 || g.Locks[0].Fence == 0 || g.Locks[0].Fence != g.Locks[1].Fence {
		a.t.Errorf("grants %+v", g)
	}
	a.fails(400, api.CodeInvalid, "POST", "/v1/locks:acquire", fmt.Sprintf(`{"session":%q,"names":[]}`, mine))
}

func testBreakAndYield(a apiTest) {
	holder := a.session("30s")
	a.acquire("break/l", holder, "")
	a.do(204, "DELETE", "/v1/locks/break/l?force=true", "", nil)
	a.fails(404, api.CodeLockUnknown, "POST", "/v1/locks/break/l:yield", `{}`)
	var l api.Lock
	a.do(200, "GET", "/v1/locks/break/l", "", &l)
	if l.Past[0].Reason != "forced" {
		a.t.Errorf("past %+v", l.Past)
	}
	a.acquire("break/l", holder, "")
	a.do(202, "POST", "/v1/locks/break/l:yield", `{"within":"300ms","reason":"deploy"}`, nil)
	a.do(200, "GET", "/v1/locks/break/l", "", &l)
	if len(l.Holders) > 0 && (l.Yield == nil || l.Yield.Reason != "deploy") {
		a.t.Errorf("asked: %+v", l)
	}
	a.do(200, "PUT", "/v1/locks/break/l?wait=30s", `{"ttl":"30s"}`, nil)
	l = api.Lock{}
	a.do(200, "GET", "/v1/locks/break/l", "", &l)
	if l.Past[0].Reason != "yielded: deploy" || l.Yield != nil {
		a.t.Errorf("after the time: %+v", l)
	}
}

func testFences(a apiTest) {
	a.fails(404, api.CodeKeyNotFound, "GET", "/v1/fences/disk/1", "")
	var h api.Highest
	for _, n := range []int{37, 37, 40} {
		a.do(200, "PUT", "/v1/fences/disk/1", fmt.Sprintf(`{"fence":%d}`, n), &h)
		if h.Highest != uint64(n) {
			a.t.Errorf("highest %+v; want %d", h, n)
		}
	}
	p := a.fails(412, api.CodeStaleFence, "PUT", "/v1/fences/disk/1", `{"fence":39}`)
	if p.CurrentFence == nil || *p.CurrentFence != 40 {
		a.t.Errorf("refusal %+v", p)
	}
	a.do(200, "GET", "/v1/fences/disk/1", "", &h)
	a.fails(428, api.CodeFenceRequired, "DELETE", "/v1/fences/disk/1", "")
	a.do(204, "DELETE", "/v1/fences/disk/1", "", nil, "If-Match", `"40"`)
	a.fails(400, api.CodeInvalid, "PUT", "/v1/fences/disk/1", `{"fence":0}`)
}

func testElections(a apiTest) {
	one, two, three := a.session("30s"), a.session("30s"), a.session("30s")
	campaign := func(session, value string) string { return fmt.Sprintf(`{"session":%q,"value":%q}`, session, value) }
	var first, second, third api.Term
	h := a.do(200, "PUT", "/v1/elections/el", campaign(one, "http://one"), &first)
	if first.Term == 0 || h.Get("ETag") != api.FormatETag(first.Term) {
		a.t.Errorf("term %+v %v", first, h)
	}
	p := a.fails(409, api.CodeLockHeld, "PUT", "/v1/elections/el", campaign(two, "http://two"))
	if p.Holder == nil || p.Holder.Session != one || p.Holder.Value != "http://one" {
		a.t.Errorf("refusal %+v", p)
	}
	wait2 := a.later(func(a apiTest) { a.do(200, "PUT", "/v1/elections/el?wait=30s", campaign(two, "http://two"), &second) })
	a.queued("el", 1)
	wait3 := a.later(func(a apiTest) {
		a.do(200, "PUT", "/v1/elections/el?wait=30s", campaign(three, "http://three"), &third)
	})
	a.queued("el", 2)
	var e api.Election
	h = a.do(200, "GET", "/v1/elections/el", "", &e)
	if e.Leader == nil || e.Leader.Value != "http://one" || e.Leader.Term != first.Term || len(e.Candidates) != 2 || e.Candidates[1].Value != "http://three" {
		a.t.Errorf("election %+v", e)
	}
	tag := h.Get("ETag")
	poll := a.later(func(a apiTest) {
		var e api.Election
		a.do(200, "GET", "/v1/elections/el?wait=30s", "", &e, "If-None-Match", tag)
		if e.Leader == nil || e.Leader.Value != "http://one/new" {
			a.t.Errorf("after the proclamation: %+v", e)
		}
	})
	a.fails(428, api.CodeFenceRequired, "PATCH", "/v1/elections/el", `{"value":"x"}`)
	a.do(200, "PATCH", "/v1/elections/el", `{"value":"http://one/new"}`, nil, "If-Match", api.FormatETag(first.Term))
	poll()
	a.fails(409, api.CodeNotCandidate, "POST", "/v1/elections/el:transfer", `{"to":"s-nobody"}`)
	var t3 api.Term
	a.do(200, "POST", "/v1/elections/el:transfer", fmt.Sprintf(`{"to":%q}`, three), &t3, "If-Match", api.FormatETag(first.Term))
	wait3()
	if third.Term != t3.Term || third.Term <= first.Term {
		a.t.Errorf("transferred to %+v; the candidate was told %+v", t3, third)
	}
	a.fails(412, api.CodeStaleFence, "PATCH", "/v1/elections/el", `{"value":"x"}`, "If-Match", api.FormatETag(first.Term))
	a.fails(428, api.CodeFenceRequired, "DELETE", "/v1/elections/el", "")
	a.do(204, "DELETE", "/v1/elections/el", "", nil, "If-Match", api.FormatETag(third.Term))
	wait2()
	if second.Term <= third.Term {
		a.t.Errorf("terms %d, %d", third.Term, second.Term)
	}
	// A term guards writes as any fence does.
	a.do(201, "PUT", "/v1/config/el/key", "v", nil, api.HeaderGuard, api.FormatGuard("el", second.Term))
	a.fails(412, api.CodeStaleFence, "PUT", "/v1/config/el/key", "w", api.HeaderGuard, api.FormatGuard("el", third.Term))
	s := a.stream("/v1/elections/el", api.TypeNDJSON)
	if e := s.next(api.EventLeader); e.Value != "http://two" || e.Fence != second.Term {
		a.t.Errorf("the stream begins with %+v", e)
	}
	a.do(204, "DELETE", "/v1/sessions/"+two, "", nil)
	s.next(api.EventUnlock)
}

func testConfig(a apiTest) {
	var put api.Put
	h := a.do(201, "PUT", "/v1/config/app/color", "blue", &put, "Content-Type", "text/plain")
	tag := h.Get("ETag")
	if tag != api.FormatETag(put.Revision) || !put.Created {
		a.t.Errorf("put %+v %v", put, h)
	}
	h = a.do(200, "GET", "/v1/config/app/color", "", nil, "If-Match-Nothing", "")
	if h.Get("ETag") != tag || h.Get("Content-Type") != "text/plain" {
		a.t.Errorf("get %v", h)
	}
	a.do(304, "GET", "/v1/config/app/color", "", nil, "If-None-Match", tag)
	poll := a.later(func(a apiTest) {
		var e api.Entry
		a.do(200, "GET", "/v1/config/app/color?wait=30s", "", &e, "If-None-Match", tag, "Accept", "application/json")
		if e.Value == nil || *e.Value != "green" {
			a.t.Errorf("long poll: %+v", e)
		}
	})
	h = a.do(200, "PUT", "/v1/config/app/color", "green", nil, "If-Match", tag)
	poll()
	p := a.fails(412, api.CodeRevisionMismatch, "PUT", "/v1/config/app/color", "red", "If-Match", tag)
	if p.CurrentRevision == nil || api.FormatETag(*p.CurrentRevision) != h.Get("ETag") {
		a.t.Errorf("mismatch %+v", p)
	}
	a.fails(412, api.CodeRevisionMismatch, "PUT", "/v1/config/app/color", "red", "If-None-Match", "*")
	for _, key := range []string{"app/db/host", "app/db/port", "app/size", "app//odd/..", "application"} {
		a.do(201, "PUT", "/v1/config/"+key, "1", nil)
	}
	var list api.Entries
	a.do(200, "GET", "/v1/config?prefix=app/&limit=2", "", &list)
	revision := list.Revision
	base := a.next.Load() // the next page is asked of the same node
	a.do(200, "PUT", "/v1/config/app/size", "2", nil)
	n := len(list.Entries)
	for list.Next != "" {
		a.next.Store(base - 1)
		next := list.Next
		list = api.Entries{}
		a.do(200, "GET", "/v1/config?prefix=app/&limit=2&cursor="+next, "", &list)
		n += len(list.Entries)
		if list.Revision != revision {
			a.t.Errorf("a page of revision %d; want %d", list.Revision, revision)
		}
	}
	if n != 5 {
		a.t.Errorf("%d entries; want 5", n)
	}
	list = api.Entries{}
	a.do(200, "GET", "/v1/config?prefix=app/&delimiter=/", "", &list)
	if fmt.Sprint(list.Prefixes) != "[app// app/db/]" || len(list.Entries) != 2 {
		a.t.Errorf("rolled up: %+v", list)
	}
	a.do(200, "GET", "/v1/config/app/color?consistency=stale", "", nil)
	a.do(200, "GET", fmt.Sprintf("/v1/config/app/color?min_revision=%d", revision), "", nil)
	a.do(204, "DELETE", "/v1/config/app/color", "", nil)
	a.do(204, "DELETE", "/v1/config/app/color", "", nil)
	a.fails(404, api.CodeKeyNotFound, "GET", "/v1/config/app/color", "")
	a.fails(413, api.CodeTooLarge, "PUT", "/v1/config/large", strings.Repeat("x", 256<<10+1), "Expect", "100-continue")
}

func testTransactions(a apiTest) {
	session := a.session("30s")
	fence := a.acquire("txn/lock", session, "")
	var out api.Transacted
	a.do(200, "POST", "/v1/transactions", fmt.Sprintf(`{
		"if":[{"key":"txn/a","exists":false},{"session":%q},{"lock":"txn/lock","fence":%d}],
		"then":[{"put":"txn/a","value":"1"},{"put":"txn/b","value_base64":"/w=="},{"get":"txn/a"},{"put":"txn/c","value":"","session":%q}],
		"else":[{"get":"txn/a"}]}`, session, fence, session), &out)
	if !out.Succeeded || len(out.Results) != 4 || out.Results[2].Entry == nil || *out.Results[2].Entry.Value != "1" ||
		out.Results[0].Entry.Revision != out.Revision {
		a.t.Errorf("transaction %+v", out)
	}
	revision := out.Revision
	out = api.Transacted{}
	a.do(200, "POST", "/v1/transactions", fmt.Sprintf(`{
		"if":[{"key":"txn/a","revision":%d},{"key":"txn/a","value":"2"},{"key":"txn/nothing","exists":true}],
		"then":[{"delete":"txn/a"}],"else":[{"get":"txn/a"},{"get":"txn/nothing"}]}`, revision), &out)
	if out.Succeeded || len(out.Failed) != 2 || out.Failed[0].Index != 1 || out.Failed[0].Current != revision || out.Failed[1].Index != 2 ||
		len(out.Results) != 2 || out.Results[1].Entry != nil {
		a.t.Errorf("else %+v", out)
	}
	p := a.fails(410, api.CodeSessionExpired, "POST", "/v1/transactions", fmt.Sprintf(`{"then":[{"delete":"txn/a"},{"put":"txn/d","value":"x","session":%q}]}`, a.ended()))
	if p.Operation == nil || *p.Operation != 1 {
		a.t.Errorf("refusal %+v", p)
	}
	a.do(200, "GET", "/v1/config/txn/a", "", nil) // nothing of it was done
	out = api.Transacted{}
	a.do(200, "POST", "/v1/transactions", `{"then":[{"delete_prefix":"txn/"},{"get":"txn/b"}]}`, &out)
	if out.Results[0].Deleted == nil || *out.Results[0].Deleted != 3 || out.Results[1].Entry != nil {
		a.t.Errorf("delete_prefix %+v", out)
	}
	a.fails(400, api.CodeInvalid, "POST", "/v1/transactions", `{"then":[{"putt":"a"}]}`)
}

// ended returns a session that is over.
func (a apiTest) ended() string {
	id := a.session("30s")
	a.do(204, "DELETE", "/v1/sessions/"+id, "", nil)
	return id
}

func testExplain(a apiTest) {
	var e api.Explanation
	a.do(200, "GET", "/v1/explain/locks/explain/l", "", &e)
	if !e.Free || len(e.Reasons) != 0 {
		a.t.Errorf("nothing known: %+v", e)
	}
	holder, waiter := a.session("30s"), a.session("30s")
	a.acquire("explain/l", holder, "")
	wait := a.later(func(a apiTest) {
		a.do(200, "PUT", "/v1/locks/explain/l?wait=30s", fmt.Sprintf(`{"session":%q}`, waiter), nil)
	})
	a.queued("explain/l", 1)
	e = api.Explanation{}
	a.do(200, "GET", "/v1/explain/locks/explain/l?session="+waiter, "", &e)
	if e.Free || len(e.Reasons) == 0 || e.Reasons[0].Code != api.ReasonHeld || e.Position != 1 || e.Lock == nil {
		a.t.Errorf("held: %+v", e)
	}
	a.do(204, "DELETE", "/v1/sessions/"+holder, "", nil)
	wait()
}

func testRetries(a apiTest) {
	session := a.session("30s")
	body := fmt.Sprintf(`{"session":%q}`, session)
	var first, again api.Grant
	a.do(200, "PUT", "/v1/locks/retry/l", body, &first, api.HeaderIdempotencyKey, "retry-1")
	a.do(204, "DELETE", "/v1/locks/retry/l", "", nil, "If-Match", api.FormatETag(first.Fence), api.HeaderIdempotencyKey, "retry-2")
	before := leader(a.t, a.c)
	if err := a.c.Kill(before); err != nil {
		a.t.Fatal(err)
	}
	dead := url(a.t, a.c, before)
	for i, u := range a.urls {
		if u == dead {
			a.urls = append(append([]string{}, a.urls[:i]...), a.urls[i+1:]...)
			break
		}
	}
	a.do(200, "PUT", "/v1/locks/retry/l", body, &again, api.HeaderIdempotencyKey, "retry-1")
	a.do(204, "DELETE", "/v1/locks/retry/l", "", nil, "If-Match", api.FormatETag(first.Fence), api.HeaderIdempotencyKey, "retry-2")
	if again.Fence != first.Fence {
		a.t.Errorf("a retry after a change of leader has fence %d; want %d", again.Fence, first.Fence)
	}
	a.fails(422, api.CodeKeyReused, "PUT", "/v1/locks/retry/m", body, api.HeaderIdempotencyKey, "retry-1")
	var l api.Lock
	a.do(200, "GET", "/v1/locks/retry/l", "", &l)
	if len(l.Holders) != 0 || len(l.Past) != 1 {
		a.t.Errorf("the lock after retries: %+v", l)
	}
	if err := a.c.Restart(before); err != nil {
		a.t.Fatal(err)
	}
	ready(a.t, a.c)
}

func testGroups(a apiTest) {
	a.do(201, "PUT", "/v1/groups/main/config/groups/k", "v", nil)
	a.do(200, "GET", "/v1/config/groups/k", "", nil)
	a.fails(404, api.CodeGroupUnknown, "GET", "/v1/groups/nowhere/config/k", "")
	for _, path := range []string{"/v1/groups/main/elections/nobody", "/v1/groups/main/locks/nobody"} {
		a.fails(404, api.CodeLockUnknown, "GET", path, "")
	}
	a.do(200, "GET", "/v1/groups/main/explain/locks/nobody", "", nil)
	a.fails(404, api.CodeKeyNotFound, "GET", "/v1/groups/main/fences/nobody", "")
}

func testNode(a apiTest) {
	until(a.t, "a node that knows who leads", func() bool {
		var st api.Status
		a.do(200, "GET", "/v1/status", "", &st)
		if len(st.Groups) != 1 || len(st.Groups[0].Voters) != 3 {
			a.t.Fatalf("status %+v", st)
		}
		return st.Groups[0].Leader != ""
	})
	var m api.Members
	a.do(200, "GET", "/v1/members", "", &m)
	if len(m.Members) != 3 {
		a.t.Errorf("members %+v", m)
	}
	for _, path := range []string{"/livez", "/readyz?verbose", "/metrics", "/v1/openapi.json"} {
		a.do(200, "GET", path, "", nil)
	}
	a.fails(404, api.CodeNotFound, "GET", "/v2/anything", "")
	a.fails(405, api.CodeMethodNotAllowed, "PATCH", "/v1/config/k", "")
}
