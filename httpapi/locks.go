package httpapi

import (
	"net/http"
	"strconv"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

func (c *call) acquire() error {
	in := api.Acquire{Slots: 1}
	given := c.object(fields{"session": &in.Session, "ttl": &in.TTL, "mode": &in.Mode, "slots": &in.Slots, "note": &in.Note})
	c.unconditional("If-Match", "If-None-Match")
	lim := c.s.lim
	req := locks.Acquire{
		Common:  c.common(),
		Name:    c.name,
		Session: c.checkText("session", in.Session, lim.MaxName),
		TTL:     c.duration("ttl", in.TTL, lim.MinTTL, lim.MaxTTL),
		Note:    c.checkText("note", in.Note, lim.MaxNote),
		Wait:    c.wait(),
	}
	if in.Mode != "" && in.Mode != api.ModeExclusive {
		c.invalid("mode", in.Mode, api.ModeExclusive, "mode must be %q; got %q", api.ModeExclusive, short(in.Mode))
	}
	if in.Slots != 1 {
		c.invalid("slots", strconv.Itoa(in.Slots), "1", "slots must be 1; got %d", in.Slots)
	}
	if given["session"] && in.Session == "" {
		// As from a shell variable that is not set. A session of the lock's own
		// is not what was meant, and nobody would keep it alive.
		c.invalid("session", "", "an id, or no such field", "session is empty; leave it out for a session of the lock's own")
	}
	if in.Session != "" && in.TTL != "" {
		c.invalid("ttl", in.TTL, "absent with session", "a session has a ttl of its own: give session or ttl, not both")
	}
	if c.bad != nil {
		return c.bad
	}
	c.waiting(req.Wait)
	g, m, err := c.locks.Acquire(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	c.fence(g.Fence)
	return c.json(http.StatusOK, api.Grant{
		Name:        g.Name,
		Session:     g.Session,
		Fence:       g.Fence,
		Mode:        api.ModeExclusive,
		ExpiresInMS: knownMS(g.ExpiresIn),
		WaitedMS:    ms(g.Waited),
	})
}

// fence sets the headers of a grant.
func (c *call) fence(n uint64) {
	c.w.Header().Set("ETag", api.FormatETag(n))
	c.w.Header().Set(api.HeaderFence, strconv.FormatUint(n, 10))
}

func (c *call) release() error {
	c.unconditional("If-None-Match")
	req := locks.Release{
		Common: c.common(),
		Name:   c.name,
		Force:  c.flag("force"),
		Reason: c.checkText("reason", c.query.Get("reason"), c.s.lim.MaxNote),
	}
	match := c.condition("If-Match", false)
	switch {
	case req.Force && match.given:
		c.invalid("If-Match", c.r.Header.Get("If-Match"), "absent with force", "force does not look at the fence: give If-Match or force, not both")
	case req.Force:
	case c.query.Has("reason"):
		c.invalid("reason", req.Reason, "only with force", "reason goes with force=true")
	case match.given:
		req.Fence = c.one("If-Match", match)
	default:
		c.reject(problem(api.CodeFenceRequired, "If-Match", "", `"<fence>"`,
			`send If-Match with the fence of the grant to release, such as "37", or break the lock by force=true`))
	}
	if c.bad != nil {
		return c.bad
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
	c.unconditional("If-Match")
	if c.query.Has("fence") {
		return c.checkFence(rd)
	}
	if c.bad != nil {
		return c.bad
	}
	c.waiting(rd.Wait)
	l, m, err := c.locks.GetLock(c.ctx, c.name, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "no-cache")
	tag := l.Changed
	if l.Holder != nil {
		tag = l.Holder.Fence
		c.fence(tag)
	}
	c.w.Header().Set("ETag", api.FormatETag(tag))
	if seen.matches(tag) {
		return c.unchanged(rd)
	}
	return c.json(http.StatusOK, lockOf(l))
}

// checkFence answers whether one grant is current.
func (c *call) checkFence(rd locks.Read) error {
	fence := c.number("fence", c.query.Get("fence"), 1, api.MaxNumber)
	if c.query.Has("wait") {
		c.invalid("wait", c.query.Get("wait"), "absent with fence", "a fence is checked at once: give fence or wait, not both")
	}
	c.unconditional("If-None-Match")
	if c.bad != nil {
		return c.bad
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
	if c.bad != nil {
		return c.bad
	}
	p, m, err := c.locks.ListLocks(c.ctx, l, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.Locks{Locks: each(p.Items, lockOf), Revision: m.Revision, Next: p.Token})
}

func lockOf(l locks.Lock) api.Lock {
	out := api.Lock{
		Name:                 l.Name,
		Holders:              []api.Holder{},
		Waiters:              each(l.Waiters, func(w locks.Waiter) api.Waiter { return api.Waiter(w) }),
		Past:                 each(l.Past, func(p locks.Past) api.Past { return api.Past(p) }),
		ChangedRevision:      l.Changed,
		LockDelayRemainingMS: ms(l.LockDelayRemaining),
	}
	if l.Holder != nil {
		out.Holders = append(out.Holders, holderOf(*l.Holder))
	}
	return out
}

func holderOf(h locks.Holder) api.Holder {
	return api.Holder{
		Session:     h.Session,
		Owner:       h.Owner,
		Fence:       h.Fence,
		Note:        h.Note,
		Since:       h.Since,
		HeldMS:      knownMS(h.Held),
		ExpiresInMS: knownMS(h.ExpiresIn),
	}
}
