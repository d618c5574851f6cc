//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prytany/prytany/jepsen/history"
)

// standstill is for how long a small write of the runner must hang, or the runner itself
// get no processor, for the machine to count as standing still.
const standstill = time.Second

// watchMachine writes a little to the disk that the nodes use, again and again, and takes
// it down as a fault when that hangs: whatever nodes then fail to do in time is not their
// fault. It returns when ctx ends.
func (t *theatre) watchMachine(ctx context.Context) error {
	const between = 100 * time.Millisecond
	f, err := os.Create(filepath.Join(t.world.Dir(), "pulse"))
	if err != nil {
		return fmt.Errorf("whether the machine stands still cannot be seen: %w", err)
	}
	last := t.book.now()
	for ctx.Err() == nil {
		_, err := f.WriteAt([]byte("."), 0)
		if err = errors.Join(err, f.Sync()); err != nil {
			return errors.Join(fmt.Errorf("whether the machine stands still cannot be seen: %w", err), f.Close())
		}
		if now := t.book.now(); now-last > standstill {
			t.Say("the machine stood still for %v", (now - last).Round(between))
			t.book.write(history.Event{Kind: history.Fault, At: last, Fault: history.MachinePause, Phase: "begin"})
			t.book.write(history.Event{Kind: history.Fault, At: now, Fault: history.MachinePause, Phase: "end"})
		}
		last = t.book.now()
		sleep(ctx, between)
	}
	return f.Close()
}
