package httpapi

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/httpapi/internal/relay"
	"github.com/prytany/prytany/internal/api"
)

// elsewhere finds the nodes to pass the request on to, as this one has no part in the
// group. A request that was passed on goes no further: two nodes that each take the
// other for a member would never end.
func (c *call) elsewhere() {
	var nodes []string
	unknown := true
	if c.s.cfg.Relay != nil {
		nodes, unknown = c.s.cfg.Relay(c.group)
	}
	switch {
	case len(c.r.Header.Values(api.HeaderRelayed)) > 0:
		c.Reject(problems.New(api.CodeNotMember, "group", c.group, "", "this node has no part in the group %q", problems.Short(c.group)))
	case len(nodes) == 0 && !unknown:
		c.Reject(problems.New(api.CodeNoLeader, "group", c.group, "", "this node knows no member of the group %q that is alive, or cannot find out now whether there is such a group; ask another node", problems.Short(c.group)))
	case len(nodes) == 0:
		c.Reject(problems.New(api.CodeGroupUnknown, "group", c.group, "", "there is no group %q", problems.Short(c.group)))
	}
	c.nodes = nodes
}

// pass has another node answer. What the reply will be it decides; what all requests
// have in common was checked here.
func (c *call) pass() error {
	var wait time.Duration
	for name, most := range map[string]time.Duration{"wait": c.s.lim.MaxWait, "hold": c.s.lim.MaxHold} {
		wait = max(wait, c.period(name, most))
	}
	if c.Bad != nil {
		return c.Bad
	}
	c.waiting(wait)
	ctx := c.ctx
	if c.class() == classStream {
		ctx = c.r.Context()
	}
	resp, err := c.s.relay.Do(ctx, c.nodes, relay.Request{
		Method: c.r.Method, URL: c.r.URL, Header: c.onward(), Body: c.body, Wait: wait, Once: c.method.once,
	})
	if c.stopping() {
		defer c.s.relay.CloseIdle()
	}
	if err != nil {
		return c.unanswered(err)
	}
	defer resp.Body.Close()
	relay.Back(c.w.Header(), resp.Header)
	switch media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); media {
	case api.TypeNDJSON, api.TypeSSE:
		return c.passStream(resp)
	}
	c.limitWrite()
	c.w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(c.w, resp.Body); err != nil {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	return nil
}

// onward is the head of the request that is passed on.
func (c *call) onward() http.Header {
	h := relay.Onward(c.r.Header)
	h.Set(api.HeaderRelayed, c.id)
	switch {
	case c.method.once:
		h.Del(api.HeaderIdempotencyKey) // it means nothing there, but net/http would rely on it
	case c.method.change && len(h.Values(api.HeaderIdempotencyKey)) == 0:
		h.Set(api.HeaderIdempotencyKey, rand.Text()) // so that another node can be asked
	}
	return h
}

// unanswered says why nobody answered.
func (c *call) unanswered(err error) error {
	e, ok := errors.AsType[*relay.Error](err)
	c.repeatable = nil
	switch {
	case !ok, c.stopping() && !c.method.change:
		return err
	case e.Sent && c.method.change:
		if c.method.class == classKeepalive {
			c.harmless()
		}
		return problems.New(api.CodeOutcomeUnknown, "", "", "", "the node that the request was passed on to did not answer")
	}
	return problems.New(api.CodeNoLeader, "group", c.group, "", "no member of the group %q could be asked: %v", problems.Short(c.group), e.Err)
}

// passStream passes a stream on as it comes. It ends as abruptly as the connection to
// the other node, or this node: its reader goes on elsewhere after the last it has read.
func (c *call) passStream(resp *http.Response) error {
	p := pipe{c: c, w: c.w, rc: http.NewResponseController(c.raw)}
	p.limit()
	c.w.WriteHeader(resp.StatusCode)
	p.flush()
	buf := make([]byte, 16<<10)
	for p.err == nil {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			p.write(buf[:n])
			p.flush()
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			panic(http.ErrAbortHandler)
		}
	}
	return nil
}
