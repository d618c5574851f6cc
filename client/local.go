package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// A localLock excludes the goroutines of one client from each other: they
// share a session, and the server grants a lock to a session, not to a
// goroutine.
type localLock struct {
	c    *Client
	key  string
	turn chan struct{} // holds one token while free
	refs int           // guarded by Client.mu
}

// errTurn says why a lock was not even asked for.
var errTurn = errors.New("another goroutine of this client has the lock")

// enterLocal waits for the turn of this goroutine among those of the client.
func (c *Client) enterLocal(ctx context.Context, name string, o Options) (*localLock, error) {
	key := name
	if o.Session != nil && !o.Session.shared {
		key = o.Session.id + "\x00" + name
	}
	c.mu.Lock()
	l := c.local[key]
	if l == nil {
		l = &localLock{c: c, key: key, turn: make(chan struct{}, 1)}
		l.turn <- struct{}{}
		c.local[key] = l
	}
	l.refs++
	c.mu.Unlock()

	select {
	case <-l.turn:
		return l, nil
	default:
	}
	if o.Try {
		l.drop()
		return nil, heldHere(name)
	}
	var timeout <-chan time.Time
	if o.Wait > 0 {
		timer := time.NewTimer(o.Wait)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-l.turn:
		return l, nil
	case <-timeout:
		l.drop()
		return nil, heldHere(name)
	case <-ctx.Done():
		l.drop()
		return nil, &outcomeError{ErrUnavailable, errTurn, context.Cause(ctx)}
	}
}

func heldHere(name string) error {
	return &ProblemError{
		Status: http.StatusConflict, Code: string(api.CodeLockHeld), Applied: string(api.AppliedNo), Retryable: true,
		Detail: fmt.Sprintf("lock %q is held by another goroutine of this client", name),
	}
}

// leave passes the turn on.
func (l *localLock) leave() {
	l.turn <- struct{}{}
	l.drop()
}

// drop forgets the lock when nobody wants it.
func (l *localLock) drop() {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.refs--; l.refs == 0 {
		delete(l.c.local, l.key)
	}
}
