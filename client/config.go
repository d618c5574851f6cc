package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

// An Entry is one config entry.
type Entry struct {
	Key         string
	Value       []byte
	ContentType string
	Revision    uint64 // of its last change, for IfRevision
	Created     uint64 // revision
	Version     uint64 // number of changes since Created, from 1
	Session     string // it goes with this session, if any
}

// A Condition admits or qualifies a change; see [IfRevision], [IfAbsent],
// [IfPresent], [WhileHeld], [Ephemeral] and [ContentType].
type Condition struct{ name, value string }

// IfRevision admits the change only if the entry's revision is n.
func IfRevision(n uint64) Condition { return Condition{"If-Match", api.FormatETag(n)} }

// IfPresent admits the change only if there is an entry.
func IfPresent() Condition { return Condition{"If-Match", "*"} }

// IfAbsent admits the change only if there is no entry.
func IfAbsent() Condition { return Condition{"If-None-Match", "*"} }

// WhileHeld admits the change only while h is the lock's present grant. The
// state machine checks it together with the change: there is no moment between.
func WhileHeld(h *Held) Condition {
	return Condition{api.HeaderGuard, api.FormatGuard(h.name, h.Fence())}
}

// Ephemeral removes the entry when s ends.
func Ephemeral(s *Session) Condition { return Condition{api.HeaderSession, s.id} }

// ContentType is kept with the value and given back with it.
func ContentType(t string) Condition { return Condition{"Content-Type", t} }

func headerOf(conds []Condition) http.Header {
	h := http.Header{}
	for _, c := range conds {
		h.Add(c.name, c.value) // the server refuses two of a kind: both were meant
	}
	return h
}

// pollFor is the longest wait that one request asks for: a server that fell
// silent is not waited for much longer.
const pollFor = 20 * time.Second

// GetNewer waits until the entry of key has another revision than after, which
// may be 0 to wait for the entry to exist, or until wait is over; then it
// returns the entry as it is. Errors as [Client.Get].
func (c *Client) GetNewer(ctx context.Context, key string, after uint64, wait time.Duration) (Entry, error) {
	end := c.now() + wait
	for {
		left := max(end-c.now(), 0)
		r := link.Request{Wait: min(left, pollFor)}
		r.Query = url.Values{"wait": {r.Wait.String()}}
		if after != 0 {
			r.Header = http.Header{"If-None-Match": {api.FormatETag(after)}}
		}
		e, same, err := c.get(ctx, key, r)
		switch over := left <= pollFor; {
		case !over && (same || after == 0 && errors.Is(err, ErrNotFound)):
		case same:
			return c.Get(ctx, key)
		default:
			return e, err
		}
	}
}

// Get returns the entry of key, linearizably: every change that was
// acknowledged before the call is seen. Errors: [ErrNotFound],
// [ErrUnavailable].
func (c *Client) Get(ctx context.Context, key string) (Entry, error) {
	e, _, err := c.get(ctx, key, link.Request{})
	return e, err
}

// getAt is Get, and returns the revision at which the entry was read, or found
// to be absent.
func (c *Client) getAt(ctx context.Context, key string) (Entry, uint64, error) {
	e, rep, err := c.getReply(ctx, key, link.Request{})
	if p, ok := errors.AsType[*ProblemError](err); ok {
		return Entry{}, p.Revision, err
	}
	if err != nil {
		return Entry{}, 0, err
	}
	at, err := revisionOf(rep)
	return e, at, err
}

// get reads one entry; same says that it is the one that r knows.
func (c *Client) get(ctx context.Context, key string, r link.Request) (_ Entry, same bool, err error) {
	e, rep, err := c.getReply(ctx, key, r)
	return e, err == nil && rep.Status == http.StatusNotModified, err
}

func (c *Client) getReply(ctx context.Context, key string, r link.Request) (Entry, link.Reply, error) {
	r.Method, r.Path, r.Small = http.MethodGet, "config/"+link.Escape(key), true
	rep, err := c.do(ctx, r)
	if err != nil || rep.Status == http.StatusNotModified {
		return Entry{}, rep, err
	}
	// The value comes as it is, and all else of the entry in the header: large values within
	// JSON cost several times as much on both sides.
	out, err := bare(key, rep)
	if err != nil {
		return Entry{}, rep, fmt.Errorf("prytany: the entry %q makes no sense: %w", key, err)
	}
	return out, rep, nil
}

