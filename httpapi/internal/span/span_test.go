package span

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errSpare = errors.New("spare")

// state is all that can be asked of a context.
type state struct {
	err, cause, child error
	value             any
	called, ended     bool
}

type key struct{}

// look asks c, and a child of it, once everything has come to rest.
func look(c context.Context, child context.Context, called *bool) state {
	synctest.Wait()
	s := state{c.Err(), context.Cause(c), context.Cause(child), c.Value(key{}), *called, false}
	select {
	case <-c.Done():
		s.ended = true
	default:
	}
	return s
}

// A span is to whoever asks what a context of package context is, whatever ends it.
func TestIsAsOthers(t *testing.T) {
	other := errors.New("other")
	for name, tc := range map[string]struct {
		spare  error
		before bool // the parent ends before it begins
		do     func(end context.CancelCauseFunc)
	}{
		"nothing":           {do: func(context.CancelCauseFunc) {}},
		"deadline":          {do: func(context.CancelCauseFunc) { time.Sleep(time.Minute) }},
		"deadline, lasting": {spare: errSpare, do: func(context.CancelCauseFunc) { time.Sleep(time.Minute) }},
		"parent":            {do: func(end context.CancelCauseFunc) { end(other) }},
		"parent, lasting":   {spare: errSpare, do: func(end context.CancelCauseFunc) { end(other) }},
		"parent before":     {before: true, do: func(end context.CancelCauseFunc) { end(other) }},
		"spare":             {spare: errSpare, do: func(end context.CancelCauseFunc) { end(errSpare) }},
		"spare before":      {spare: errSpare, before: true, do: func(end context.CancelCauseFunc) { end(errSpare) }},
		"spare, then late":  {spare: errSpare, do: func(end context.CancelCauseFunc) { end(errSpare); time.Sleep(time.Minute) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run := func(begin func(context.Context) (context.Context, func())) (live, over state) {
					parent, end := context.WithCancelCause(context.WithValue(t.Context(), key{}, 1))
					defer end(nil)
					if tc.before {
						tc.do(end)
					}
					c, stop := begin(parent)
					child, cancel := context.WithCancel(c)
					defer cancel()
					called := false
					context.AfterFunc(c, func() { called = true })
					unheard := context.AfterFunc(c, func() { t.Error("was called after it was stopped") })
					if tc.before {
						unheard()
						synctest.Wait()
					} else if !unheard() || unheard() {
						t.Error("stop says something else than whether it has stopped it")
					}
					if !tc.before {
						tc.do(end)
					}
					live = look(c, child, &called)
					stop()
					stop()
					return live, look(c, child, &called)
				}
				if tc.before && tc.spare == nil {
					var c Context
					parent, end := context.WithCancelCause(t.Context())
					end(other)
					c.Begin(parent, time.Minute, nil)
					if c.Err() == nil || context.Cause(&c) != other {
						t.Errorf("began alive: %v", context.Cause(&c))
					}
					c.End()
					return
				}
				live, over := run(func(parent context.Context) (context.Context, func()) {
					c := new(Context)
					c.Begin(parent, time.Minute, tc.spare)
					return c, c.End
				})
				wantLive, wantOver := run(func(parent context.Context) (context.Context, func()) {
					if tc.spare == nil {
						return context.WithTimeout(parent, time.Minute)
					}
					kept, cancel := context.WithCancelCause(context.WithoutCancel(parent))
					unhook := context.AfterFunc(parent, func() {
						if cause := context.Cause(parent); cause != tc.spare {
							cancel(cause)
						}
					})
					c, stop := context.WithTimeout(kept, time.Minute)
					return c, func() { stop(); unhook(); cancel(nil) }
				})
				if live != wantLive || over != wantOver {
					t.Errorf("%+v, then %+v; package context has %+v, then %+v", live, over, wantLive, wantOver)
				}
			})
		})
	}
}

// A narrowed span ends earlier, and one that was widened in time when it would have.
func TestNarrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Context
		began := time.Now()
		c.Begin(t.Context(), 15*time.Second, nil)
		defer c.End()
		for _, d := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
			was := c.Narrow(time.Now().Add(d))
			inner := c.Narrow(time.Now().Add(d / 2))
			c.Widen(inner)
			if at, _ := c.Deadline(); !at.Equal(began.Add(min(d, 15*time.Second))) {
				t.Errorf("narrowed to %v it ends after %v", d, at.Sub(began))
			}
			c.Widen(was)
		}
		time.Sleep(14 * time.Second)
		if c.Err() != nil {
			t.Error("it ended with what it was narrowed to before it was widened again")
		}
		<-c.Done()
		if took := time.Since(began); took != 15*time.Second || c.Err() != context.DeadlineExceeded {
			t.Errorf("%v after %v", c.Err(), took)
		}
		c.Widen(c.Narrow(time.Now().Add(-time.Second)))

		var d Context
		d.Begin(t.Context(), 15*time.Second, nil)
		defer d.End()
		d.Narrow(time.Now().Add(2 * time.Second))
		began = time.Now()
		<-d.Done()
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it ended after %v, was narrowed to 2 s", took)
		}
	})
}

// A deadline of the parent is its own, unless it is to outlast it.
func TestDeadlineOfParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var c, lasting Context
		c.Begin(parent, time.Minute, nil)
		lasting.Begin(parent, time.Minute, errSpare)
		defer c.End()
		defer lasting.End()
		at, _ := c.Deadline()
		far, _ := lasting.Deadline()
		if time.Until(at) != time.Second || time.Until(far) != time.Minute {
			t.Errorf("%v and %v", time.Until(at), time.Until(far))
		}
	})
}
