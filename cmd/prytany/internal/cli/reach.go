package cli

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// How long a command goes on when every address it knows refuses connections:
// long enough for a node to come back from a restart.
const (
	refusedSay    = time.Second
	refusedGiveUp = 3 * time.Second
)

// mostIdle is how many idle connections to a node are kept: those of all clients
// of prytany bench, which would otherwise connect anew for most requests.
const mostIdle = 1 << 16

// A Reach watches the connections of one command, to say what it waits for
// and not to wait for what will not come.
type Reach struct {
	Say    func(format string, args ...any)
	giveUp context.CancelFunc // nil if the user said how long to try

	mu    sync.Mutex
	since time.Time // of the first refusal
	said  bool
	ever  bool // some connection was made
}

// HTTPClient returns a client whose connections r watches. It notices within
// seconds that the other side is gone.
func (r *Reach) HTTPClient() *http.Client {
	dialer := &net.Dialer{
		Timeout:         2 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3},
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			r.dialled(addr, err)
			return c, err
		},
		Proxy:               http.ProxyFromEnvironment,
		MaxIdleConnsPerHost: mostIdle,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 2 * time.Second,
	}}
}

// reached reports whether some node took a connection.
func (r *Reach) reached() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ever
}

func (r *Reach) dialled(addr string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || r.ever {
		r.ever = true
		return
	}
	now := time.Now()
	if r.since.IsZero() {
		r.since = now
	}
	if !r.said && now.Sub(r.since) >= refusedSay {
		r.said = true
		r.Say("prytany: waiting for an answer: %v", RootCause(err))
	}
	if r.giveUp != nil && errors.Is(err, syscall.ECONNREFUSED) && now.Sub(r.since) >= refusedGiveUp {
		r.giveUp()
	}
}
