package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// A lock is one that many want.
type lock struct {
	name string
	mu   sync.Mutex
	high uint64          // the highest fence that was granted
	seen map[uint64]bool // the newest ones
}

const maxSeen = 100_000

// highest is the floor of a grant that is asked for from now on.
func (k *lock) highest() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.high
}

// granted takes a fence whose request began when the highest was floor, and returns what
// is wrong with it.
func (k *lock) granted(fence, floor uint64) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.seen) >= maxSeen {
		clear(k.seen)
	}
	again := k.seen[fence]
	k.seen[fence] = true
	k.high = max(k.high, fence)
	switch {
	case again:
		return fmt.Sprintf("%s: fence %d was granted twice", k.name, fence)
	case fence <= floor:
		return fmt.Sprintf("%s: fence %d was granted after %d", k.name, fence, floor)
	}
	return ""
}

// lock takes a lock, tells its fence to a resource, and lets go, nine times in ten.
func (l *workload) lock(ctx context.Context, dice *rand.Rand) ending {
	return l.grab(ctx, dice, l.locks[dice.IntN(len(l.locks))], "")
}

// wait waits for one of few locks, and gives up in half of all cases.
func (l *workload) wait(ctx context.Context, dice *rand.Rand) ending {
	if dice.IntN(2) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(100+dice.IntN(1400))*time.Millisecond)
		defer cancel()
	}
	return l.grab(ctx, dice, l.waited[dice.IntN(len(l.waited))], "?wait=2s")
}

func (l *workload) grab(all context.Context, dice *rand.Rand, k *lock, query string) ending {
	ctx, cancel := context.WithTimeout(all, patience)
	defer cancel()
	n, floor := l.any(dice), k.highest()
	a := l.call(ctx, n, n.HTTP1, http.MethodPut, "/v1/locks/"+k.name+query, `{"ttl":"4s"}`)
	var g api.Grant
	if e := a.ending(); e != done {
		return e
	}
	if err := json.Unmarshal(a.body, &g); err != nil {
		l.breach(badFences, "%s: an answer that is none: %s", k.name, a.body)
		return unknown
	}
	if why := k.granted(g.Fence, floor); why != "" {
		l.breach(badFences, "%s", why)
	}
	// It is let go by somebody who has the time.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(all), patience)
	defer cancel()
	l.call(ctx, n, n.HTTP1, http.MethodPut, "/v1/fences/"+k.name, fmt.Sprintf(`{"fence":%d}`, g.Fence))
	if dice.IntN(10) > 0 {
		l.call(ctx, n, n.HTTP1, http.MethodDelete, "/v1/locks/"+k.name, "", "If-Match", api.FormatETag(g.Fence))
	}
	return done
}

const (
	sessionTTL = 6 * time.Second
	held       = 3 * time.Second
)

// life is how long a session or a watch lasts.
func life(dice *rand.Rand) time.Duration {
	return time.Duration(5_000+dice.IntN(25_000)) * time.Millisecond
}

// live has one session after the other until ctx ends.
func (l *workload) live(ctx context.Context, i int, dice *rand.Rand) {
	if !sleep(ctx, time.Duration(dice.IntN(5000))*time.Millisecond) {
		return
	}
	for ctx.Err() == nil {
		e := l.session(ctx, i, dice)
		l.count("session", e)
		if e != done {
			sleep(ctx, time.Second)
		}
	}
}

// session opens one, gives it an entry and a lock, keeps it alive and ends it. Three in
// ten are left to run out.
func (l *workload) session(ctx context.Context, i int, dice *rand.Rand) ending {
	until := time.Now().Add(life(dice))
	n := l.any(dice)
	sent := time.Now()
	var s api.SessionCreated
	a := l.short(n, n.HTTP1, http.MethodPost, "/v1/sessions", fmt.Sprintf(`{"ttl":%q,"name":"soak-%d"}`, sessionTTL, i))
	if e := a.ending(); e != done {
		return e
	}
	if err := json.Unmarshal(a.body, &s); err != nil {
		return unknown
	}
	l.short(n, n.HTTP1, http.MethodPut, fmt.Sprintf("/v1/config/%ss/%d", prefix, i), "here", api.HeaderSession, s.ID)
	l.short(n, n.HTTP1, http.MethodPut, fmt.Sprintf("/v1/locks/%ss/%d", prefix, i), fmt.Sprintf(`{"session":%q}`, s.ID))
	for ctx.Err() == nil && time.Now().Before(until) {
		began := time.Now()
		n = l.any(dice)
		switch a := l.short(n, n.HTTP2, http.MethodPut, fmt.Sprintf("/v1/sessions/%s?hold=%v", s.ID, held), ""); {
		case a.ending() == done:
			sent = began
		case a.problem.Code == api.CodeSessionExpired || a.problem.Code == api.CodeSessionUnknown:
			if kept := time.Since(sent); kept < sessionTTL {
				l.breach(badLeases, "%s: %s %v after a renewal was sent that was acknowledged; its TTL is %v", s.ID, a.problem.Code, kept, sessionTTL)
			}
			return refused
		default:
			time.Sleep(50 * time.Millisecond)
		}
	}
	if dice.IntN(10) < 7 {
		l.short(n, n.HTTP1, http.MethodDelete, "/v1/sessions/"+s.ID, "")
	}
	return done
}

// short sends a request that is not broken off when the run ends.
func (l *workload) short(n *node, c *http.Client, method, path, body string, headers ...string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return l.call(ctx, n, c, method, path, body, headers...)
}

// watch attaches one watch after the other until ctx ends, and drops it.
func (l *workload) watch(ctx context.Context, _ int, dice *rand.Rand) {
	from := uint64(0)
	if !sleep(ctx, time.Duration(dice.IntN(5000))*time.Millisecond) {
		return
	}
	for ctx.Err() == nil {
		last, e := l.follow(ctx, dice, from)
		l.count("watch", e)
		if from = 0; e == done && dice.IntN(2) == 0 {
			from = last + 1 // the next goes on where this was
		}
		if e != done {
			sleep(ctx, time.Second)
		}
	}
}

// follow reads one watch for a while. What it is told of comes in order, and nothing of
// before from.
func (l *workload) follow(all context.Context, dice *rand.Rand, from uint64) (last uint64, e ending) {
	ctx, cancel := context.WithTimeout(all, life(dice))
	defer cancel()
	n, path := l.any(dice), "/v1/watch/"+prefix
	if from > 0 {
		path += fmt.Sprintf("?from=%d", from)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+path, strings.NewReader(""))
	if err != nil {
		panic(err) // the address is made here
	}
	req.Header.Set("Accept", api.TypeNDJSON)
	resp, err := n.HTTP2.Do(req)
	if err != nil {
		return 0, refused
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, refused
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event api.Event
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			break // cut off
		}
		if event.Type == api.EventError {
			return last, refused
		}
		if event.Revision < last || from > 0 && event.Type != api.EventBookmark && event.Revision < from {
			l.breach(badWatches, "%s of revision %d after %d, from %d", event.Type, event.Revision, last, from)
		}
		last = event.Revision
	}
	if ctx.Err() == nil {
		return last, refused // the node was killed
	}
	return last, done
}
