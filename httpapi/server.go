package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"github.com/prytany/prytany/httpapi/internal/alone"
	"github.com/prytany/prytany/httpapi/internal/check"
	"github.com/prytany/prytany/httpapi/internal/feed"
	"github.com/prytany/prytany/httpapi/internal/paths"
	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/httpapi/internal/relay"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// Config configures a Server. Locks is required. Functions may be called from
// many goroutines at once.
type Config struct {
	// Locks returns the service of a group, if this node has one.
	Locks func(group string) (service.Locks, bool)
	// Status, Members and Ready answer the paths of these names. nil answers
	// with zero values; a node without checks is ready.
	Status  func() api.Status
	Members func() []api.Member
	Ready   func() []api.Check
	// Node is the name of the node, as its events tell it.
	Node string
	// Events answers /v1/events; nil means that nothing ever happens. RTT answers
	// /v1/rtt.
	Events NodeEvents
	RTT    func() api.RTT
	// Transfer hands the lead of a group over to the voter with that name or id, or
	// to whichever suits best; with forward, another node may be asked to. Errors
	// may be [*api.Problem]s. nil means that there is nobody to hand over to.
	Transfer func(ctx context.Context, group, to string, forward bool) (api.HandedOver, error)
	// Groups answers the paths that change and list groups and members. nil means that
	// there is main alone and nothing can be changed.
	Groups Groups
	// Relay returns the URLs of the nodes to pass requests for a group on to, best
	// first, if this node has no part in it. unknown means that there is no such group;
	// without it, none means that this node cannot tell who has it. It is asked only if
	// Locks does not have the group.
	Relay func(group string) (urls []string, unknown bool)
	// LeaderURL returns where the leader of group is, "" if unknown.
	LeaderURL func(group string) string
	// IsLeader reports whether this node leads group. nil means always.
	IsLeader func(group string) bool
	// Metrics answers /metrics. nil means there is no such path.
	Metrics http.Handler
	// Limits bounds what clients may send. Zero fields have their defaults.
	Limits locks.Limits
	// Log receives panics and internal errors. nil means silence.
	Log *slog.Logger
	// Observe is told of each answered request; route is a path template, or
	// "none". nil is fine.
	Observe func(route string, status int, took time.Duration)

	// MaxInFlight bounds the requests being answered, long polls included.
	// Keepalives have a bound of the same size of their own. 0 means 20,000.
	MaxInFlight int
	// MaxStreams bounds the streams of events. 0 means 20,000.
	MaxStreams int
	// MaxHeld bounds the keepalives whose answer is held back. 0 means 100,000.
	MaxHeld int
	// Timeout bounds a call of the service, beside the wait that was asked
	// for. It should be longer than the service's own bound, which tells more
	// about what has happened. 0 means 15 s.
	Timeout time.Duration
	// IOTimeout bounds how long a client may take to send a body, and how long
	// to take an answer. 0 means 30 s.
	IOTimeout time.Duration
	// BookmarkEvery is after how much silence a stream says how far it is. 0
	// means 10 s.
	BookmarkEvery time.Duration
	// StreamTimeout bounds how long the reader of a stream may take to take what
	// one change did; then it is cut off. 0 means 10 s.
	StreamTimeout time.Duration

	// CheckHost refuses requests whose Host is neither an IP address, nor
	// localhost, nor one of Hosts. A listener on loopback needs it: by DNS
	// rebinding any web page could otherwise talk to it under a name of its own.
	CheckHost bool
	// Hosts lists more names, without ports.
	Hosts []string
}

// A Server is the API as an [http.Handler].
type Server struct {
	cfg    Config
	lim    locks.Limits
	router *mux.Router
	routes map[string]*route
	quick  paths.Finder[*route]
	cross  *http.CrossOriginProtection
	told   *feed.Cache
	relay  *relay.Relay
	rooms  [numClasses]room
}

// A room bounds how many requests of one class are answered at a time.
type room struct {
	taken atomic.Int64
	max   int
}

// New returns a Server.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, int, time.Duration) {}
	}
	if cfg.LeaderURL == nil {
		cfg.LeaderURL = func(string) string { return "" }
	}
	if cfg.Groups == nil {
		cfg.Groups = alone.Groups{LeaderURL: cfg.LeaderURL}
	}
	if cfg.IsLeader == nil {
		cfg.IsLeader = func(string) bool { return true }
	}
	cfg.MaxInFlight = orDefault(cfg.MaxInFlight, 20_000)
	cfg.MaxStreams = orDefault(cfg.MaxStreams, 20_000)
	cfg.MaxHeld = orDefault(cfg.MaxHeld, 100_000)
	cfg.BookmarkEvery = orDefault(cfg.BookmarkEvery, 10*time.Second)
	cfg.StreamTimeout = orDefault(cfg.StreamTimeout, 10*time.Second)
	cfg.Timeout = orDefault(cfg.Timeout, 15*time.Second)
	cfg.IOTimeout = orDefault(cfg.IOTimeout, 30*time.Second)
	s := &Server{cfg: cfg, lim: cfg.Limits.WithDefaults(), told: feed.NewCache(), relay: relay.New(relay.Config{}), cross: http.NewCrossOriginProtection()}
	s.rooms[classNormal].max, s.rooms[classKeepalive].max = cfg.MaxInFlight, cfg.MaxInFlight
	s.rooms[classStream].max, s.rooms[classHeld].max = cfg.MaxStreams, cfg.MaxHeld
	s.router, s.routes, s.quick = newRouter(cfg.Metrics != nil)
	return s
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// errStopping is the cause of the end of all requests when the node stops.
var errStopping = errors.New("httpapi: the node is going down")

