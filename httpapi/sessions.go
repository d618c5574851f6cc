package httpapi

import (
	"net/http"
	"net/url"

	"github.com/prytany/prytany/httpapi/internal/check"
	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks/service"
)

func (c *call) createSession() error {
	var in api.CreateSession
	c.object(check.Fields{"ttl": &in.TTL, "name": &in.Name, "lock_delay": &in.LockDelay})
	lim := c.s.lim
	req := service.CreateSession{
		Common:    c.common(),
		Name:      c.Text("name", in.Name, lim.MaxNote),
		TTL:       c.Duration("ttl", in.TTL, lim.MinTTL, lim.MaxTTL),
		LockDelay: c.Duration("lock_delay", in.LockDelay, 0, lim.MaxLockDelay),
	}
	if c.Bad != nil {
		return c.Bad
	}
	s, m, err := c.locks.CreateSession(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	below := "/v1"
	if c.inGroup {
		below = "/v1/groups/" + c.rawGroup
	}
	c.w.Header().Set("Location", below+"/sessions/"+url.PathEscape(s.ID))
	return c.json(http.StatusCreated, api.SessionCreated{ID: s.ID, TTLMS: reply.MS(s.TTL), ExpiresInMS: reply.KnownMS(s.ExpiresIn)})
}

func (c *call) keepAlive() error {
	c.object(check.Fields{})
	req := service.KeepAlive{ID: c.name}
	held := c.query.Has("hold")
	if held {
		req.Hold = c.period("hold", c.s.lim.MaxHold)
	}
	if c.query.Has("since") {
		if !held {
			c.Invalid("since", c.query.Get("since"), "only with hold", "since goes with hold")
		}
		req.Since = c.Number("since", c.query.Get("since"), 0, api.MaxNumber)
	}
	if c.Bad != nil {
		return c.Bad
	}
	c.waiting(req.Hold)
	k, m, err := c.locks.KeepAlive(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	out := api.KeptAlive{TTLMS: reply.MS(k.TTL), ExpiresInMS: reply.MS(k.ExpiresIn)}
	if held {
		out.HeldMS, out.Revision, out.Missed = reply.MS(k.Held), m.Revision, k.Missed
		for _, change := range k.News {
			for i := range change.Events {
				out.Events = append(out.Events, reply.Event(&change.Events[i], change.Revision))
			}
		}
	}
	return c.send(http.StatusOK, api.TypeJSON, reply.AppendKept(c.buf[:0], &out))
}

func (c *call) getSession() error {
	rd, _ := c.read(false)
	if c.Bad != nil {
		return c.Bad
	}
	s, m, err := c.locks.GetSession(c.ctx, c.name, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, reply.Session(s))
}

func (c *call) listSessions() error {
	l, rd := c.list()
	if c.Bad != nil {
		return c.Bad
	}
	p, m, err := c.locks.ListSessions(c.ctx, l, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.Sessions{Sessions: reply.Each(p.Items, reply.SessionInfo), Revision: m.Revision, Next: p.Token})
}

func (c *call) endSession() error {
	common := c.common()
	if c.Bad != nil {
		return c.Bad
	}
	m, err := c.locks.EndSession(c.ctx, c.name, common)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func same[T any](v T) T { return v }
