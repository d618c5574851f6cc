//go:build linux

package nemesis

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/crashfs"
	"github.com/prytany/prytany/jepsen/world"
)

// fuseFaults are those of disks that are file systems of package crashfs.
func fuseFaults() []Fault {
	fuse := []Need{FUSE}
	one := []Role{Leader, Follower}
	return []Fault{
		{"fuse-power", "fuse", "nodes lose power: of what was not synced any part is left, in any order, pages torn", fuse, []Role{Leader, Follower, Minority, All}, second, 3 * second, powerLoss},
		{"fuse-eio-write", "fuse", "a node's writes fail with EIO; the process has to end by itself and say so", fuse, one, second, 2 * second, failing(crashfs.Faults{Write: syscall.EIO})},
		{"fuse-eio-fsync", "fuse", "one fsync of a node fails with EIO and loses what it was for, the next ones succeed; the process has to end by itself", fuse, one, second, 2 * second, failing(crashfs.Faults{Sync: syscall.EIO})},
		{"fuse-slow-fsync", "fuse", "each fsync of a node takes from 20 to 400 ms longer", fuse, one, 2 * second, 6 * second, slowSync},
		{"fuse-full", "fuse", "a node's disk has no room, for new pages or for any write", fuse, one, 2 * second, 5 * second, noRoom},
		{"fuse-bit-flip", "fuse", "a bit of what a running node has not written for long turns: what it reads of it must not count, and started anew it is refused", fuse, one, 2 * second, 4 * second, rot},
	}
}

// leadTime is within what time a node that is asked to lead is waited for.
const leadTime = 3 * time.Second

// breakable returns the node to hit: the one that the role means, or another with a disk
// of package crashfs if that has none. To hit a leader such a node is made the leader, if
// that succeeds in time.
func breakable(ctx context.Context, s *strike) *world.Node {
	n := s.nodes[0]
	if n.FUSE() != nil {
		return n
	}
	others := slices.DeleteFunc(slices.Clone(s.world.Voters()), func(n *world.Node) bool { return n.FUSE() == nil })
	n = others[s.dice.IntN(len(others))]
	s.nodes, s.whom = []*world.Node{n}, []string{n.Name}
	if leader := s.world.Leader(ctx); s.Role == Leader && leader != nil && leader != n {
		body, err := json.Marshal(api.HandOver{To: n.Name})
		if err != nil {
			return n // a name cannot but be encoded
		}
		_, _, _ = leader.Ask(ctx, http.MethodPost, "/v1/leader:transfer", string(body)) // it may be refused
		for until := time.Now().Add(leadTime); time.Now().Before(until) && s.world.Leader(ctx) != n; {
			sleep(ctx, 50*time.Millisecond)
		}
	}
	return n
}

// failing has operations of a node's disk fail. It has to end within a time, by itself,
// with an error that says what has happened; and what it has on its disk has to do for a
// new start.
func failing(f crashfs.Faults) func(context.Context, *strike) (end, error) {
	return func(ctx context.Context, s *strike) (end, error) {
		n := breakable(ctx, s)
		fs, gone, mark := n.FUSE(), n.Gone(), n.LogMark()
		fs.Set(f)
		return func(ctx context.Context) error {
			select {
			case <-gone:
				ended(s, n, mark, syscall.EIO)
			case <-ctx.Done():
			case <-time.After(dead):
				if hits, last := fs.Hits(); hits > 0 {
					s.breach("%s goes on %v after %s: nothing is certain after a failed write", n.Name, dead, last)
				} else {
					s.note("%s has met no failure in %v", n.Name, dead)
				}
			}
			return repair(ctx, s)
		}, nil
	}
}

// ended sees that a node whose disk has failed ended as it should.
func ended(s *strike, n *world.Node, mark int64, why syscall.Errno) {
	_, last := n.FUSE().Hits()
	said, code := n.LogSince(mark), n.ExitCode()
	switch {
	case strings.Contains(said, "panic:") || strings.Contains(said, "fatal error:"):
		s.breach("%s panics after %s, instead of saying what has happened", n.Name, last)
	case code <= 0:
		s.breach("%s ended with exit code %d after %s", n.Name, code, last)
	case !strings.Contains(said, why.Error()):
		s.breach("%s ended after %s without saying %q", n.Name, last, why.Error())
	default:
		s.note("%s ended with exit code %d after %s", n.Name, code, last)
	}
}

func slowSync(ctx context.Context, s *strike) (end, error) {
	n := breakable(ctx, s)
	n.FUSE().Set(crashfs.Faults{Slow: func() time.Duration { return time.Duration(20+s.dice.IntN(380)) * time.Millisecond }})
	return func(ctx context.Context) error {
		hits, _ := n.FUSE().Hits()
		s.note("%d syncs of %s were slow", hits, n.Name)
		n.FUSE().Set(crashfs.Faults{})
		return start(s.nodes)(ctx)
	}, nil
}

// noRoom leaves no room on a node's disk. It may end, if it says so, and has to be good
// again when there is room.
func noRoom(ctx context.Context, s *strike) (end, error) {
	n := breakable(ctx, s)
	mark := n.LogMark()
	if s.dice.IntN(2) == 0 {
		n.FUSE().Fill()
	} else {
		n.FUSE().Set(crashfs.Faults{Write: syscall.ENOSPC})
	}
	return func(ctx context.Context) error {
		if !n.Running() {
			ended(s, n, mark, syscall.ENOSPC)
		}
		n.FUSE().Set(crashfs.Faults{})
		return start(s.nodes)(ctx)
	}, nil
}

// rot turns a bit under a node that runs, and at the end starts it anew. What it reads
// meanwhile must not count, which is for the checks of the run.
func rot(ctx context.Context, s *strike) (end, error) {
	n := breakable(ctx, s)
	if err := n.End(ctx, syscall.SIGTERM); err != nil {
		return nil, err
	}
	if err := s.archive(n); err != nil { // it may be lost for good
		return start(s.nodes), err
	}
	if err := n.Start(); err != nil {
		return nil, err
	}
	if err := n.Await(ctx); err != nil {
		return start(s.nodes), err
	}
	mark := n.LogMark()
	where, err := n.FUSE().Flip()
	if err != nil {
		return start(s.nodes), err
	}
	return func(ctx context.Context) error {
		if !n.Running() {
			s.note("%s ended by itself with a bit turned in %s: %s", n.Name, where, lastLine(n.LogSince(mark)))
		}
		if err := n.End(ctx, syscall.SIGTERM); err != nil {
			return err
		}
		last, err := trial(ctx, s, n, where)
		if err != nil || last == nil {
			return err
		}
		return last(ctx)
	}, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
