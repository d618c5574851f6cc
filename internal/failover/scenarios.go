package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/fault"
)

// A scenario is one kind of fault.
type scenario struct {
	name     string
	what     string
	share    int  // runs for each 20 asked for; 0 means once
	ownDisks bool // each node's data on a file system of its own
	patient  bool // clients give a try 1 s, not 250 ms
	bar      bar
	act      func(ctx context.Context, t *trial) error // breaks, waits, mends; opens and closes windows
}

// scenarios lists all, in the order of the table.
func scenarios(load time.Duration) []scenario {
	const short, long = 3 * time.Second, 10 * time.Second
	none := &[2]int{0, 0}
	gone := bar{median: 550, worst: 800, changes: &[2]int{1, 1}}
	step := bar{worst: 50}
	return []scenario{
		{"calm", "nothing happens for 3 s", 20, false, false, bar{}, calm(short)},
		{"kill", "the leader is killed (SIGKILL)", 20, false, false, bar{median: 200, worst: 400, changes: &[2]int{1, 1}}, kill},
		{"stop", "the leader is stopped (SIGSTOP) for 3 s", 20, false, false, gone, stopped(short)},
		{"cable", "the leader's wire is cut, both ways, for 3 s", 20, false, false, gone, cable(short)},
		{"cloudflare", "the link between the leader and one follower is cut, both ways, for 10 s (tries last 1 s here, 250 ms elsewhere)", 10, false, true, bar{changes: none, noFailures: true}, oneLink(long, true, true)},
		{"one-way-out", "what the leader sends to one follower is lost for 3 s", 20, false, false, bar{}, oneLink(short, true, false)},
		{"one-way-in", "what one follower sends to the leader is lost for 3 s", 20, false, false, bar{}, oneLink(short, false, true)},
		{"loss", "30 % of all packets between nodes are lost for 30 s", 4, false, false, bar{}, loss(30*time.Second, 30)},
		{"fsync", "no write of the leader to its disk ends for 2 s", 20, true, false, bar{}, stall(2*time.Second, 0)},
		{"fsync-idle", "the same, and nobody writes for the first second of it", 20, true, false, bar{}, stall(2*time.Second, time.Second)},
		{"starve", "the leader gets 3 % of a core for 10 s", 10, false, false, bar{}, starve(long)},
		{"transfer", "planned hand-over to another node", 20, false, false, step, transfer},
		{"rolling", "SIGTERM and restart of each node, the leader last", 20, false, false, step, rolling(true)},
		{"rolling-first", "the same, the leader first", 20, false, false, step, rolling(false)},
		{"load", fmt.Sprintf("a busy loop at nice -5 on each core for %v", load), 0, false, false, bar{changes: none}, loaded(load)},
	}
}

func names() (all []string) {
	for _, s := range scenarios(0) {
		all = append(all, s.name)
	}
	return all
}

// calm shows what the machine does to the figures by itself.
func calm(d time.Duration) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		t.open(nil)
		defer t.close()
		sleep(ctx, d)
		return nil
	}
}

func kill(ctx context.Context, t *trial) error {
	t.open(t.leader)
	defer t.close()
	if err := t.leader.end(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	t.brought()
	sleep(ctx, after)
	return nil
}

func stopped(d time.Duration) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		t.open(t.leader)
		defer t.close()
		if err := t.leader.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		t.brought()
		sleep(ctx, d)
		if err := t.leader.signal(syscall.SIGCONT); err != nil {
			return err
		}
		sleep(ctx, after)
		return nil
	}
}

// broken loses what goes some ways for d. victim's clients do not count.
func broken(ctx context.Context, t *trial, d time.Duration, victim *node, breaks *charge) error {
	mends := t.c.board.heal(ctx)
	sleep(ctx, armed)
	t.open(victim)
	defer t.close()
	err := breaks.fire()
	t.brought()
	if err == nil {
		sleep(ctx, d)
	}
	if err := errors.Join(err, mends.fire()); err != nil {
		return err
	}
	sleep(ctx, after)
	return nil
}

