package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"

	"golang.org/x/term"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

// IsTerminal reports whether a person is at the other end of f.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// FetchAll reads every page of a listing.
func FetchAll[T any](ctx context.Context, c *client.Client, path, prefix string, decode func([]byte) ([]T, string, error)) ([]T, error) {
	var all []T
	q := url.Values{}
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	for {
		rep, err := c.Call(ctx, client.Call{Path: path, Query: q})
		if err != nil {
			return nil, err
		}
		items, next, err := decode(rep.Body)
		if err != nil {
			return nil, fmt.Errorf("the server's answer makes no sense: %w", err)
		}
		all = append(all, items...)
		switch next {
		case "":
			return all, nil
		case q.Get("cursor"): // it would go on for ever
			return nil, fmt.Errorf("the server's answer makes no sense: after the page %q comes the same one", next)
		}
		q.Set("cursor", next)
	}
}

// Fetch reads one JSON document.
func Fetch[T any](ctx context.Context, c *client.Client, r client.Call) (T, error) {
	var v T
	rep, err := c.Call(ctx, r)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(rep.Body, &v); err != nil {
		return v, fmt.Errorf("the server's answer makes no sense: %w", err)
	}
	return v, nil
}

// EntryJSON is e as the API tells it.
func EntryJSON(e client.Entry) api.Entry {
	out := api.Entry{
		Key: e.Key, ContentType: e.ContentType, Revision: e.Revision, CreatedRevision: e.Created, Version: e.Version, Session: e.Session,
	}
	out.Value, out.ValueBase64 = api.EncodeValue(e.Value)
	return out
}
