// Package link carries requests of the HTTP API to a cluster: to one node after
// the other, until one answers, or the time is over, or it is certain that
// repeating them does no good. It follows streams of events in the same way.
//
// It never repeats what is not known to be safe: every change carries an
// Idempotency-Key, and [Outcome] says what is known when there is no answer.
package link

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// Config configures a Link. All fields but Client are needed.
type Config struct {
	Endpoints []string // URLs of nodes, or host:port
	Group     string
	Timeout   time.Duration // of requests whose context has no deadline, beside their wait
	Client    *http.Client  // nil: one that notices dead connections within seconds
	Log       *slog.Logger
	Now       func() time.Duration // reading of a monotonic clock
}

// A Link sends requests. It is safe for concurrent use.
type Link struct {
	Config
	endpoints []*endpoint
	http      *http.Client
	traced    bool   // http tells when it has a connection
	base      string // how the paths of the group begin

	mu   sync.Mutex
	next int // endpoint to ask
}

// New returns a link. The only errors are endpoints that are no URLs.
func New(cfg Config) (*Link, error) {
	l := &Link{Config: cfg}
	for _, e := range cfg.Endpoints {
		u, err := parseEndpoint(e)
		if err != nil {
			return nil, err
		}
		one := newEndpoint(u)
		if cfg.Client == nil {
			one.shared = sharedOf(u, dialer().DialContext, cfg.Now)
		}
		l.endpoints = append(l.endpoints, one)
	}
	l.base = "/v1/"
	if cfg.Group != api.MainGroup {
		l.base += "groups/" + strings.ReplaceAll(Escape(cfg.Group), "/", "%2F") + "/"
	}
	l.http = &http.Client{Transport: newTransport()}
	if cfg.Client != nil {
		own := *cfg.Client
		l.http = &own
	}
	// Nodes do not redirect. Who else does would have a change answered by
	// something that made none.
	l.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	_, l.traced = l.http.Transport.(*http.Transport)
	l.traced = l.traced || l.http.Transport == nil
	return l, nil
}

// URLs returns the endpoints.
func (l *Link) URLs() []string {
	out := make([]string, len(l.endpoints))
	for i, e := range l.endpoints {
		out[i] = e.url
	}
	return out
}

// CloseIdle closes the connections that nobody uses, the others once nobody does.
func (l *Link) CloseIdle() {
	l.http.CloseIdleConnections()
	for _, e := range l.endpoints {
		e.shared.retire()
	}
}

// parseEndpoint accepts a URL, or host:port for http.
func parseEndpoint(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("prytany: endpoint %q: %w", s, err)
	}
	_, err = strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16)
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || err != nil ||
		u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("prytany: endpoint %q: want http://host:port", s)
	}
	return &url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host}, nil
}

// dialer makes connections that notice within seconds that the other side is gone,
// however long a request waits.
func dialer() *net.Dialer {
	return &net.Dialer{
		Timeout: connectFor,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3,
		},
	}
}

func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:         dialer().DialContext,
		Proxy:               http.ProxyFromEnvironment,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 2 * time.Second,
	}
}
