package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/prytany/prytany/client/internal/bell"
	"github.com/prytany/prytany/client/internal/link"
)

// ValueOptions refine [Value]. The zero ValueOptions are usable.
type ValueOptions[T any] struct {
	// Default is the value while there is no entry.
	Default T
}

// A Var is a value that follows a config entry. It is safe for concurrent use.
type Var[T any] struct {
	c      *Client
	key    string
	decode func(data []byte) (T, error)
	none   T // value without an entry

	now    atomic.Pointer[version[T]]
	ctx    context.Context // whose end is that of following
	cancel context.CancelFunc

	mu      sync.Mutex
	err     error
	changed bell.Bell
	watched map[*func(T)]bool
}

// A version is one value that a Var had.
type version[T any] struct {
	value    T
	revision uint64 // of the entry; 0: there is none
}

// JSON decodes JSON, for [Value].
func JSON[T any](data []byte) (T, error) {
	var v T
	err := json.Unmarshal(data, &v)
	return v, err
}

// Text takes a value as it is, for [Value].
func Text(data []byte) (string, error) { return string(data), nil }

// Value reads the entry of key and follows it until ctx ends or Close is called:
// over lost connections and nodes, and over gaps in what the server remembers.
// It returns when the entry is read and decoded, or there is none. Errors: those
// of decode, and of [Client.Get] without [ErrNotFound].
func Value[T any](ctx context.Context, c *Client, key string, decode func(data []byte) (T, error), o ValueOptions[T]) (*Var[T], error) {
	v := &Var[T]{c: c, key: key, decode: decode, none: o.Default, watched: map[*func(T)]bool{}}
	v.now.Store(&version[T]{value: o.Default})
	at, err := v.read(ctx)
	if err == nil {
		err = v.Err()
	}
	if err != nil {
		return nil, err
	}
	v.ctx, v.cancel = context.WithCancel(ctx)
	go v.follow(at)
	return v, nil
}

// Load returns the present value. It does no I/O and never waits. What the
// decoder returned is given to everybody: it is not to be changed.
func (v *Var[T]) Load() T { return v.now.Load().value }

// Revision returns the revision of the entry that Load decodes; 0 if there is no
// entry.
func (v *Var[T]) Revision() uint64 { return v.now.Load().revision }

// Err returns nil while Load returns what the entry says, as far as the server
// has told. Else it says why not: the entry's newest value could not be decoded,
// so that Load returns the last good one; or following it has ended.
func (v *Var[T]) Err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// Close ends following the entry. Load goes on to return the last value. Close
// does not wait for a function of OnChange that runs.
func (v *Var[T]) Close() { v.cancel() }

// OnChange has f called with each new value, after Load returns it, one call at a
// time; of values that follow each other while f runs it gets each. remove ends
// that.
func (v *Var[T]) OnChange(f func(T)) (remove func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := &f
	v.watched[id] = true
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.watched, id)
	}
}

// Changes returns the present value and then each new one, until ctx ends or the
// value is followed no more. Of values that follow each other faster than the
// loop runs it gets the newest.
func (v *Var[T]) Changes(ctx context.Context) iter.Seq[T] {
	return func(yield func(T) bool) {
		var last *version[T]
		for {
			v.mu.Lock()
			changed := v.changed.Wait()
			v.mu.Unlock()
			now := v.now.Load()
			if now != last && !yield(now.value) {
				return
			}
			last = now
			select {
			case <-changed:
			case <-v.ctx.Done():
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

// follow keeps the value up to date, from what was read at a revision.
func (v *Var[T]) follow(at uint64) {
	for attempt := 0; ; attempt++ {
		next, err := v.watch(at)
		if next > at {
			at, attempt = next, 0
		}
		if errors.Is(err, ErrCompacted) {
			if next, err = v.read(v.ctx); err == nil {
				at, attempt = next, 0
			}
		}
		switch {
		case v.ctx.Err() != nil:
			v.failed(fmt.Errorf("prytany: the value of %q is followed no more: %w", v.key, context.Cause(v.ctx)))
			return
		case err != nil:
			v.failed(err)
		}
		link.Backoff(v.ctx, attempt)
	}
}

// watch follows the entry from the revision after at, and returns the last that
// it knows.
func (v *Var[T]) watch(at uint64) (uint64, error) {
	o := WatchOptions{From: at + 1, Events: []string{EventPut, EventDelete, EventExpire}, Bookmarks: true}
	for e, err := range v.c.Watch(v.ctx, v.key, o) {
		switch {
		case err != nil:
			return at, err
		case e.Name != v.key: // a bookmark, or it only begins like ours
		case e.Type == EventPut:
			v.set(e.Entry.Value, e.Revision)
		default:
			v.changeTo(&version[T]{value: v.none})
		}
		at = max(at, e.Revision)
	}
	return at, nil
}

// read reads the entry, and returns the revision at which it did.
func (v *Var[T]) read(ctx context.Context) (at uint64, err error) {
	e, at, err := v.c.getAt(ctx, v.key)
	switch {
	case errors.Is(err, ErrNotFound):
		v.changeTo(&version[T]{value: v.none})
	case err != nil:
		return 0, err
	default:
		v.set(e.Value, e.Revision)
	}
	return at, nil
}

// set takes over a new value of the entry, if it can be decoded.
func (v *Var[T]) set(data []byte, revision uint64) {
	value, err := v.decode(data)
	if err != nil {
		v.failed(fmt.Errorf("prytany: the value of %q at revision %d: %w", v.key, revision, err))
		return
	}
	v.changeTo(&version[T]{value, revision})
}

// changeTo makes n the present value, and tells of it unless it is known.
func (v *Var[T]) changeTo(n *version[T]) {
	v.mu.Lock()
	v.err = nil
	var all []*func(T)
	if v.now.Load().revision != n.revision {
		v.now.Store(n)
		v.changed.Ring()
		for f := range v.watched {
			all = append(all, f)
		}
	}
	v.mu.Unlock()
	for _, f := range all {
		(*f)(n.value)
	}
}

func (v *Var[T]) failed(err error) {
	v.c.cfg.Log.Warn("a config value is not up to date", "key", v.key, "err", err)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}
