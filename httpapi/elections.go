package httpapi

import (
	"errors"
	"net/http"

	"github.com/prytany/prytany/httpapi/internal/check"
	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// An election is the lock of its name, with what its holder publishes.

func (c *call) campaign() error {
	var in api.Campaign
	given := c.object(check.Fields{"session": &in.Session, "ttl": &in.TTL, "value": &in.Value, "note": &in.Note})
	req := c.asks(given, in.Session, in.TTL, in.Note)
	req.Slots = c.countSlots(1)
	req.Campaign, req.Value = true, c.Text("value", in.Value, c.s.lim.MaxPublished)
	g, err := c.obtain(req)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, reply.Term(g))
}

func (c *call) proclaim() error {
	var in api.Proclaim
	given := c.object(check.Fields{"value": &in.Value})
	req := service.Proclaim{
		Common: c.common(),
		Name:   c.name,
		Fence:  c.need("If-Match", `send If-Match with the term of the leader who proclaims, such as "37"`),
		Value:  c.Text("value", in.Value, c.s.lim.MaxPublished),
	}
	if !given["value"] {
		c.Invalid("value", "", "a string", `value is missing; to publish nothing send ""`)
	}
	if c.Bad != nil {
		return c.Bad
	}
	m, err := c.locks.Proclaim(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	c.fence(req.Fence)
	return c.json(http.StatusOK, api.Term{Name: c.name, Term: req.Fence})
}

func (c *call) resign() error {
	return c.letGo(service.Release{
		Common: c.common(),
		Name:   c.name,
		Fence:  c.need("If-Match", `send If-Match with the term of the leader who resigns, such as "37"`),
	})
}

func (c *call) transfer() error {
	var in api.Transfer
	c.object(check.Fields{"to": &in.To})
	req := service.Transfer{Common: c.common(), Name: c.name, To: c.Name("to", in.To)}
	if match := c.condition("If-Match", false); match.Given {
		req.Fence = c.one("If-Match", match)
	}
	if c.Bad != nil {
		return c.Bad
	}
	g, m, err := c.locks.Transfer(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	c.fence(g.Fence)
	return c.json(http.StatusOK, reply.Term(g))
}

func (c *call) getElection() error {
	rd, seen := c.read(true)
	stream := c.streamType()
	if stream != "" {
		c.unconditional("If-None-Match")
		if c.query.Has("wait") {
			c.Invalid("wait", c.query.Get("wait"), "absent with a stream", "a stream tells of every change: ask for one or wait, not both")
		}
	}
	if c.Bad != nil {
		return c.Bad
	}
	c.w.Header().Set("Vary", "Accept")
	if stream != "" {
		return c.observe(stream, rd)
	}
	c.waiting(rd.Wait)
	l, m, err := c.locks.GetLock(c.ctx, c.name, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", api.FormatETag(l.Changed))
	if seen.Matches(l.Changed) {
		return c.unchanged(rd)
	}
	return c.json(http.StatusOK, reply.Election(l))
}

// observe streams who leads: first who does now, then every change.
func (c *call) observe(stream string, rd service.Read) error {
	l, m, err := c.locks.GetLock(c.ctx, c.name, rd)
	c.meta(m)
	if e, ok := errors.AsType[*locks.Error](err); ok && e.Code == locks.LockUnknown {
		l, err = locks.Lock{}, nil // nobody leads yet
	}
	if err != nil {
		return err
	}
	now := locks.Event{Type: locks.EventUnlock, Name: c.name}
	if h := reply.Leader(l); h != nil {
		now = locks.Event{Type: locks.EventLeader, Name: c.name, Session: h.Session, Owner: h.Owner, Fence: h.Fence, Value: h.Value}
	}
	return c.follow(stream, service.Watch{
		Prefix: c.name,
		Exact:  true,
		From:   m.Revision + 1,
		Types:  locks.EventSet(0).With(locks.EventLeader).With(locks.EventUnlock),
	}, &locks.Change{Revision: m.Revision, Events: []locks.Event{now}})
}
