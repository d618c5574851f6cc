package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

// How long a watch waits before it asks a node again, and how often it looks for
// nodes that are new.
const (
	againAfter = 500 * time.Millisecond
	lookEvery  = 5 * time.Second
	quietFor   = 30 * time.Second // without a bookmark: the connection is dead
)

// A watcher follows the events of all nodes.
type watcher struct {
	app
	client *client.Client
	only   []string
	next   map[string]uint64 // by the node's id: what to begin with
	events chan api.NodeEvent
	wants  func(api.NodeEvent) bool
}

// run prints what happens on members, and on those that come later, until ctx
// ends.
func (w *watcher) run(ctx context.Context, members []api.Member, p *paper) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	followed := map[string]bool{}
	add := func(members []api.Member) {
		for _, m := range members {
			if m.HTTP == "" || followed[m.ID] {
				continue
			}
			followed[m.ID] = true
			go w.follow(ctx, m, max(w.next[m.ID], 1))
		}
	}
	add(members)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-w.events:
			if err := p.print(e); err != nil {
				return err
			}
		case <-look.C:
			if found, err := w.members(ctx, w.client, w.only); err == nil {
				add(found)
			}
		}
	}
}

// follow tells of one node's events from an id on until ctx ends. From 1, which is
// refused with the oldest id that there is, means all.
func (w *watcher) follow(ctx context.Context, m api.Member, from uint64) {
	silent := false
	for ctx.Err() == nil {
		answered := false
		err := w.read(ctx, m, &from, func(e api.NodeEvent) {
			if silent && !answered {
				w.Say("prytany: %s answers again", m.Name)
			}
			answered, silent = true, false
			if e.Kind == api.NodeBookmark || !w.wants(e) {
				return
			}
			select {
			case w.events <- e:
			case <-ctx.Done():
			}
		})
		var p *api.Problem
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &p) && p.Code == api.CodeCompacted:
			if from > 1 {
				w.Say("prytany: %s has restarted, or it saw more than it keeps: some of its events are missing", m.Name)
			}
			from = p.OldestID
			continue
		case errors.As(err, &p) && p.Field == "from":
			from = 1 // another node has taken its address
		case !silent:
			silent = true
			w.missing(m, err)
		}
		cli.Pause(ctx, againAfter)
	}
}

// read reads one stream of a node from *from on, and moves it.
func (w *watcher) read(ctx context.Context, m api.Member, from *uint64, tell func(api.NodeEvent)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dead := time.AfterFunc(quietFor, cancel)
	defer dead.Stop()
	resp, err := w.get(ctx, m, fmt.Sprintf("/v1/events?from=%d", *from), http.Header{"Accept": {api.TypeNDJSON}})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		dead.Reset(quietFor)
		var e api.NodeEvent
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			return fmt.Errorf("its answer makes no sense: %w", err)
		}
		if e.Kind == api.NodeError && e.Problem != nil {
			return e.Problem
		}
		*from = e.ID + 1
		tell(e)
	}
	if err := in.Err(); err != nil {
		return err
	}
	return errors.New("it has ended the connection")
}
