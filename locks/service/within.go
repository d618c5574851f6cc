package service

import (
	"context"
	"time"
)

// A Narrower is a context whose deadline can be moved while somebody works with it,
// which is what [context.WithDeadline] does for more. The caller of the Service owns it,
// and looks at its deadline only when the Service has returned.
type Narrower interface {
	context.Context
	// Narrow makes at the deadline, if that is earlier, and returns what it was; Widen
	// makes it that again. Once the context has ended, both change nothing.
	Narrow(at time.Time) (was time.Time)
	Widen(was time.Time)
}

// A bound is what within has set.
type bound struct {
	narrowed Narrower // nil if there is a context of its own
	was      time.Time
	cancel   context.CancelFunc
}

// within returns a context that ends with ctx, or after d. Call end when done; until
// then a ctx that is a [Narrower] is what is returned.
func within(ctx context.Context, d time.Duration) (context.Context, bound) {
	if n, ok := ctx.(Narrower); ok {
		return n, bound{narrowed: n, was: n.Narrow(time.Now().Add(d))}
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	return ctx, bound{cancel: cancel}
}

func (b bound) end() {
	if b.narrowed != nil {
		b.narrowed.Widen(b.was)
		return
	}
	b.cancel()
}
