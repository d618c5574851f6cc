package httpapi

import (
	"net/http"
	"net/url"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

func (c *call) createSession() error {
	var in api.CreateSession
	c.object(fields{"ttl": &in.TTL, "name": &in.Name, "lock_delay": &in.LockDelay})
	lim := c.s.lim
	req := locks.CreateSession{
		Common:    c.common(),
		Name:      c.checkText("name", in.Name, lim.MaxNote),
		TTL:       c.duration("ttl", in.TTL, lim.MinTTL, lim.MaxTTL),
		LockDelay: c.duration("lock_delay", in.LockDelay, 0, lim.MaxLockDelay),
	}
	if c.bad != nil {
		return c.bad
	}
	s, m, err := c.locks.CreateSession(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", orDefault(c.prefix, "/v1")+"/sessions/"+url.PathEscape(s.ID))
	return c.json(http.StatusCreated, api.SessionCreated{ID: s.ID, TTLMS: ms(s.TTL), ExpiresInMS: knownMS(s.ExpiresIn)})
}

func (c *call) keepAlive() error {
	c.object(fields{})
	if c.bad != nil {
		return c.bad
	}
	s, m, err := c.locks.KeepAlive(c.ctx, c.name)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.KeptAlive{TTLMS: ms(s.TTL), ExpiresInMS: ms(s.ExpiresIn)})
}

func (c *call) getSession() error {
	rd, _ := c.read(false)
	if c.bad != nil {
		return c.bad
	}
	s, m, err := c.locks.GetSession(c.ctx, c.name, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, sessionOf(s))
}

func (c *call) listSessions() error {
	l, rd := c.list()
	if c.bad != nil {
		return c.bad
	}
	p, m, err := c.locks.ListSessions(c.ctx, l, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.Sessions{Sessions: each(p.Items, infoOf), Revision: m.Revision, Next: p.Token})
}

func (c *call) endSession() error {
	common := c.common()
	if c.bad != nil {
		return c.bad
	}
	m, err := c.locks.EndSession(c.ctx, c.name, common)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// each maps a list; the result is never nil, so that JSON says [].
func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

func same[T any](v T) T { return v }

func infoOf(s locks.Session) api.SessionInfo {
	return api.SessionInfo{
		ID:              s.ID,
		Name:            s.Name,
		TTLMS:           ms(s.TTL),
		LockDelayMS:     ms(s.LockDelay),
		ExpiresInMS:     knownMS(s.ExpiresIn),
		CreatedRevision: s.Created,
		Bound:           s.Bound,
	}
}

func sessionOf(s locks.Session) api.Session {
	return api.Session{
		SessionInfo: infoOf(s),
		Holds:       each(s.Holds, func(g locks.Grant) api.Held { return api.Held{Name: g.Name, Fence: g.Fence} }),
		Waits:       each(s.Waits, same),
		Keys:        each(s.Keys, same),
	}
}
