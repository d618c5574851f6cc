package httpapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/prytany/prytany/httpapi/internal/feed"
	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// watch streams what happens to names that begin with a prefix.
func (c *call) watch() error {
	w := service.Watch{Prefix: c.name, Types: c.eventSet()}
	if c.query.Has("from") {
		w.From = c.Number("from", c.query.Get("from"), 1, api.MaxNumber)
	}
	if len(c.r.Header.Values(api.HeaderLastEventID)) > 0 {
		// A browser that resumes sends its first address again, with from.
		w.From = 1 + c.Number(api.HeaderLastEventID, c.header(api.HeaderLastEventID), 0, api.MaxNumber-1)
	}
	if c.Bad != nil {
		return c.Bad
	}
	c.w.Header().Set("Vary", "Accept")
	return c.follow(orDefault(c.streamType(), api.TypeNDJSON), w, nil)
}

// eventSet decodes ?events=.
func (c *call) eventSet() (set locks.EventSet) {
	if !c.query.Has("events") {
		return set
	}
	for name := range strings.SplitSeq(c.query.Get("events"), ",") {
		t, ok := reply.EventTypes[name]
		if !ok {
			limit := strings.Join(slices.Sorted(maps.Keys(reply.EventTypes)), ", ")
			c.Invalid("events", name, limit, "events lists types of events, parted by commas: %s; got %q", limit, problems.Short(name))
			return set
		}
		set = set.With(t)
	}
	return set
}

// follow streams what w watches for. It begins with first, which says how
// things are at its revision, or with a bookmark.
func (c *call) follow(mediaType string, w service.Watch, first *locks.Change) error {
	s, m, err := c.locks.Watch(c.ctx, w)
	if first == nil || err != nil {
		c.meta(m)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	p := c.open(mediaType)
	if p == nil {
		return nil
	}
	t := teller{pipe: p, topic: feed.Topic{Group: c.group, SSE: mediaType == api.TypeSSE, Prefix: w.Prefix, Exact: w.Exact, Types: w.Types}}
	switch {
	case first != nil:
		t.upTo = first.Revision
		t.write(feed.Encode(first, t.topic.SSE)) // of the moment: nobody else says the same
	case w.From > 0:
		t.bookmark(w.From - 1)
	default:
		t.bookmark(m.Revision)
	}
	t.flush()
	t.run(s)
	return nil
}