// bare is an entry that came as its value.
func bare(key string, rep link.Reply) (Entry, error) {
	out := Entry{Key: key, Value: rep.Body, ContentType: rep.Header.Get("Content-Type"), Session: rep.Header.Get(api.HeaderSession)}
	var noETag, noCreated, noVersion error
	out.Revision, _, noETag = api.ParseETag(rep.Header.Get("ETag"))
	out.Created, noCreated = api.ParseNumber(rep.Header.Get(api.HeaderCreated))
	out.Version, noVersion = api.ParseNumber(rep.Header.Get(api.HeaderVersion))
	return out, errors.Join(noETag, noCreated, noVersion)
}

func entry(e api.Entry) (Entry, error) {
	out := Entry{
		Key: e.Key, ContentType: e.ContentType, Revision: e.Revision, Created: e.CreatedRevision,
		Version: e.Version, Session: e.Session,
	}
	var err error
	if out.Value, err = e.Bytes(); err != nil {
		return Entry{}, fmt.Errorf("prytany: %w", err)
	}
	return out, nil
}

// Put sets the value of key and returns the entry's new revision. Errors:
// [ErrConflict] and [ErrStaleFence] if a condition failed,
// [ErrSessionExpired], [ErrUnavailable], [ErrUnknownOutcome].
func (c *Client) Put(ctx context.Context, key string, value []byte, conds ...Condition) (revision uint64, err error) {
	h := headerOf(conds)
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", api.TypeBytes)
	}
	rep, err := c.do(ctx, link.Request{Method: http.MethodPut, Path: "config/" + link.Escape(key), Header: h, Body: value, Change: true, Small: true})
	if err != nil {
		return 0, err
	}
	return revisionOf(rep)
}

// Delete removes the entry of key; that there is none is no error unless a
// condition says so. Errors as [Client.Put].
func (c *Client) Delete(ctx context.Context, key string, conds ...Condition) error {
	_, err := c.do(ctx, link.Request{Method: http.MethodDelete, Path: "config/" + link.Escape(key), Header: headerOf(conds), Change: true, Small: true})
	return err
}

func revisionOf(rep link.Reply) (uint64, error) {
	n, err := strconv.ParseUint(rep.Header.Get(api.HeaderRevision), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("prytany: the server's answer has no revision: %w", err)
	}
	return n, nil
}

// maxRestarts is how often List begins again.
const maxRestarts = 5

// List returns the entries whose keys begin with prefix, in key order, as they
// were at one revision. If another node has to answer halfway, or the entries
// change too fast, it begins again, a few times. Errors: [ErrUnavailable].
func (c *Client) List(ctx context.Context, prefix string) ([]Entry, error) {
	all, err := c.Browse(ctx, prefix, ListOptions{})
	return all.Entries, err
}

// ListOptions refine [Client.Browse].
type ListOptions struct {
	// Delimiter, unless empty, leaves out the entries whose keys hold it after
	// the prefix: Listing.Prefixes has the beginnings of those.
	Delimiter string
	// KeysOnly leaves the values out.
	KeysOnly bool
}

// A Listing is what there was at one revision.
type Listing struct {
	Entries  []Entry
	Prefixes []string // with a delimiter: keys up to and with the first one after the prefix, each once
	Revision uint64   // [Client.Watch] goes on From the next one
}

// Browse is [Client.List] as o says.
func (c *Client) Browse(ctx context.Context, prefix string, o ListOptions) (Listing, error) {
	for attempt := 0; ; attempt++ {
		all, err := c.list(ctx, prefix, o)
		var p *ProblemError
		if errors.As(err, &p) && p.Field == "cursor" && attempt < maxRestarts && link.Pause(ctx, attempt) {
			continue // another node answers now, or the entries changed too fast
		}
		return all, err
	}
}

// list reads page by page.
func (c *Client) list(ctx context.Context, prefix string, o ListOptions) (all Listing, err error) {
	q := url.Values{"prefix": {prefix}}
	if o.Delimiter != "" {
		q.Set("delimiter", o.Delimiter)
	}
	if o.KeysOnly {
		q.Set("keys_only", "true")
	}
	for {
		rep, err := c.do(ctx, link.Request{Method: http.MethodGet, Path: "config", Query: q})
		if err != nil {
			return Listing{}, err
		}
		var page api.Entries
		if err := json.Unmarshal(rep.Body, &page); err != nil {
			return Listing{}, fmt.Errorf("prytany: the list of %q makes no sense: %w", prefix, err)
		}
		for _, e := range page.Entries {
			out, err := entry(e)
			if err != nil {
				return Listing{}, err
			}
			all.Entries = append(all.Entries, out)
		}
		all.Prefixes = append(all.Prefixes, page.Prefixes...)
		all.Revision = page.Revision
		if more, err := link.Next(q, page.Next); !more {
			return all, err
		}
	}
}
