package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
)

const (
	pace    = 2 * time.Millisecond   // from one write to the next, if it is answered by then
	retry   = 5 * time.Millisecond   // from a failure to the next try
	hasty   = 250 * time.Millisecond // then a try is given up, and the write tried again
	patient = time.Second            // the same, where a node must answer everything itself
	lockTTL = "2s"
)

// failures are tries that failed, by how.
type failures struct {
	Refused    int `json:"refused,omitempty"`     // no connection: certainly not applied
	TimedOut   int `json:"timed_out,omitempty"`   // no answer in time
	Broken     int `json:"broken,omitempty"`      // the connection ended
	NotApplied int `json:"not_applied,omitempty"` // an answer that says so
	Unknown    int `json:"unknown,omitempty"`     // an answer that leaves it open
}

func (f failures) sum() int { return f.Refused + f.TimedOut + f.Broken + f.NotApplied + f.Unknown }

func (f failures) plus(g failures) failures {
	return failures{f.Refused + g.Refused, f.TimedOut + g.TimedOut, f.Broken + g.Broken, f.NotApplied + g.NotApplied, f.Unknown + g.Unknown}
}

// count counts a try that ended without an answer.
func (f *failures) count(err error) {
	var op *net.OpError
	switch timeout, ok := errors.AsType[net.Error](err); {
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Refused++
	case ok && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		f.TimedOut++
	case errors.As(err, &op) && op.Op == "dial":
		f.Refused++
	default:
		f.Broken++
	}
}

// A writer counts up in an entry of its own, each write on the condition that
// the one before is the newest, so that none can be lost or happen twice
// unnoticed. Fields are its goroutine's until that has ended.
type writer struct {
	node     *node
	key      string
	http     *http.Client
	perTry   time.Duration
	epoch    time.Time
	version  uint64 // of the newest acknowledged write; each adds 1
	revision uint64
	open     bool            // the fate of a try for the next one is not known
	acks     []time.Duration // since epoch
	failed   failures
	wrong    []string // what breaks a promise
}

func newWriter(n *node, key string, perTry time.Duration, epoch time.Time) *writer {
	return &writer{
		node: n, key: key, perTry: perTry, epoch: epoch,
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}},
	}
}

// run writes until ctx ends; while idle is held by somebody, it does not.
func (w *writer) run(ctx context.Context, idle *sync.RWMutex) {
	defer w.http.CloseIdleConnections()
	for ctx.Err() == nil {
		idle.RLock()
		begin := time.Now()
		ok := w.try(ctx)
		idle.RUnlock()
		wait := pace - time.Since(begin)
		if !ok {
			wait = retry
		}
		if wait > 0 {
			sleep(ctx, wait)
		}
	}
}

// try writes once, and reports whether that is acknowledged.
func (w *writer) try(all context.Context) bool {
	ctx, cancel := context.WithTimeout(all, w.perTry)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, w.node.url+"/v1/config/"+w.key, strings.NewReader(strconv.FormatUint(w.version+1, 10)))
	if err != nil {
		w.wrong = append(w.wrong, err.Error())
		return false
	}
	if w.version == 0 {
		req.Header.Set("If-None-Match", "*")
	} else {
		req.Header.Set("If-Match", api.FormatETag(w.revision))
	}
	resp, err := w.http.Do(req)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err != nil {
		w.open = true
		if all.Err() == nil { // else this program has ended it
			w.failed.count(err)
		}
		return false
	}
	return w.answered(resp.StatusCode, body, time.Since(w.epoch))
}

// answered takes an answer, and reports whether the write is acknowledged.
func (w *writer) answered(status int, body []byte, at time.Duration) bool {
	var put api.Put
	var p api.Problem
	switch {
	case status < 300:
		if err := json.Unmarshal(body, &put); err != nil || put.Version != w.version+1 || put.Revision <= w.revision {
			w.wrong = append(w.wrong, fmt.Sprintf("%s: version %d at revision %d after version %d at %d", w.key, put.Version, put.Revision, w.version, w.revision))
		}
		w.acknowledge(put.Revision, at)
		return true
	case json.Unmarshal(body, &p) != nil:
		w.failed.Unknown++
		w.open = true
	case p.Code == api.CodeRevisionMismatch:
		// Nobody else writes here: it must have been an earlier try.
		now := uint64(0)
		if p.CurrentRevision != nil {
			now = *p.CurrentRevision
		}
		if !w.open || now <= w.revision {
			w.wrong = append(w.wrong, fmt.Sprintf("%s: revision %d is current after version %d at %d was acknowledged", w.key, now, w.version, w.revision))
		}
		w.acknowledge(now, at)
		return true
	case p.Applied == api.AppliedNo:
		w.failed.NotApplied++
	default:
		w.failed.Unknown++
		w.open = true
	}
	return false
}

func (w *writer) acknowledge(revision uint64, at time.Duration) {
	w.version, w.revision, w.open = w.version+1, revision, false
	w.acks = append(w.acks, at)
}

// verify reads the entry at n and compares it with what was acknowledged.
func (w *writer) verify(ctx context.Context, n *node) string {
	status, body, err := n.do(ctx, http.MethodGet, "/v1/config/"+w.key, "")
	var e api.Entry
	if err == nil && status == http.StatusOK {
		err = json.Unmarshal(body, &e)
	}
	switch {
	case err != nil:
		return fmt.Sprintf("%s at %s: %v", w.key, n.name, err)
	case status != http.StatusOK && w.version > 0:
		return fmt.Sprintf("%s at %s: answer %d; version %d was acknowledged", w.key, n.name, status, w.version)
	case e.Version == w.version && e.Revision == w.revision, e.Version == w.version+1 && w.open:
		return ""
	}
	return fmt.Sprintf("%s at %s: version %d at revision %d; version %d at %d was acknowledged", w.key, n.name, e.Version, e.Revision, w.version, w.revision)
}

// A locker takes and releases one lock, at all nodes in turn, and sees that the
// fence only grows.
type locker struct {
	nodes  []*node
	name   string
	fence  uint64
	grants int
	wrong  []string
}

func (l *locker) run(ctx context.Context, idle *sync.RWMutex) {
	for i := 0; ctx.Err() == nil; i++ {
		idle.RLock()
		l.cycle(ctx, l.nodes[i%len(l.nodes)])
		idle.RUnlock()
		sleep(ctx, 50*time.Millisecond)
	}
}

func (l *locker) cycle(ctx context.Context, n *node) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	status, body, err := n.do(ctx, http.MethodPut, "/v1/locks/"+l.name, `{"ttl":"`+lockTTL+`"}`)
	if err != nil || status != http.StatusOK {
		return // somebody else's fate is measured
	}
	var g api.Grant
	if err := json.Unmarshal(body, &g); err != nil || g.Fence <= l.fence {
		l.wrong = append(l.wrong, fmt.Sprintf("fence %d after %d", g.Fence, l.fence))
	}
	l.fence = max(l.fence, g.Fence)
	l.grants++
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, n.url+"/v1/locks/"+l.name, nil)
	if err != nil {
		return
	}
	req.Header.Set("If-Match", api.FormatETag(g.Fence))
	if resp, err := n.http.Do(req); err == nil {
		_ = resp.Body.Close() // if it was not released, it runs out
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
