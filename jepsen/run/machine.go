//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prytany/prytany/jepsen/history"
)

// standstill is for how long a small write of the runner must hang, or the runner itself
// get no processor, for the machine to count as standing still.
const standstill = time.Second

// A pulse is for how long the machine has stood still.
type pulse struct {
	mu   sync.Mutex
	last time.Duration // when it was seen to move; 0 if never
	all  time.Duration // for how long it had stood still until then
}

// beat takes note that the machine moves. It returns when it did so before, and whether it
// has stood still since.
func (p *pulse) beat(now time.Duration) (last time.Duration, stood bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, p.last = p.last, now
	if stood = last > 0 && now-last > standstill; stood {
		p.all += now - last
	}
	return last, stood
}

// stop says that nobody looks any more: who does not look sees no standstill.
func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = 0
}

// stood is for how long the machine has stood still until now, in all.
func (p *pulse) stood(now time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last > 0 && now-p.last > standstill {
		return p.all + now - p.last
	}
	return p.all
}

// watchMachine writes a little to the disk that the nodes use, again and again, and takes
// it down as a fault when that hangs: whatever nodes then fail to do in time is not their
// fault. It returns when ctx ends.
func (t *theatre) watchMachine(ctx context.Context) error {
	const between = 100 * time.Millisecond
	f, err := os.Create(filepath.Join(t.world.Dir(), "pulse"))
	if err != nil {
		return fmt.Errorf("whether the machine stands still cannot be seen: %w", err)
	}
	t.pulse.beat(t.book.now())
	defer t.pulse.stop()
	for ctx.Err() == nil {
		_, err := f.WriteAt([]byte("."), 0)
		if err = errors.Join(err, f.Sync()); err != nil {
			return errors.Join(fmt.Errorf("whether the machine stands still cannot be seen: %w", err), f.Close())
		}
		now := t.book.now()
		if last, stood := t.pulse.beat(now); stood {
			t.Say("the machine stood still for %v", (now - last).Round(between))
			t.book.write(history.Event{Kind: history.Fault, At: last, Fault: history.MachinePause, Phase: "begin"})
			t.book.write(history.Event{Kind: history.Fault, At: now, Fault: history.MachinePause, Phase: "end"})
		}
		sleep(ctx, between)
	}
	return f.Close()
}
