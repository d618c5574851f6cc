package httpapi

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prytany/prytany/httpapi/internal/check"
	"github.com/prytany/prytany/httpapi/internal/deadline"
	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/httpapi/internal/span"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// A call is one request on its way through. Its decoding methods note the
// first thing that is wrong in Bad and return zero values from then on, so
// that a handler looks at Bad once, before it calls the service.
type call struct {
	check.Checker

	s       *Server
	w       *recorder
	rec     recorder            // where w points to
	raw     http.ResponseWriter // what w wraps
	r       *http.Request
	id      string
	began   time.Time
	route   string
	param   string
	grouped bool

	rawName  string // what stands for param in the path, still encoded
	rawGroup string // the same for a group
	inGroup  bool   // whether there is one

	said  [12]string // values of the reply's headers, each a list of one there
	saids int
	tag   string    // the ETag of the revision that meta has told
	buf   [176]byte // of the reply

	method *method
	group  string
	locks  service.Locks
	nodes  []string // to pass the request on to, by URL, if this one has no part in the group
	name   string   // of the lock, key or session, or how names begin
	query  url.Values
	body   []byte
	stale  bool // a stale read was asked for
	slots  int  // that a lock was asked for with
	// Whether to send the request again does no harm, whatever has become of it;
	// nil: if it has an Idempotency-Key.
	repeatable *bool
	ctx        context.Context // life
	life       *span.Context
	first      span.Context // what life is at first
}

// run checks what all requests have in common and calls the method.
func (c *call) run(m *method) error {
	c.method = m
	c.parseQuery()
	if class := c.class(); class != classProbe {
		room := &c.s.rooms[class]
		if !room.enter() {
			return problems.New(api.CodeOverloaded, "", "", strconv.Itoa(room.max), "this node is answering as many requests of this kind as it may")
		}
		defer room.leave()
	}
	switch {
	case c.grouped:
		c.checkHeaders()
		c.findGroup()
		c.stale = c.query.Get("consistency") == "stale" // checked by read
		c.checkForward()
	case m.change: // of groups or members: main decides it
		c.checkHeaders()
		c.group = api.MainGroup
		c.tellLeader()
		c.checkForward()
	}
	if c.param != "" {
		c.name = c.Unescape(c.param, c.rawName)
		if c.param == "prefix" { // the only one that may be empty
			c.Text(c.param, c.name, c.s.lim.MaxName)
		} else {
			c.Name(c.param, c.name)
		}
	}
	if c.Bad == nil {
		c.readBody()
	}
	if c.Bad != nil {
		return c.Bad
	}
	// A change that does not wait for others does not end because the node goes down:
	// that takes longer than such a change, whose outcome would be unknown for no reason.
	var spare error
	if m.change && m.class == classNormal {
		spare = errStopping
	}
	c.begin(&c.first, c.s.cfg.Timeout, spare)
	defer func() { c.life.End() }()
	if len(c.nodes) > 0 {
		return c.pass()
	}
	return m.do(c)
}

// begin makes life the time that the call of the service has.
func (c *call) begin(life *span.Context, d time.Duration, spare error) {
	life.Begin(c.r.Context(), d, spare)
	c.life, c.ctx = life, life
}

// class says with what the request competes for room.
func (c *call) class() class {
	switch {
	case c.method.class == classKeepalive && c.query.Has("hold"):
		return classHeld
	case c.method.stream && c.streamType() != "":
		return classStream
	}
	return c.method.class
}

// waiting lets the call of the service take d longer.
func (c *call) waiting(d time.Duration) {
	if d > 0 {
		c.life.End()
		c.begin(new(span.Context), c.s.cfg.Timeout+d, nil)
	}
}

// findGroup finds the service of the group in the path.
func (c *call) findGroup() {
	c.group = api.MainGroup
	if c.inGroup {
		c.group = c.Unescape("group", c.rawGroup)
	}
	if c.Bad != nil {
		return
	}
	var ok bool
	if c.locks, ok = c.s.cfg.Locks(c.group); !ok {
		c.elsewhere()
	}
	if c.Bad != nil {
		return
	}
	c.tellLeader()
}

// tellLeader says where the leader of the group is, if that is known.
func (c *call) tellLeader() {
	if leader := c.s.cfg.LeaderURL(c.group); leader != "" {
		c.set(api.HeaderLeader, leader)
	}
}

