package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prytany/prytany/httpapi/internal/check"
	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

func (c *call) acquire() error {
	in := api.Acquire{Slots: 1}
	given := c.object(check.Fields{"session": &in.Session, "ttl": &in.TTL, "mode": &in.Mode, "slots": &in.Slots, "note": &in.Note})
	req := c.asks(given, in.Session, in.TTL, in.Note)
	req.Slots = c.countSlots(in.Slots)
	switch in.Mode {
	case "", api.ModeExclusive:
	case api.ModeShared:
		req.Mode = locks.Shared
		if in.Slots > 1 {
			c.Invalid("slots", strconv.Itoa(in.Slots), "1 with mode shared", "a semaphore is exclusive: give mode shared or slots, not both")
		}
	default:
		c.Invalid("mode", in.Mode, "exclusive or shared", "mode is exclusive or shared; got %q", problems.Short(in.Mode))
	}
	g, err := c.obtain(req)
	if err != nil {
		return err
	}
	out := reply.Grant(g)
	return c.send(http.StatusOK, api.TypeJSON, reply.AppendGrant(c.buf[:0], &out))
}

// countSlots checks the number of slots that a request asks for.
func (c *call) countSlots(n int) int {
	if most := c.s.lim.MaxHolders; n < 1 || n > most {
		limit := fmt.Sprintf("1 to %d", most)
		c.Invalid("slots", strconv.Itoa(n), limit, "slots must be from %s; got %d", limit, n)
	}
	c.slots = n
	return n
}

// asks decodes what acquiring a lock and standing in an election have in common.
func (c *call) asks(given map[string]bool, session, ttl, note string) service.Acquire {
	lim := c.s.lim
	req := service.Acquire{
		Common:  c.common(),
		Name:    c.name,
		Session: c.Text("session", session, lim.MaxName),
		TTL:     c.Duration("ttl", ttl, lim.MinTTL, lim.MaxTTL),
		Note:    c.Text("note", note, lim.MaxNote),
		Wait:    c.wait(),
	}
	if given["session"] && session == "" {
		// As from a shell variable that is not set. A session of the lock's own
		// is not what was meant, and nobody would keep it alive.
		c.Invalid("session", "", "an id, or no such field", "session is empty; leave it out for a session of the lock's own")
	}
	if session != "" && ttl != "" {
		c.Invalid("ttl", ttl, "absent with session", "a session has a ttl of its own: give session or ttl, not both")
	}
	return req
}

// obtain gets a lock and sets the headers of its grant.
func (c *call) obtain(req service.Acquire) (locks.Grant, error) {
	if c.Bad != nil {
		return locks.Grant{}, c.Bad
	}
	c.waiting(req.Wait)
	g, m, err := c.locks.Acquire(c.ctx, req)
	c.meta(m)
	if err == nil {
		c.fence(g.Fence)
	}
	return g, err
}

func (c *call) acquireAll() error {
	var in api.AcquireAll
	var names []json.RawMessage
	c.object(check.Fields{"session": &in.Session, "names": &names, "note": &in.Note})
	lim := c.s.lim
	req := service.AcquireAll{
		Common:  c.common(),
		Session: c.Name("session", in.Session),
		Note:    c.Text("note", in.Note, lim.MaxNote),
	}
	if n := len(names); n < 1 || n > lim.MaxNames {
		limit := fmt.Sprintf("1 to %d", lim.MaxNames)
		c.Invalid("names", strconv.Itoa(n), limit, "names must list from %s locks; there are %d", limit, n)
	} else {
		req.Names = c.Texts("names", names)
	}
	seen := map[string]bool{}
	for i, name := range req.Names {
		if c.Name(check.At("names", i), name); seen[name] {
			c.Invalid(check.At("names", i), name, "once", "%s is a name that is there already", check.At("names", i))
		}
		seen[name] = true
	}
	if c.Bad != nil {
		return c.Bad
	}
	list, m, err := c.locks.AcquireAll(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.Grants{Locks: reply.Each(list, reply.Held)})
}

func (c *call) askYield() error {
	var in api.AskYield
	c.object(check.Fields{"within": &in.Within, "reason": &in.Reason})
	req := service.AskYield{
		Common: c.common(),
		Name:   c.name,
		Within: c.Duration("within", in.Within, time.Millisecond, c.s.lim.MaxYield),
		Reason: c.Text("reason", in.Reason, c.s.lim.MaxNote),
	}
	if c.Bad != nil {
		return c.Bad
	}
	m, err := c.locks.AskYield(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}

// fence sets the headers of a grant.
func (c *call) fence(n uint64) {
	tag := c.etag(n)
	c.set("Etag", tag)
	c.set(api.HeaderFence, tag[1:len(tag)-1])
}

func (c *call) release() error {
	req := service.Release{
		Common:  c.common(),
		Name:    c.name,
		Session: c.session(),
		Force:   c.flag("force"),
		Reason:  c.Text("reason", c.query.Get("reason"), c.s.lim.MaxNote),
	}
	match := c.condition("If-Match", false)
	switch {
	case req.Force && match.Given:
		c.Invalid("If-Match", c.r.Header.Get("If-Match"), "absent with force", "force does not look at the fence: give If-Match or force, not both")
	case req.Force && req.Session != "":
		c.Invalid(api.HeaderSession, req.Session, "absent with force", "force ends the grants of all sessions: give %s or force, not both", api.HeaderSession)
	case req.Force:
	case c.query.Has("reason"):
		c.Invalid("reason", req.Reason, "only with force", "reason goes with force=true")
	default:
		req.Fence = c.need("If-Match", `send If-Match with the fence of the grant to release, such as "37", or break the lock by force=true`)
	}
	return c.letGo(req)
}

// letGo ends a grant, of a lock or of leadership.
func (c *call) letGo(req service.Release) error {
	if c.Bad != nil {
		return c.Bad
	}
	m, err := c.locks.Release(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) getLock() error {
	rd, seen := c.read(true)
	if c.query.Has("fence") {
		return c.checkFence(rd)
	}
	if c.Bad != nil {
		return c.Bad
	}
	c.waiting(rd.Wait)
	l, m, err := c.locks.GetLock(c.ctx, c.name, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	c.w.Header()["Cache-Control"] = noCache
	tag := l.Changed
	if len(l.Holders) == 1 {
		fence := c.etag(l.Holders[0].Fence)
		c.set(api.HeaderFence, fence[1:len(fence)-1])
	}
	c.set("Etag", c.etag(tag))
	if seen.Matches(tag) {
		return c.unchanged(rd)
	}
	out := reply.Lock(l)
	return c.send(http.StatusOK, api.TypeJSON, reply.AppendLock(c.buf[:0], &out))
}

// checkFence answers whether one grant is current.
func (c *call) checkFence(rd service.Read) error {
	fence := c.Number("fence", c.query.Get("fence"), 1, api.MaxNumber)
	if c.query.Has("wait") {
		c.Invalid("wait", c.query.Get("wait"), "absent with fence", "a fence is checked at once: give fence or wait, not both")
	}
	c.unconditional("If-None-Match")
	if c.Bad != nil {
		return c.Bad
	}
	m, err := c.locks.CheckFence(c.ctx, c.name, fence, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) listLocks() error {
	l, rd := c.list()
	if c.Bad != nil {
		return c.Bad
	}
	p, m, err := c.locks.ListLocks(c.ctx, l, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.Locks{Locks: reply.Each(p.Items, reply.Lock), Revision: m.Revision, Next: p.Token})
}
