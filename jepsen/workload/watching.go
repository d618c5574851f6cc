//go:build linux

package workload

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
)

// watchPrefix is of what is written for watchers.
const watchPrefix = "watch/"

// watching is a writer in the first worker of each process, a watcher in the other.
func watching(ctx context.Context, w *worker) {
	if w.index == 0 {
		keys := &rota{prefix: watchPrefix, width: 3, calls: lifeCalls, every: lifeTime}
		registers(ctx, w, keys, call{}, 25*time.Millisecond)
		return
	}
	from := uint64(1) // all that there ever was
	for ctx.Err() == nil {
		from = w.watch(ctx, from)
		w.roam()
		w.pause(ctx, 50*time.Millisecond)
	}
}

// silence is after what time without a line a stream is given up: bookmarks come
// every ten seconds.
const silence = 13 * time.Second

// watch reads one stream until it ends, and returns from where the next one goes on.
func (w *worker) watch(ctx context.Context, from uint64) (next uint64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	at := fmt.Sprintf("%s/v1/watch/%s?from=%d", w.Nodes[w.at], client.EscapeName(watchPrefix), from)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		panic(err) // an address of ours
	}
	req.Header.Set("Accept", api.TypeNDJSON)
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	resp, err := w.http.Do(req)
	if err != nil {
		return from
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return w.refused(resp, from)
	}
	lines := bufio.NewScanner(resp.Body)
	const most = 1 << 20
	lines.Buffer(nil, most)
	begun := from
	defer func() {
		// The stream is over; whoever reads the history need not guess where it ended.
		w.write(history.Event{Kind: history.Info, Process: w.id, Op: w.unique(), F: history.Watched, Key: watchPrefix, Node: w.Names[w.at],
			Args: history.WatchArgs{Prefix: watchPrefix, From: begun}})
	}()
	var group []api.Event // of one revision, which come together
	for lines.Scan() {
		quiet.Reset(silence)
		var e api.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			return from // cut off within a line
		}
		if e.Type == api.EventError {
			return from
		}
		if group = append(group, e); e.More {
			continue
		}
		for _, one := range group {
			w.watched(one, begun)
		}
		if group = nil; e.Revision+1 > from {
			from = e.Revision + 1
		}
	}
	return from
}

// refused notes that a stream cannot go on where it was, and begins anew.
func (w *worker) refused(resp *http.Response, from uint64) uint64 {
	var p api.Problem
	if json.NewDecoder(resp.Body).Decode(&p) != nil || p.Code != api.CodeCompacted {
		return from
	}
	op := w.unique()
	w.write(history.Event{Kind: history.Fail, Process: w.id, Op: op, F: history.Watched, Key: watchPrefix, Node: w.Names[w.at],
		Status: resp.StatusCode, Code: string(p.Code), Args: history.WatchArgs{Prefix: watchPrefix, From: from}})
	w.id = w.process()
	return p.OldestRevision
}

func (w *worker) watched(e api.Event, from uint64) {
	r := history.WatchResult{Type: e.Type, Key: e.Name, Revision: e.Revision}
	if e.Entry != nil && e.Entry.Value != nil {
		r.Value = *e.Entry.Value
	}
	w.write(history.Event{Kind: history.OK, Process: w.id, Op: w.unique(), F: history.Watched, Key: watchPrefix, Node: w.Names[w.at],
		Args: history.WatchArgs{Prefix: watchPrefix, From: from}, Result: r})
}