func cable(d time.Duration) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		return broken(ctx, t, d, t.leader, t.c.board.cut(ctx, direction{from: t.leader.name}, direction{to: t.leader.name}))
	}
}

func oneLink(d time.Duration, out, in bool) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		follower := t.others[t.res.Run%len(t.others)]
		t.res.Note = "with " + follower.name
		var ways []direction
		if out {
			ways = append(ways, direction{t.leader.name, follower.name})
		}
		if in {
			ways = append(ways, direction{follower.name, t.leader.name})
		}
		return broken(ctx, t, d, nil, t.c.board.cut(ctx, ways...))
	}
}

func loss(d time.Duration, percent int) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		return broken(ctx, t, d, nil, t.c.board.lose(ctx, percent))
	}
}

// stall freezes the leader's file system for d. For the first part of it nobody
// writes, and the gap counts from then on.
func stall(d, quiet time.Duration) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) (err error) {
		if quiet > 0 {
			t.idle.Lock()
			sleep(ctx, 300*time.Millisecond)
		}
		begin := time.Now()
		if quiet == 0 {
			t.open(nil)
		}
		err = t.leader.fs.Freeze()
		if quiet > 0 {
			sleep(ctx, quiet)
			t.open(nil)
			t.idle.Unlock()
		} else {
			t.brought()
		}
		if err != nil {
			t.close()
			return err
		}
		sleep(ctx, d-time.Since(begin))
		// Also on Ctrl-C: nothing that waits for this disk could be ended.
		err = t.leader.fs.Thaw()
		sleep(ctx, after)
		t.close()
		return err
	}
}

func starve(d time.Duration) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		const quota, period = 3 * time.Millisecond, 100 * time.Millisecond
		limit, err := fault.MakeThrottle(t.c.o.inside, quota, period)
		if err != nil {
			return err
		}
		t.open(nil)
		defer t.close()
		err = limit.Take(t.leader.cmd.Process.Pid)
		t.brought()
		if err == nil {
			sleep(ctx, d)
		}
		if err := errors.Join(err, limit.Release(t.leader.cmd.Process.Pid)); err != nil {
			return err
		}
		sleep(ctx, after)
		return nil
	}
}

func transfer(ctx context.Context, t *trial) error {
	to := t.others[t.res.Run%len(t.others)]
	body, err := json.Marshal(api.HandOver{To: to.name})
	if err != nil {
		return err
	}
	if t.res.Run%4 == 0 {
		body = []byte("{}")
	}
	t.open(nil)
	defer t.close()
	status, reply, err := t.leader.do(ctx, http.MethodPost, "/v1/leader:transfer", string(body))
	t.brought()
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return errNotOffered
	case status != http.StatusOK:
		t.res.Note = fmt.Sprintf("answer %d", status)
	default:
		var done api.HandedOver
		if err := json.Unmarshal(reply, &done); err != nil {
			return err
		}
		t.res.TookMS = append(t.res.TookMS, done.TookMS)
		t.res.Note = done.From + " to " + done.To
	}
	sleep(ctx, after)
	return nil
}

func rolling(leaderLast bool) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		order := append([]*node{t.leader}, t.others...)
		if leaderLast {
			order = append(append([]*node{}, t.others...), t.leader)
		}
		for _, n := range order {
			if err := restart(ctx, t, n); err != nil {
				return err
			}
		}
		return nil
	}
}

func restart(ctx context.Context, t *trial, n *node) error {
	t.open(n)
	defer t.close()
	if err := n.end(ctx, syscall.SIGTERM); err != nil {
		return err
	}
	t.brought()
	if err := n.start(); err != nil {
		return err
	}
	if err := n.await(ctx); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	_, err := t.c.settle(ctx)
	return err
}

func loaded(d time.Duration) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		t.open(nil)
		defer t.close()
		end, err := startLoad(ctx)
		defer end()
		if err != nil {
			return err
		}
		t.brought()
		sleep(ctx, d)
		return nil
	}
}
