package httpapi

import (
	"net/http"

	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks/service"
)

func (c *call) put() error {
	req := service.Put{
		Common:      c.common(),
		Key:         c.name,
		Value:       c.body,
		ContentType: c.contentType(),
		Session:     c.session(),
		Guard:       c.guard(),
	}
	match, none := c.condition("If-Match", false), c.condition("If-None-Match", false)
	switch {
	case match.Given && none.Given:
		c.Invalid("If-None-Match", c.r.Header.Get("If-None-Match"), "absent with If-Match", "give If-Match or If-None-Match, not both")
	case match.Any:
		req.IfPresent = true
	case match.Given:
		n := c.one("If-Match", match)
		req.IfRevision = &n
	case none.Any:
		req.IfRevision = new(uint64)
	case none.Given:
		c.Invalid("If-None-Match", c.r.Header.Get("If-None-Match"), "*", "PUT takes If-None-Match: * only")
	}
	if c.Bad != nil {
		return c.Bad
	}
	e, created, m, err := c.locks.Put(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	c.set("Etag", c.etag(e.Revision))
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	out := api.Put{Key: e.Key, Revision: e.Revision, Version: e.Version, Created: created}
	return c.send(status, api.TypeJSON, reply.AppendPut(c.buf[:0], &out))
}

func (c *call) getEntry() error {
	rd, seen := c.read(true)
	if c.Bad != nil {
		return c.Bad
	}
	c.waiting(rd.Wait)
	e, m, err := c.locks.Get(c.ctx, c.name, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	h := c.w.Header()
	c.set("Etag", c.etag(e.Revision))
	h["Cache-Control"], h["Vary"] = noCache, accept
	if seen.Matches(e.Revision) {
		return c.unchanged(rd)
	}
	if c.wantsJSON() {
		return c.json(http.StatusOK, reply.Entry(e))
	}
	// The value may be a web page. It must not run as one of this origin.
	h["Content-Security-Policy"] = sandbox
	reply.Around(h, &e)
	return c.send(http.StatusOK, orDefault(e.ContentType, api.TypeBytes), e.Value)
}

func (c *call) deleteEntry() error {
	req := service.Delete{Common: c.common(), Key: c.name, Guard: c.guard()}
	if match := c.condition("If-Match", false); match.Given {
		n := c.one("If-Match", match)
		req.IfRevision = &n
	}
	if c.Bad != nil {
		return c.Bad
	}
	m, err := c.locks.Delete(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) listEntries() error {
	l, rd := c.list()
	keysOnly := c.flag("keys_only")
	if c.query.Has("delimiter") {
		l.Delimiter = c.Name("delimiter", c.query.Get("delimiter"))
	}
	if c.Bad != nil {
		return c.Bad
	}
	p, m, err := c.locks.ListEntries(c.ctx, l, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	out := api.Entries{Entries: []api.Entry{}, Revision: m.Revision, Next: p.Token}
	for _, e := range p.Items {
		if e.Revision == 0 { // what keys with the delimiter are rolled up into
			out.Prefixes = append(out.Prefixes, e.Key)
			continue
		}
		item := reply.Entry(e)
		if keysOnly {
			item.Value, item.ValueBase64 = nil, nil
		}
		out.Entries = append(out.Entries, item)
	}
	return c.json(http.StatusOK, out)
}
