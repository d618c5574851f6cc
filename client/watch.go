package client

import (
	"context"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

// The types of events.
const (
	EventPut      = api.EventPut      // a config entry was written: Entry
	EventDelete   = api.EventDelete   // a config entry was deleted
	EventExpire   = api.EventExpire   // a config entry went with its session
	EventLock     = api.EventLock     // a lock was granted, or changed its mode
	EventUnlock   = api.EventUnlock   // a grant ended, of a lock or of leadership: Reason
	EventLeader   = api.EventLeader   // an election was won, or its leader proclaims: Value
	EventSession  = api.EventSession  // a session was opened, or ended: Reason
	EventYield    = api.EventYield    // a holder is asked to let go: Within, Reason
	EventBookmark = api.EventBookmark // everything up to Revision has been told
)

// WatchOptions refine [Client.Watch]. The zero WatchOptions tell of everything
// from now on.
type WatchOptions struct {
	// From is the first revision to tell about: one more than that of a
	// [Listing] to go on after it. 0 means from now on.
	From uint64
	// Events are the types to tell about. Empty means all.
	Events []string
	// Bookmarks asks for bookmarks too: first the revision from which on
	// everything is told, then at least one every ten seconds of silence.
	Bookmarks bool
}

// An Event is one thing that happened.
type Event struct {
	Type     string
	Revision uint64
	More     bool   // more events of the same revision follow
	Name     string // config key, lock, election or session
	Entry    Entry  // put
	Session  string
	Owner    string
	Fence    uint64 // of an election: the term
	Mode     string
	Value    string        // leader: what is published
	Within   time.Duration // yield
	Reason   string
}

func eventOf(e *api.Event) (Event, error) {
	out := Event{
		Type: e.Type, Revision: e.Revision, More: e.More, Name: e.Name, Session: e.Session, Owner: e.Owner, Fence: e.Fence,
		Mode: e.Mode, Value: e.Value, Within: milliseconds(e.WithinMS), Reason: e.Reason,
	}
	var err error
	if e.Entry != nil {
		out.Entry, err = entry(*e.Entry)
	}
	return out, err
}

// Watch returns what happens to config keys, locks, elections and sessions whose
// names begin with prefix, in order, each event once and none left out. Events of
// one revision come together, when all of them are there. It goes on by itself
// over lost connections and nodes that are dead or silent.
//
// The pair that ends it has the error: one that matches [ErrCompacted] if the
// events that come next are not kept any more, whose
// [ProblemError.OldestRevision] is where they begin, so that the state has to be
// read anew; the cause of ctx's end; or a refusal that will not go away.
func (c *Client) Watch(ctx context.Context, prefix string, o WatchOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		t := &link.Tail{Link: c.link, Path: "watch/" + link.Escape(prefix), From: o.From}
		if len(o.Events) > 0 {
			t.Query = url.Values{"events": {strings.Join(o.Events, ",")}}
		}
		var bad error
		err := t.Follow(ctx, func(events []api.Event) bool {
			for i := range events {
				e, err := eventOf(&events[i])
				if err != nil {
					bad = err
					return false
				}
				if (e.Type != EventBookmark || o.Bookmarks) && !yield(e, nil) {
					return false
				}
			}
			return true
		})
		if bad != nil {
			err = bad
		}
		if err != nil {
			yield(Event{}, translate(err))
		}
	}
}
