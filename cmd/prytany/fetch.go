package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"

	"golang.org/x/term"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

// isTerminal reports whether a person is at the other end of f.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// fetchAll reads every page of a listing.
func fetchAll[T any](ctx context.Context, c *client.Client, path, prefix string, decode func([]byte) ([]T, string, error)) ([]T, error) {
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
		if next == "" {
			return all, nil
		}
		q.Set("cursor", next)
	}
}

// fetch reads one JSON document.
func fetch[T any](ctx context.Context, c *client.Client, r client.Call) (T, error) {
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

// entryValue returns the bytes of an entry.
func entryValue(e api.Entry) ([]byte, error) {
	switch {
	case e.Value != nil:
		return []byte(*e.Value), nil
	case e.ValueBase64 != nil:
		b, err := base64.StdEncoding.DecodeString(*e.ValueBase64)
		if err != nil {
			return nil, fmt.Errorf("the value of %q makes no sense: %w", e.Key, err)
		}
		return b, nil
	}
	return nil, nil
}
