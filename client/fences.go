package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

// AdvanceFence notes that resource has seen fence, for resources that cannot
// keep the highest one themselves: call it with [Held.Fence] before each step of
// the work. It returns the highest fence seen. Errors: [ErrStaleFence] if that
// is higher, in which case the lock has been granted anew and the step must not
// be done; [ErrUnavailable], [ErrUnknownOutcome].
func (c *Client) AdvanceFence(ctx context.Context, resource string, fence uint64) (highest uint64, err error) {
	body, err := json.Marshal(api.Fence{Fence: fence})
	if err != nil {
		return 0, fmt.Errorf("prytany: %w", err)
	}
	return highestOf(c.do(ctx, link.Request{
		Method: http.MethodPut, Path: "fences/" + link.Escape(resource), Header: jsonHeader(), Body: body,
		Small: true, Change: true, Timeless: true, // to see a fence twice is to see it once
	}))
}

// HighestFence returns the highest fence that resource has seen. Errors:
// [ErrNotFound] if it has seen none; [ErrUnavailable].
func (c *Client) HighestFence(ctx context.Context, resource string) (uint64, error) {
	return highestOf(c.do(ctx, link.Request{Method: http.MethodGet, Path: "fences/" + link.Escape(resource), Small: true}))
}

// ForgetFence removes what is known of resource, whose highest fence is given:
// for resources that are no more. Errors: [ErrStaleFence] if it has seen another;
// [ErrUnavailable], [ErrUnknownOutcome].
func (c *Client) ForgetFence(ctx context.Context, resource string, highest uint64) error {
	_, err := c.do(ctx, link.Request{
		Method: http.MethodDelete, Path: "fences/" + link.Escape(resource), Change: true, Small: true,
		Header: http.Header{"If-Match": {api.FormatETag(highest)}},
	})
	return err
}

func highestOf(rep link.Reply, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	var out api.Highest
	if err := json.Unmarshal(rep.Body, &out); err != nil || out.Highest == 0 {
		return 0, senseless("highest fence", rep)
	}
	return out.Highest, nil
}

// CheckFence asks whether fence is that of a present grant of the lock called
// name: the question that a resource may ask, whatever the answer is worth a
// moment later. [WhileHeld], [LockHeld] and [Client.AdvanceFence] leave no such
// moment. Errors: [ErrStaleFence] if it is not; [ErrUnavailable].
func (c *Client) CheckFence(ctx context.Context, name string, fence uint64) error {
	_, err := c.do(ctx, link.Request{
		Method: http.MethodGet, Path: "locks/" + link.Escape(name), Query: url.Values{"fence": {strconv.FormatUint(fence, 10)}}, Small: true,
	})
	return err
}

// Break takes the lock called name from all who hold it. It does not wait for
// them to stop: only what looks at the fence is safe from them. reason is kept
// with the lock and told to them. Errors: [ErrStaleFence] if nobody holds it;
// [ErrUnavailable], [ErrUnknownOutcome].
func (c *Client) Break(ctx context.Context, name, reason string) error {
	q := url.Values{"force": {"true"}}
	if reason != "" {
		q.Set("reason", reason)
	}
	_, err := c.do(ctx, link.Request{Method: http.MethodDelete, Path: "locks/" + link.Escape(name), Query: q, Change: true})
	return err
}

// AskYield asks those who hold the lock called name to let it go; see
// [Held.Yield]. If within is not 0 it is taken from them when that has passed.
// Errors: [ErrNotFound] if nobody holds it; [ErrUnavailable],
// [ErrUnknownOutcome].
func (c *Client) AskYield(ctx context.Context, name string, within time.Duration, reason string) error {
	in := api.AskYield{Reason: reason}
	if within != 0 {
		in.Within = within.String()
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("prytany: %w", err)
	}
	_, err = c.do(ctx, link.Request{
		Method: http.MethodPost, Path: "locks/" + link.Escape(name) + ":yield", Header: jsonHeader(), Body: body, Change: true,
	})
	return err
}
