package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/prytany/prytany/client/internal/link"
)

// A Call is any request of the HTTP API, for what this package has no method
// for.
type Call struct {
	Method string      // "" means GET
	Path   string      // below /v1/, escaped with [EscapeName]: "locks/nightly"
	Query  url.Values  //
	Header http.Header // an Idempotency-Key is added to changes
	Body   []byte
	Wait   time.Duration // how long the server is asked to wait, beside Config.Timeout
}

// A Reply is an answer with a status 2xx or 304.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Call sends r to one endpoint after the other until it is answered. Refusals
// are [*ProblemError]s; see the package comment for when time runs out.
func (c *Client) Call(ctx context.Context, r Call) (Reply, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	rep, err := c.do(ctx, link.Request{
		Method: r.Method, Path: r.Path, Query: r.Query, Header: r.Header, Body: r.Body, Wait: r.Wait,
		Change: r.Method != http.MethodGet && r.Method != http.MethodHead,
	})
	return Reply{rep.Status, rep.Header, rep.Body}, err
}

// Endpoints returns the URLs that the client uses.
func (c *Client) Endpoints() []string { return c.link.URLs() }

// EscapeName encodes a lock's name or a key for use in a path. Slashes stay.
func EscapeName(name string) string { return link.Escape(name) }
