// Package turns lets goroutines have things one after the other, each thing by
// its name.
package turns

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrTaken says that somebody has the thing, and that it was not waited for any
// longer.
var ErrTaken = errors.New("somebody else has the turn")

// Turns knows who has what. The zero Turns is ready for use, and safe for
// concurrent use.
type Turns struct {
	mu  sync.Mutex
	all map[string]*turn // what somebody has or wants
}

// A turn is one thing.
type turn struct {
	free chan struct{} // holds one token while nobody has the turn
	refs int           // who has it or wants it; guarded by Turns.mu
}

// Enter waits for the turn at name: as long as ctx, in which case the error is
// the cause of its end, and no longer than wait unless that is 0; with a
// negative wait not at all. Whoever has had the turn calls leave, once.
func (t *Turns) Enter(ctx context.Context, name string, wait time.Duration) (leave func(), err error) {
	one := t.get(name)
	leave = func() {
		one.free <- struct{}{}
		t.drop(name, one)
	}
	select {
	case <-one.free:
		return leave, nil
	default:
	}
	var timeout <-chan time.Time
	switch {
	case wait < 0:
		t.drop(name, one)
		return nil, ErrTaken
	case wait > 0:
		timer := time.NewTimer(wait)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-one.free:
		return leave, nil
	case <-timeout:
		err = ErrTaken
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	t.drop(name, one)
	return nil, err
}

// Len returns how many things somebody has or wants.
func (t *Turns) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

func (t *Turns) get(name string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.all[name]
	if one == nil {
		if t.all == nil {
			t.all = map[string]*turn{}
		}
		one = &turn{free: make(chan struct{}, 1)}
		one.free <- struct{}{}
		t.all[name] = one
	}
	one.refs++
	return one
}

// drop forgets one when nobody has or wants it.
func (t *Turns) drop(name string, one *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.refs--; one.refs == 0 {
		delete(t.all, name)
	}
}
