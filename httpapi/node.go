package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prytany/prytany/httpapi/internal/check"
	"github.com/prytany/prytany/httpapi/internal/feed"
	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
)

// NodeEvents is what a node remembers of its peers and leaders.
type NodeEvents interface {
	// Read returns the events from the id from on, at most limit, in order; from
	// 0 means the newest ones. oldest is the id of the oldest event that is kept,
	// next the one that the next event will have.
	Read(from uint64, limit int) (events []api.NodeEvent, oldest, next uint64)
	// Wait returns when there is an event from the id from on, or ctx ends.
	Wait(ctx context.Context, from uint64)
}

// maxEvents is how many events of the node one reply holds.
const maxEvents = 1000

// events tells what this node saw of its peers and leaders.
func (c *call) events() error {
	stream, from, limit := c.streamType(), uint64(0), maxEvents
	if c.query.Has("from") {
		from = c.Number("from", c.query.Get("from"), 1, api.MaxNumber)
	}
	switch {
	case c.query.Has("limit") && stream != "":
		c.Invalid("limit", c.query.Get("limit"), "absent with a stream", "a stream tells of every event: ask for one or give a limit, not both")
	case c.query.Has("limit"):
		limit = int(c.Number("limit", c.query.Get("limit"), 1, maxEvents))
	}
	if len(c.r.Header.Values(api.HeaderLastEventID)) > 0 {
		from = 1 + c.Number(api.HeaderLastEventID, c.header(api.HeaderLastEventID), 0, api.MaxNumber-1)
	}
	if c.Bad != nil {
		return c.Bad
	}
	c.w.Header().Set("Vary", "Accept")
	if c.s.cfg.Events == nil {
		return c.json(http.StatusOK, api.NodeEvents{Events: []api.NodeEvent{}, Next: 1})
	}
	events, oldest, next := c.s.cfg.Events.Read(from, limit)
	if err := c.here(from, oldest, next); err != nil {
		return err
	}
	switch {
	case stream != "" && from == 0:
		return c.followNode(stream, next)
	case stream != "":
		return c.followNode(stream, from)
	case len(events) > 0:
		next = events[len(events)-1].ID + 1
	}
	return c.json(http.StatusOK, api.NodeEvents{Events: reply.Each(events, same), Next: next})
}

// here refuses an id whose events are gone, or that this node never gave.
func (c *call) here(from, oldest, next uint64) error {
	switch {
	case from > next:
		c.Invalid("from", strconv.FormatUint(from, 10), "up to "+strconv.FormatUint(next, 10), "this node has not given the id %d yet: ids belong to the node that gave them", from)
		return c.Bad
	case from > 0 && from < oldest:
		return gone(oldest)
	}
	return nil
}

// gone says that events are not kept any more, or were those of another process.
func gone(oldest uint64) error {
	p := problems.New(api.CodeCompacted, "", "", "", "events before id %d are not kept any more, or were lost when the node restarted", oldest)
	p.OldestID = oldest
	return p
}

// followNode streams the events of this node from an id on.
func (c *call) followNode(mediaType string, from uint64) error {
	p := c.open(mediaType)
	if p == nil {
		return nil
	}
	t := nodeTeller{pipe: p, next: from, sse: mediaType == api.TypeSSE}
	t.bookmark()
	t.run()
	return nil
}

// A nodeTeller writes one stream of what a node saw.
type nodeTeller struct {
	*pipe
	next uint64 // everything before it has been told
	sse  bool
}

// run tells what there is to tell until the reader is gone or cannot go on.
func (t *nodeTeller) run() {
	ctx := t.c.r.Context()
	for t.err == nil {
		events, oldest, _ := t.c.s.cfg.Events.Read(t.next, maxEvents)
		switch {
		case ctx.Err() != nil:
			t.end(context.Cause(ctx))
			return
		case t.next < oldest:
			t.end(gone(oldest))
			return
		case len(events) > 0:
			t.next = events[len(events)-1].ID + 1
			t.write(feed.NodeEvents(events, t.sse))
			t.flush()
			continue
		}
		wait, cancel := context.WithTimeout(ctx, t.c.s.cfg.BookmarkEvery)
		t.c.s.cfg.Events.Wait(wait, t.next)
		silent := wait.Err() != nil && ctx.Err() == nil
		cancel()
		if silent {
			t.bookmark()
		}
	}
}

// mark is an event that only streams have.
func (t *nodeTeller) mark(kind, text string, p *api.Problem) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	e := api.NodeEvent{ID: t.next - 1, Time: now, Node: t.c.s.cfg.Node, Kind: kind, Text: text, Problem: p}
	t.write(feed.NodeEvents([]api.NodeEvent{e}, t.sse))
	t.flush()
}

func (t *nodeTeller) bookmark() {
	t.mark(api.NodeBookmark, "everything up to this id has been told", nil)
}

// end tells why the stream ends, if there is somebody to tell.
func (t *nodeTeller) end(err error) {
	if t.c.gone() {
		return
	}
	p := t.c.problemOf(err)
	t.mark(api.NodeError, p.Error(), p)
}

func (c *call) rtt() error {
	var out api.RTT
	if c.s.cfg.RTT != nil {
		out = c.s.cfg.RTT()
	}
	out.RoundTrips = reply.Each(out.RoundTrips, same)
	return c.json(http.StatusOK, out)
}

// transferLead hands the lead of the group over to another voter.
func (c *call) transferLead() error {
	var in api.HandOver
	given := c.object(check.Fields{"to": &in.To})
	if given["to"] {
		c.Name("to", in.To)
	}
	if c.Bad != nil {
		return c.Bad
	}
	// Once done, it does nothing when it is sent again, if it says to whom. The
	// cluster keeps no answer for an Idempotency-Key: it is not a command.
	safe := in.To != ""
	c.repeatable = &safe
	if c.s.cfg.Transfer == nil {
		return problems.New(api.CodeNoHeir, "", "", "", "there is no other voter")
	}
	out, err := c.s.cfg.Transfer(c.ctx, c.group, in.To, c.header(api.HeaderForward) != "?0")
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, out)
}
