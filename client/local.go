package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/prytany/prytany/client/internal/turns"
	"github.com/prytany/prytany/internal/api"
)

// errTurn says why a lock was not even asked for.
var errTurn = errors.New("another goroutine of this client has the lock")

// enterLocal waits for the turn of this goroutine among those of the client:
// they share a session, and the server grants a lock to a session, not to a
// goroutine.
func (c *Client) enterLocal(ctx context.Context, name string, o Options) (leave func(), err error) {
	key, wait := name, o.Wait
	if o.Session != nil && !o.Session.shared {
		key = o.Session.id + "\x00" + name
	}
	if o.Try {
		wait = -1
	}
	leave, err = c.local.Enter(ctx, key, wait)
	switch {
	case errors.Is(err, turns.ErrTaken):
		return nil, heldHere(name)
	case err != nil:
		return nil, &outcomeError{ErrUnavailable, errTurn, err}
	}
	return leave, nil
}

func heldHere(name string) error {
	return &ProblemError{
		Status: http.StatusConflict, Code: string(api.CodeLockHeld), Applied: string(api.AppliedNo), Retryable: true,
		Name: name, Operation: -1, Held: []HeldBy{{Name: name}},
		Detail: fmt.Sprintf("lock %q is held by another goroutine of this client", name),
	}
}
