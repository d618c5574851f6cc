// Package alarm keeps who is to be woken, and when.
package alarm

import (
	"container/heap"
	"time"
)

// A Clock wakes those whose alarms are set. The zero Clock has none.
type Clock[T any] struct{ set alarms[T] }

// An Alarm is that of one sleeper; it belongs to one Clock. Those that are due at the
// same time are woken in the order of ID.
type Alarm[T any] struct {
	ID    uint64
	Wakes T

	at    time.Duration // 0: not set
	place int           // in Clock.set
}

// Set has a's sleeper woken at at instead of whenever it was; 0 means not at all.
func (c *Clock[T]) Set(a *Alarm[T], at time.Duration) {
	set := a.at != 0
	switch {
	case set && at != 0:
		a.at = at
		heap.Fix(&c.set, a.place)
	case set:
		heap.Remove(&c.set, a.place)
		a.at = 0
	case at != 0:
		a.at = at
		heap.Push(&c.set, a)
	}
}

// Due returns the first whose time has come by now, and takes back its alarm; ok is
// false if there is none.
func (c *Clock[T]) Due(now time.Duration) (wakes T, ok bool) {
	if len(c.set) == 0 || c.set[0].at > now {
		return wakes, false
	}
	a := c.set[0]
	c.Set(a, 0)
	return a.Wakes, true
}

// alarms is a heap, by time and then by ID.
type alarms[T any] []*Alarm[T]

func (a alarms[T]) Len() int { return len(a) }
func (a alarms[T]) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].ID < a[j].ID
}
func (a alarms[T]) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

// Push implements heap.Interface.
func (a *alarms[T]) Push(x any) {
	*a = append(*a, x.(*Alarm[T]))
	(*a)[len(*a)-1].place = len(*a) - 1
}

// Pop implements heap.Interface.
func (a *alarms[T]) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return x
}