// checkForward answers those who want to go to the leader themselves.
func (c *call) checkForward() {
	v := c.header(api.HeaderForward)
	switch {
	case c.Bad != nil || v == "" || v == "?1":
	case v != "?0":
		c.Reject(problems.New(api.CodeInvalid, api.HeaderForward, v, "?0 or ?1", "%s is ?0 or ?1", api.HeaderForward))
	case len(c.nodes) == 0 && (c.stale || c.s.cfg.IsLeader(c.group)):
	default:
		leader := c.s.cfg.LeaderURL(c.group)
		if leader == "" {
			c.Reject(problems.New(api.CodeNoLeader, "", "", "", "this node does not lead the group and knows nobody who does"))
			return
		}
		p := problems.New(api.CodeNotLeader, "", "", "", "ask the leader at %s", leader)
		p.Leader = leader
		c.Reject(p)
	}
}

// nosniff and noStore are headers of all replies. Nobody writes to a list of a header.
var (
	nosniff = []string{"nosniff"}
	noStore = []string{"no-store"}
	noCache = []string{"no-cache"}
	sandbox = []string{"sandbox"}
	accept  = []string{"Accept"}
)

// set sets a header of the reply. name is as [http.CanonicalHeaderKey] has it.
func (c *call) set(name, value string) {
	list := []string{}
	if i := c.saids; i < len(c.said) {
		c.saids++
		list = c.said[i : i : i+1]
	}
	c.w.Header()[name] = append(list, value)
}

// meta sets the headers that say where in the group's history a reply belongs.
func (c *call) meta(m locks.Meta) {
	if m.Revision == 0 && m.Slot == 0 {
		return
	}
	// One string has all of it: the ETag of the revision, and the slot.
	var room [48]byte
	b := append(strconv.AppendUint(append(room[:0], '"'), m.Revision, 10), '"')
	n := len(b)
	all := string(strconv.AppendUint(b, m.Slot, 10))
	c.tag = all[:n]
	c.set(api.HeaderRevision, all[1:n-1])
	c.set(api.HeaderSlot, all[n:])
	if c.stale {
		c.set(api.HeaderApplied, all[1:n-1])
		c.set(api.HeaderAgeMS, strconv.FormatInt(reply.MS(m.Age), 10))
	}
}

// etag is the ETag of revision or fence n, which often is the revision of the reply.
func (c *call) etag(n uint64) string {
	var room [24]byte
	b := append(strconv.AppendUint(append(room[:0], '"'), n, 10), '"')
	if string(b) == c.tag {
		return c.tag
	}
	return string(b)
}

// json replies with v, compact, with a newline at its end.
func (c *call) json(status int, v any) error { return c.send(status, api.TypeJSON, reply.JSON(v)) }

// send replies with b.
func (c *call) send(status int, contentType string, b []byte) error {
	c.set("Content-Type", contentType)
	c.set("Content-Length", strconv.Itoa(len(b)))
	c.limitWrite()
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(b) // the client has gone; nobody is left to tell
	}
	return nil
}

// stopping reports whether the request ended because the node goes down.
func (c *call) stopping() bool { return context.Cause(c.r.Context()) == errStopping }

// gone reports whether nobody is left to be told anything.
func (c *call) gone() bool { return c.r.Context().Err() != nil && !c.stopping() }

// unchanged replies that the client has the latest, unless its wait for
// something later was broken off.
func (c *call) unchanged(rd service.Read) error {
	if rd.Wait > 0 && c.stopping() {
		return errStopping
	}
	return c.empty(http.StatusNotModified)
}

// limitWrite bounds how long the client may take to take the reply. Before it
// leaves, net/http may spend up to IOTimeout on a body that nobody has read.
func (c *call) limitWrite() { c.control().LimitWrite(2 * c.s.cfg.IOTimeout) }

// empty replies with headers alone.
func (c *call) empty(status int) error {
	c.limitWrite()
	c.w.WriteHeader(status)
	return nil
}

// seconds is d for Retry-After: whole seconds from 1 to limit.
func seconds(d time.Duration, limit int) string {
	return strconv.Itoa(min(max(int(math.Ceil(d.Seconds())), 1), limit))
}

// A recorder remembers the status of a reply.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// control sets the deadlines of this exchange.
func (c *call) control() deadline.Control { return deadline.Of(c.raw) }
