package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/synod"
)

// neighbours carries requests to the HTTP API of other nodes.
var neighbours = &http.Client{Transport: &http.Transport{
	DialContext:       (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
	DisableKeepAlives: true,
}}

// errUnreached says that a node was not asked at all.
var errUnreached = errors.New("the node is not in reach")

// maxAnswer bounds the answer of another node, in bytes.
const maxAnswer = 8 << 20

// ask sends a request to the API of another node, one hop, and decodes its answer.
func (n *Node) ask(ctx context.Context, to synod.NodeID, method, path string, in, out any) error {
	return n.send(ctx, to, method, path, false, in, out)
}

// send sends a request to the API of another node, which may pass it on if further is
// true. Errors: errUnreached, an [*api.Problem] of the other node, or an unknown
// outcome.
func (n *Node) send(ctx context.Context, to synod.NodeID, method, path string, further bool, in, out any) error {
	url := n.urlOf(to)
	if url == "" || !n.allowed(to) {
		return fmt.Errorf("%w: %s", errUnreached, n.nameOf(to))
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if in == nil {
		body = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", api.TypeJSON)
	}
	if !further {
		req.Header.Set(api.HeaderForward, "?0")
	}
	resp, err := neighbours.Do(req)
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w: %s at %s", errUnreached, n.nameOf(to), url)
	}
	if err != nil {
		return fmt.Errorf("ask %s: %w", n.nameOf(to), err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask %s: %w", n.nameOf(to), err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, out); err != nil {
			return fmt.Errorf("ask %s: its answer makes no sense: %w", n.nameOf(to), err)
		}
		return nil
	}
	var p api.Problem
	if err := json.Unmarshal(text, &p); err != nil || p.Code == "" {
		return fmt.Errorf("ask %s: its answer makes no sense: %d", n.nameOf(to), resp.StatusCode)
	}
	return &api.Problem{Code: p.Code, Detail: p.Detail, Field: p.Field, Value: p.Value, Limit: p.Limit}
}

// addresses are the peer addresses of members, as the directory has them.
type addresses struct {
	mu   sync.Mutex
	view *directory.View
	of   map[synod.NodeID]string
}

// find returns the address of a node in v, "" if it is not known.
func (a *addresses) find(v *directory.View, id synod.NodeID) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.view != v {
		a.view, a.of = v, map[synod.NodeID]string{}
		for _, g := range v.Groups() {
			if add := g.Plan.Add; add.Node != 0 {
				a.of[add.Node] = add.PeerAddr
			}
			for _, m := range g.Members {
				a.of[m.Node] = m.PeerAddr
			}
		}
	}
	return a.of[id]
}
