package crashstates

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/crashfs"
	"github.com/prytany/prytany/internal/storage"
)

// A bug is something that a store could do wrong. That it does not wait for the disk is
// the same as that its syncs are taken out of what it has done.
type bug struct {
	name  string
	kinds []string // of logs that can have it
	skip  func() func(*crashfs.Disk, []crashfs.Op) bool
	badly bool
}

// of returns a bug's skip that depends on nothing before.
func of(skip func(d *crashfs.Disk, ops []crashfs.Op) bool) func() func(*crashfs.Disk, []crashfs.Op) bool {
	return func() func(*crashfs.Disk, []crashfs.Op) bool { return skip }
}

// syncs reports whether op is the sync of a file whose path matches.
func syncs(d *crashfs.Disk, op crashfs.Op, pattern string) bool {
	ok, _ := filepath.Match(pattern, d.Name(op.Ino)) // the patterns are good
	return ok && op.Kind == crashfs.Sync
}

// beforeMeta reports whether the next write to the file that is synced is one of a meta
// page of bbolt: the sync is what has it come after the data.
func beforeMeta(ops []crashfs.Op) bool {
	i := slices.IndexFunc(ops[1:], func(op crashfs.Op) bool { return op.Kind == crashfs.Write && op.Ino == ops[0].Ino })
	return i >= 0 && ops[1+i].Off < 2*crashfs.PageSize
}

func nth(n int) func() func(*crashfs.Disk, []crashfs.Op) bool {
	return func() func(*crashfs.Disk, []crashfs.Op) bool {
		count := 0
		return func(_ *crashfs.Disk, ops []crashfs.Op) bool {
			if ops[0].Kind != crashfs.Sync {
				return false
			}
			count++
			return count%n == 0
		}
	}
}

var bugs = []bug{
	{name: "no sync of a file", kinds: kinds, skip: nth(1)},
	{name: "every third sync of a file is left out", kinds: kinds, skip: nth(3)},
	{name: "every twentieth sync of a file is left out", kinds: kinds, skip: nth(20)},
	{name: "directories are not synced", kinds: kinds, skip: of(func(_ *crashfs.Disk, ops []crashfs.Op) bool { return ops[0].Kind == crashfs.SyncDir })},
	{name: "the directory of the data directory is not synced", kinds: kinds, skip: of(func(d *crashfs.Disk, ops []crashfs.Op) bool {
		return ops[0].Kind == crashfs.SyncDir && d.Name(ops[0].Ino) == "."
	})},
	{name: "the directory of the snapshots is not synced", kinds: kinds, skip: of(func(d *crashfs.Disk, ops []crashfs.Op) bool {
		return ops[0].Kind == crashfs.SyncDir && d.Name(ops[0].Ino) == "data/snapshots"
	})},
	{name: "the head of a snapshot comes before its bytes", kinds: kinds, skip: of(func(d *crashfs.Disk, ops []crashfs.Op) bool {
		return syncs(d, ops[0], "data/snapshots/*")
	})},
	{name: "the log is cut before the snapshot is there", kinds: kinds, badly: true, skip: of(func(*crashfs.Disk, []crashfs.Op) bool { return false })},
	{name: "the log's meta page comes before its data", kinds: []string{storage.LogBolt}, skip: of(func(d *crashfs.Disk, ops []crashfs.Op) bool {
		return syncs(d, ops[0], "data/log.db") && beforeMeta(ops)
	})},
	{name: "a meta page of node.db comes before its data", kinds: kinds, skip: of(func(d *crashfs.Disk, ops []crashfs.Op) bool {
		return syncs(d, ops[0], "data/node.db") && beforeMeta(ops)
	})},
	{name: "the log's meta page is not synced", kinds: []string{storage.LogBolt}, skip: of(func(d *crashfs.Disk, ops []crashfs.Op) bool {
		return syncs(d, ops[0], "data/log.db") && !beforeMeta(ops)
	})},
	{name: "frames are not synced", kinds: []string{storage.LogAppend}, skip: of(func(d *crashfs.Disk, ops []crashfs.Op) bool {
		return syncs(d, ops[0], "data/log.wal/*.seg")
	})},
	{name: "a segment is used before it is there", kinds: []string{storage.LogAppend}, skip: of(func(d *crashfs.Disk, ops []crashfs.Op) bool {
		return syncs(d, ops[0], "data/log.wal/*.seg.new")
	})},
	{name: "a segment's name is not synced", kinds: []string{storage.LogAppend}, skip: of(func(d *crashfs.Disk, ops []crashfs.Op) bool {
		return ops[0].Kind == crashfs.SyncDir && d.Name(ops[0].Ino) == "data/log.wal"
	})},
}

// TestBugsAreFound: a store that waits for the disk too little, or in the wrong order, is
// found out by the states that crashes may leave.
func TestBugsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	needFUSE(t)
	for _, kind := range kinds {
		good := map[uint64][]crashfs.Op{} // histories without a bug in the script
		for _, b := range bugs {
			if !slices.Contains(b.kinds, kind) {
				continue
			}
			t.Run(kind+"/"+strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) {
				const tries = 5
				tried := 0
				for seed := uint64(1); seed <= tries; seed++ {
					is := task{Kind: kind, Seed: seed, Steps: 40, Badly: b.badly}
					ops := good[seed]
					if ops == nil || b.badly {
						ops = record(t, is, crashfs.NewImage())
					}
					if !b.badly {
						good[seed] = ops
					}
					w := newWalk(t, is)
					w.skip, w.most = b.skip(), 60
					err := w.run(ops)
					tried += w.tried
					var found *bad
					if errors.As(err, &found) {
						t.Logf("found by the %d. state: %s: %.200v", tried, found.where, found.why)
						return
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				t.Errorf("not found by %d states", tried)
			})
		}
	}
}