// NewHTTPServer returns a server for s that speaks HTTP/1.1 and, without TLS,
// HTTP/2. Before [http.Server.Shutdown], which waits for requests to end, call
// stop: it ends long polls with a 503 that says that the node is going down.
func (s *Server) NewHTTPServer() (srv *http.Server, stop context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
			Handler:                      s,
			Protocols:                    p,
			HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: 1000},
			ReadHeaderTimeout:            10 * time.Second,
			IdleTimeout:                  2 * time.Minute,
			MaxHeaderBytes:               32 << 10,
			DisableGeneralOptionsHandler: true,
			ErrorLog:                     slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
			BaseContext:                  func(net.Listener) context.Context { return ctx },
		}, func() {
			cancel(errStopping)
			s.relay.CloseIdle()
		}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Checker: check.Checker{Lim: s.lim}, s: s, rec: recorder{ResponseWriter: w}, raw: w, r: r, id: relay.RequestID(r), began: time.Now(), route: "none"}
	c.w = &c.rec
	defer c.finish()
	if r.Header["Expect"] != nil {
		// net/http may say "100 Continue" before the reply, which sets a deadline of
		// its own. Nothing else is written before that.
		c.control().ClearWrite()
	}
	if r.Body != nil && r.Body != http.NoBody {
		// Until the body is read: what is refused unread, net/http reads to its
		// end before it replies.
		c.control().LimitRead(s.cfg.IOTimeout)
	}
	h := w.Header()
	h["X-Content-Type-Options"], h["Cache-Control"] = nosniff, noStore
	c.set(api.HeaderRequestID, c.id)
	if err := s.admit(r); err != nil {
		c.fail(err)
		return
	}
	m, err := s.find(c)
	if err == nil {
		err = c.run(m)
	}
	if err != nil {
		c.fail(err)
	}
}

// admit keeps out what web pages of others may send to this address.
func (s *Server) admit(r *http.Request) error {
	if s.cfg.CheckHost && !s.knownHost(r.Host) && !mutant.On(mutant.AnyHost) {
		return problems.New(api.CodeForbiddenHost, "Host", r.Host, "",
			"this node does not answer to the name %q; add it to the node's hosts, or use its IP address", problems.Short(r.Host))
	}
	if err := s.cross.Check(r); err != nil && !mutant.On(mutant.AnyOrigin) {
		return problems.New(api.CodeForbiddenOrigin, "Origin", r.Header.Get("Origin"), "",
			"web pages of other origins may not change anything here")
	}
	return nil
}

// knownHost admits addresses: rebinding needs a name. A client without Host is
// no browser.
func (s *Server) knownHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "" || host == "localhost" {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.ContainsFunc(s.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// find routes c's request.
func (s *Server) find(c *call) (*method, error) {
	rt := s.match(c)
	if rt == nil {
		return nil, problems.New(api.CodeNotFound, "", "", "", "there is nothing at this path")
	}
	c.route, c.param, c.grouped = rt.path, rt.param, rt.group
	name := c.r.Method
	if name == http.MethodHead {
		name = http.MethodGet
	}
	m, ok := rt.methods[name]
	if !ok {
		allow := rt.allow()
		c.w.Header().Set("Allow", allow)
		return nil, problems.New(api.CodeMethodNotAllowed, "method", c.r.Method, allow, "this path takes %s", allow)
	}
	return m, nil
}

// match finds the route of c's path, nil if there is none, and what stands in it.
// The router decides; most requests for something with a name need not ask it.
func (s *Server) match(c *call) *route {
	if c.r.Method != http.MethodPost { // its end may be no part of the name
		if f, ok := s.quick.Find(c.r.URL.EscapedPath()); ok {
			c.rawGroup, c.inGroup, c.rawName = f.Group, f.InGroup, f.Name
			return f.Route
		}
	}
	return s.ask(c)
}

// ask has the router find it.
func (s *Server) ask(c *call) *route {
	var match mux.RouteMatch
	if !s.router.Match(c.r, &match) || match.Route == nil {
		return nil
	}
	rt := s.routes[match.Route.GetName()]
	c.rawGroup = match.Vars["group"]
	c.inGroup = c.rawGroup != "" // in a path it is never empty
	c.rawName = match.Vars[rt.param]
	return rt
}

// enter counts a request in, unless there is no room for it.
func (r *room) enter() bool {
	if r.taken.Add(1) <= int64(r.max) {
		return true
	}
	r.leave()
	return false
}

// leave counts it out.
func (r *room) leave() { r.taken.Add(-1) }

// finish ends a request: a panic becomes a 500, and the metrics are told.
func (c *call) finish() {
	defer func() { c.s.cfg.Observe(c.route, c.w.status, time.Since(c.began)) }()
	if v := recover(); v != nil {
		if v == http.ErrAbortHandler {
			panic(v)
		}
		c.s.cfg.Log.Error("panic while answering a request", "request_id", c.id, "route", c.route, "method", c.r.Method,
			"panic", v, "stack", string(debug.Stack()))
		if c.w.status != 0 {
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		c.fail(&api.Problem{Code: api.CodeInternal, Detail: internalDetail})
	}
}
