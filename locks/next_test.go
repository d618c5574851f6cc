package locks

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

const tickEvery = 50 * time.Millisecond

// A driven machine leads, and Lead is called at every tick or when Next says so.
type driven struct {
	*world
	id    int
	lazy  bool
	awake bool
	calls int
	ends  []string        // commands that end what has run out, and when
	old   []time.Duration // when something was forgotten
}

func (d *driven) tick(now time.Duration) {
	d.now = now
	if d.lazy && !d.awake {
		if at, ok := d.m.Next(now); !ok || at > now {
			return
		}
	}
	d.awake = false
	d.calls++
	for _, c := range d.lead(b(1)) {
		d.awake = true // applied, so it is asked again
		switch c.(type) {
		case *ForgetCommand, *CompactCommand:
			d.old = append(d.old, now)
		default:
			d.ends = append(d.ends, fmt.Sprintf("%v %T %+v", now, c, c))
		}
	}
}

// TestNextMissesNothing: a machine whose Lead is called when Next says so ends the
// same things at the same ticks as one that is asked at every tick, and forgets what
// is old at most two seconds later.
func TestNextMissesNothing(t *testing.T) {
	for seed := range uint64(8) {
		eager, lazy := &driven{world: newWorld(t)}, &driven{world: newWorld(t), lazy: true, awake: true}
		rnd := rand.New(rand.NewPCG(seed, 1))
		both := func(f func(d *driven)) {
			for _, d := range []*driven{eager, lazy} {
				f(d)
				d.awake = true
			}
		}
		now := time.Duration(0)
		for range 30 {
			for range rnd.IntN(4) {
				op, n := rnd.IntN(6), rnd.IntN(4)
				both(func(d *driven) { d.act(op, n) })
			}
			for end := now + time.Duration(rnd.IntN(20_000))*time.Millisecond; now < end; now += tickEvery {
				eager.tick(now)
				lazy.tick(now)
			}
		}
		calls := lazy.calls
		for end := now + 2*time.Hour; now < end; now += tickEvery {
			eager.tick(now)
			lazy.tick(now)
		}
		if got, want := fmt.Sprint(lazy.ends), fmt.Sprint(eager.ends); got != want || len(eager.ends) == 0 {
			t.Fatalf("seed %d: ended\n%v\nwant\n%v", seed, got, want)
		}
		if len(lazy.old) == 0 || len(lazy.old) > 2*len(eager.old) {
			t.Errorf("seed %d: forgot %d times; want about as often as the other, %d times", seed, len(lazy.old), len(eager.old))
		}
		if last := len(lazy.old) - 1; lazy.old[last] > eager.old[len(eager.old)-1]+2*time.Second {
			t.Errorf("seed %d: forgot the last at %v; want %v", seed, lazy.old[last], eager.old[len(eager.old)-1])
		}
		if calls = lazy.calls - calls; calls > 300 {
			t.Errorf("seed %d: %d calls in two idle hours; want few", seed, calls)
		}
		if at, ok := lazy.m.Next(now); ok {
			t.Errorf("seed %d: Next = %v after two idle hours; want nothing to wait for", seed, at)
		}
	}
}

// act does one of several things that set, move and end deadlines.
func (d *driven) act(op, n int) {
	id, lock := fmt.Sprint("s", n), fmt.Sprint("l", n%2)
	d.id++
	r := Request{ID: fmt.Sprint("r", d.id), Hash: 1, Own: n%2 == 0, Since: d.m.revision}
	switch op {
	case 0:
		d.do(&OpenCommand{Request: r, ID: id, TTL: 10 * time.Second, LockDelay: 3 * time.Second})
	case 1, 2:
		d.do(&AcquireCommand{Request: r, Lock: lock, Session: id, Wait: true})
	case 3:
		d.do(&YieldCommand{Request: r, Lock: lock, Within: 4 * time.Second})
	case 4:
		d.ask(Question{Extend: true, Sessions: []string{id}})
	case 5:
		d.do(&EndCommand{Request: r, ID: id})
	}
}
