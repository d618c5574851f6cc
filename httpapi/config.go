package httpapi

import (
	"encoding/base64"
	"net/http"
	"unicode/utf8"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

func (c *call) put() error {
	req := locks.Put{
		Common:      c.common(),
		Key:         c.name,
		Value:       c.body,
		ContentType: c.contentType(),
		Session:     c.session(),
		Guard:       c.guard(),
	}
	match, none := c.condition("If-Match", false), c.condition("If-None-Match", false)
	switch {
	case match.given && none.given:
		c.invalid("If-None-Match", c.r.Header.Get("If-None-Match"), "absent with If-Match", "give If-Match or If-None-Match, not both")
	case match.any:
		req.IfPresent = true
	case match.given:
		n := c.one("If-Match", match)
		req.IfRevision = &n
	case none.any:
		req.IfRevision = new(uint64)
	case none.given:
		c.invalid("If-None-Match", c.r.Header.Get("If-None-Match"), "*", "PUT takes If-None-Match: * only")
	}
	if c.bad != nil {
		return c.bad
	}
	e, created, m, err := c.locks.Put(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", api.FormatETag(e.Revision))
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.json(status, api.Put{Key: e.Key, Revision: e.Revision, Version: e.Version, Created: created})
}

func (c *call) getEntry() error {
	rd, seen := c.read(true)
	c.unconditional("If-Match")
	if c.bad != nil {
		return c.bad
	}
	c.waiting(rd.Wait)
	e, m, err := c.locks.Get(c.ctx, c.name, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("ETag", api.FormatETag(e.Revision))
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept")
	if seen.matches(e.Revision) {
		return c.unchanged(rd)
	}
	if c.wantsJSON() {
		return c.json(http.StatusOK, entryOf(e))
	}
	// The value may be a web page. It must not run as one of this origin.
	h.Set("Content-Security-Policy", "sandbox")
	return c.send(http.StatusOK, orDefault(e.ContentType, api.TypeBytes), e.Value)
}

func (c *call) deleteEntry() error {
	c.unconditional("If-None-Match", api.HeaderSession)
	req := locks.Delete{Common: c.common(), Key: c.name, Guard: c.guard()}
	if match := c.condition("If-Match", false); match.given {
		n := c.one("If-Match", match)
		req.IfRevision = &n
	}
	if c.bad != nil {
		return c.bad
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
	if c.bad != nil {
		return c.bad
	}
	p, m, err := c.locks.ListEntries(c.ctx, l, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	out := api.Entries{Entries: each(p.Items, entryOf), Revision: m.Revision, Next: p.Token}
	if keysOnly {
		for i := range out.Entries {
			out.Entries[i].Value, out.Entries[i].ValueBase64 = nil, nil
		}
	}
	return c.json(http.StatusOK, out)
}

// entryOf says a value as text if that loses nothing.
func entryOf(e locks.Entry) api.Entry {
	out := api.Entry{
		Key:             e.Key,
		ContentType:     e.ContentType,
		Revision:        e.Revision,
		CreatedRevision: e.Created,
		Version:         e.Version,
		Session:         e.Session,
	}
	if utf8.Valid(e.Value) {
		s := string(e.Value)
		out.Value = &s
	} else {
		s := base64.StdEncoding.EncodeToString(e.Value)
		out.ValueBase64 = &s
	}
	return out
}
