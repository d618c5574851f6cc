// Package span is the context of one request: what [context.WithTimeout] would be,
// for less. Whoever is called with it may narrow it while it works, instead of making
// another with a clock of its own; see [Context.Narrow].
package span

import (
	"context"
	"sync"
	"time"
)

// A Context ends with its parent, at its deadline, or by End. The zero value is to be
// begun. It must not be copied.
type Context struct {
	parent context.Context
	values context.Context // whose values it has; parent's, once that has ended it
	spare  error
	unhook func() bool

	mu       sync.Mutex // guards all below
	deadline time.Time
	timer    *time.Timer
	done     chan struct{} // nil until it is asked for
	err      error
	hooks    []*hook
	room     [2]*hook
}

type hook struct{ f func() }

// Begin begins c, which ends after d at the latest. If spare is given, an end of parent
// with that cause is not one of c, nor is its deadline. Call End in any case.
func (c *Context) Begin(parent context.Context, d time.Duration, spare error) {
	c.parent, c.values, c.spare = parent, parent, spare
	c.deadline = time.Now().Add(d)
	if spare != nil {
		c.values = context.WithoutCancel(parent)
	} else if at, ok := parent.Deadline(); ok && at.Before(c.deadline) {
		c.deadline = at
	}
	c.mu.Lock()
	c.timer = time.AfterFunc(time.Until(c.deadline), c.late)
	c.mu.Unlock()
	if parent.Err() != nil {
		c.orphaned() // at once, not soon
	}
	c.unhook = context.AfterFunc(parent, c.orphaned)
}

// End ends c. What it holds is free then.
func (c *Context) End() {
	c.unhook()
	c.finish(context.Canceled, nil)
}

// orphaned ends c because its parent has ended.
func (c *Context) orphaned() {
	if c.spare == nil || context.Cause(c.parent) != c.spare {
		c.finish(c.parent.Err(), c.parent)
	}
}

// late ends c if its deadline has come: that may have been moved since.
func (c *Context) late() {
	c.mu.Lock()
	left := time.Until(c.deadline)
	if left > 0 && c.err == nil {
		c.timer.Reset(left)
	}
	c.mu.Unlock()
	if left <= 0 {
		c.finish(context.DeadlineExceeded, nil)
	}
}

// finish ends c, whose values are those of values from now on, if there is one.
func (c *Context) finish(err error, values context.Context) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	if values != nil {
		c.values = values
	}
	c.timer.Stop()
	if c.done != nil {
		close(c.done)
	}
	hooks := c.hooks
	c.hooks = nil
	c.mu.Unlock()
	for _, h := range hooks {
		go h.f()
	}
}

// Narrow makes at the deadline, if that is earlier, and returns what it was. Only
// one may do so at a time, who gives it back by Widen.
func (c *Context) Narrow(at time.Time) (was time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was = c.deadline
	if at.Before(was) && c.err == nil {
		c.deadline = at
		c.timer.Reset(time.Until(at))
	}
	return was
}

// Widen makes the deadline again what it was before Narrow. The timer, which comes too
// early then, finds that out by itself.
func (c *Context) Widen(was time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = was
}

// Deadline is that of [context.Context].
func (c *Context) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deadline, true
}

// Done is that of [context.Context].
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err is that of [context.Context].
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value is that of [context.Context].
func (c *Context) Value(key any) any {
	c.mu.Lock()
	values := c.values
	c.mu.Unlock()
	return values.Value(key)
}

// AfterFunc is [context.AfterFunc] for this one, which that and children look for: else
// they would have a goroutine wait.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	h := &hook{f}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.hooks == nil {
		c.hooks = c.room[:0]
	}
	c.hooks = append(c.hooks, h)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, other := range c.hooks {
			if other == h {
				c.hooks = append(c.hooks[:i], c.hooks[i+1:]...)
				return true
			}
		}
		return false
	}
}
