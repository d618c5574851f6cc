//go:build linux

package clockfile

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

const second = time.Second

func TestClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	want := func(machine, reads time.Duration) {
		t.Helper()
		if got := reader.Now(machine); got != reads {
			t.Errorf("at %v the clock reads %v; want %v", machine, got, reads)
		}
	}
	want(7*second, 7*second)
	f.Run(10*second, 2*One) // twice as fast
	want(10*second, 10*second)
	want(13*second, 16*second)
	f.Jump(13*second, 5*second)
	want(13*second, 21*second)
	want(14*second, 23*second)
	f.Run(14*second, 0) // it stands still
	want(20*second, 23*second)
	f.Run(20*second, One+9_000)
	want(21*second, 24*second+9*time.Millisecond)
	// A year later nothing has overflowed.
	const year = 365 * 24 * time.Hour
	want(20*second+year, 23*second+year+year/1000*9)
	f.Run(30*second, -5)
	f.Jump(30*second, -second)
	if a, b := reader.Now(30*second), reader.Now(31*second); a != b || a < 30*second {
		t.Errorf("a clock goes back: %v, then %v", a, b)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
}

// Whoever reads while another writes sees one setting or the other, and so a clock
// that goes back at most by what passes while it is set: from the moment that is
// written on, its rate is another.
func TestReadersSeeWholeSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	stop := make(chan struct{})
	var longest time.Duration // that setting it has taken
	all.Go(func() {
		defer close(stop)
		for i := range int64(20_000) {
			machine, err := Machine()
			if err != nil {
				t.Error(err)
				return
			}
			f.Run(machine, i%3*One/2)
			after, err := Machine()
			if err != nil {
				t.Error(err)
				return
			}
			longest = max(longest, after-machine)
		}
	})
	back := make([]time.Duration, 2)
	for i := range back {
		all.Go(func() {
			last := time.Duration(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				machine, err := Machine()
				if err != nil {
					t.Error(err)
					return
				}
				now := reader.Now(machine)
				back[i] = max(back[i], last-now)
				last = now
			}
		})
	}
	all.Wait()
	if b := slices.Max(back); b > longest {
		t.Errorf("the clock goes back by %v; it was set within %v", b, longest)
	}
}

func TestOpenRefusesWhatIsNoClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	if _, err := Open(path); err == nil {
		t.Error("a file that does not exist is opened")
	}
	if err := os.WriteFile(path, []byte("12:00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil {
		t.Error("a file of five bytes is opened")
	}
}
