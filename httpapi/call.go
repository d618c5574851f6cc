package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// A call is one request on its way through. Its decoding methods note the
// first thing that is wrong in bad and return zero values from then on, so
// that a handler looks at bad once, before it calls the service.
type call struct {
	s       *Server
	w       *recorder
	raw     http.ResponseWriter // what w wraps
	r       *http.Request
	id      string
	began   time.Time
	route   string
	vars    map[string]string // still encoded
	param   string
	grouped bool
	prefix  string // "/v1/groups/g1", or "" for "/v1"

	method *method
	group  string
	locks  locks.Locks
	name   string // of the lock, key or session
	query  url.Values
	body   []byte
	stale  bool // a stale read was asked for
	ctx    context.Context
	cancel context.CancelFunc
	bad    *api.Problem
}

// reject notes what is wrong, unless something is already.
func (c *call) reject(p *api.Problem) {
	if c.bad == nil {
		c.bad = p
	}
}

// run checks what all requests have in common and calls the method.
func (c *call) run(m *method) error {
	c.method = m
	leave, ok := c.s.enter(m.class)
	if !ok {
		return problem(api.CodeOverloaded, "", "", strconv.Itoa(c.s.cfg.MaxInFlight), "this node is answering as many requests as it may")
	}
	defer leave()
	c.parseQuery()
	if c.grouped {
		c.findGroup()
		c.stale = c.query.Get("consistency") == "stale" // checked by read
		c.checkForward()
	}
	if c.param != "" {
		c.name = c.checkName(c.param, c.unescape(c.param, c.vars[c.param]))
	}
	if c.bad == nil {
		c.readBody()
	}
	if c.bad != nil {
		return c.bad
	}
	c.ctx, c.cancel = context.WithTimeout(c.r.Context(), c.s.cfg.Timeout)
	defer func() { c.cancel() }()
	return m.do(c)
}

// waiting lets the call of the service take d longer.
func (c *call) waiting(d time.Duration) {
	if d > 0 {
		c.cancel()
		c.ctx, c.cancel = context.WithTimeout(c.r.Context(), c.s.cfg.Timeout+d)
	}
}

// findGroup finds the service of the group in the path.
func (c *call) findGroup() {
	c.group = api.MainGroup
	if raw, ok := c.vars["group"]; ok {
		c.group = c.unescape("group", raw)
	}
	if c.bad != nil {
		return
	}
	var ok bool
	if c.locks, ok = c.s.cfg.Locks(c.group); !ok {
		c.reject(problem(api.CodeGroupUnknown, "group", c.group, "", "there is no group %q", short(c.group)))
		return
	}
	if leader := c.s.cfg.LeaderURL(c.group); leader != "" {
		c.w.Header().Set(api.HeaderLeader, leader)
	}
}

// checkForward answers those who want to go to the leader themselves.
func (c *call) checkForward() {
	v := c.header(api.HeaderForward)
	switch {
	case c.bad != nil || v == "" || v == "?1":
	case v != "?0":
		c.reject(problem(api.CodeInvalid, api.HeaderForward, v, "?0 or ?1", "%s is ?0 or ?1", api.HeaderForward))
	case c.stale || c.s.cfg.IsLeader(c.group):
	default:
		leader := c.s.cfg.LeaderURL(c.group)
		if leader == "" {
			c.reject(problem(api.CodeNoLeader, "", "", "", "this node does not lead the group and knows nobody who does"))
			return
		}
		p := problem(api.CodeNotLeader, "", "", "", "ask the leader at %s", leader)
		p.Leader = leader
		c.reject(p)
	}
}

// meta sets the headers that say where in the group's history a reply belongs.
func (c *call) meta(m locks.Meta) {
	h := c.w.Header()
	if m.Revision == 0 && m.Slot == 0 {
		return
	}
	h.Set(api.HeaderRevision, strconv.FormatUint(m.Revision, 10))
	h.Set(api.HeaderSlot, strconv.FormatUint(m.Slot, 10))
	if c.stale {
		h.Set(api.HeaderApplied, strconv.FormatUint(m.Revision, 10))
		h.Set(api.HeaderAgeMS, strconv.FormatInt(ms(m.Age), 10))
	}
}

// json replies with v, compact, with a newline at its end.
func (c *call) json(status int, v any) error { return c.send(status, api.TypeJSON, encode(v)) }

// send replies with b.
func (c *call) send(status int, contentType string, b []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	c.limitWrite()
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(b) // the client has gone; nobody is left to tell
	}
	return nil
}

// stopping reports whether the request ended because the node goes down.
func (c *call) stopping() bool { return context.Cause(c.r.Context()) == errStopping }

// unchanged replies that the client has the latest, unless its wait for
// something later was broken off.
func (c *call) unchanged(rd locks.Read) error {
	if rd.Wait > 0 && c.stopping() {
		return errStopping
	}
	return c.empty(http.StatusNotModified)
}

// limitWrite bounds how long the client may take to take the reply. Before it
// leaves, net/http may spend up to IOTimeout on a body that nobody has read.
func (c *call) limitWrite() { c.control().limitWrite(2 * c.s.cfg.IOTimeout) }

// empty replies with headers alone.
func (c *call) empty(status int) error {
	c.limitWrite()
	c.w.WriteHeader(status)
	return nil
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // the types of package api can be encoded
	}
	return b.Bytes()
}

// ms is d in whole milliseconds, rounded down: a lease is never shown longer
// than it is.
func ms(d time.Duration) int64 { return d.Milliseconds() }

// knownMS is nil for the negative durations that stand for "not known".
func knownMS(d time.Duration) *int64 {
	if d < 0 {
		return nil
	}
	n := ms(d)
	return &n
}

// seconds is d for Retry-After: whole seconds from 1 to limit.
func seconds(d time.Duration, limit int) string {
	return strconv.Itoa(min(max(int(math.Ceil(d.Seconds())), 1), limit))
}

// short makes s fit to be repeated to the one who sent it.
func short(s string) string {
	const most = 64
	if len(s) > most {
		cut := most
		for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return string(bytes.ToValidUTF8([]byte(s), []byte("\uFFFD")))
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

// A control sets the deadlines of one exchange. Writers without deadlines, as
// in tests, have none.
type control struct{ rc *http.ResponseController }

func (c *call) control() control { return control{http.NewResponseController(c.raw)} }

// clearWrite undoes what the last request of the connection set.
func (k control) clearWrite()                { _ = k.rc.SetWriteDeadline(time.Time{}) }
func (k control) limitWrite(d time.Duration) { _ = k.rc.SetWriteDeadline(time.Now().Add(d)) }
func (k control) limitRead(d time.Duration)  { _ = k.rc.SetReadDeadline(time.Now().Add(d)) }
func (k control) clearRead()                 { _ = k.rc.SetReadDeadline(time.Time{}) }
