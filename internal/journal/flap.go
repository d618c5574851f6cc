package journal

import (
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// A link that comes and goes all the time would push out everything else, and
// so would a lease, or a node's contentment, that follows it. Changes to and fro
// of one thing, each less than calm after the one before, are a burst. Of a burst
// the first flapFirst and the newest flapLast are kept, and each later one says how
// many there were. All of them are told to those who listen, and the newest is
// always kept: it is the last word. After flapLong another burst begins, so that
// one which never ends leaves traces of all its time.
const (
	calm      = time.Minute
	flapLong  = 10 * time.Minute
	flapFirst = 4
	flapLast  = 4
)

// flapping names the kinds that change to and fro, by what it is that changes.
var flapping = map[string]string{
	KindLinkUp: "link", KindLinkDown: "link",
	KindContent: "content", KindDiscontent: "content",
	KindLeased: "lease", KindUnleased: "lease",
	KindFit: "fit", KindUnfit: "fit",
}

// A flapKey is what changes to and fro.
type flapKey struct{ what, group, peer string }

// A flap is the present burst of one thing.
type flap struct {
	began, last time.Time
	count       int
	newest      []uint64 // ids of the newest ones after the first flapFirst
}

// thin drops an earlier event of the burst that e, which gets the next id, belongs
// to. It returns what to say of the burst.
func (j *Journal) thin(e api.NodeEvent, now time.Time) string {
	what := flapping[e.Kind]
	if what == "" {
		return ""
	}
	key := flapKey{what, e.Group, e.Peer}
	f := j.flaps[key]
	if f == nil || now.Sub(f.last) >= calm || now.Sub(f.began) >= flapLong {
		if f == nil && len(j.flaps) >= maxRepeats {
			clear(j.flaps)
		}
		f = &flap{began: now}
		j.flaps[key] = f
	}
	f.last = now
	f.count++
	if f.count <= flapFirst {
		return ""
	}
	f.newest = append(f.newest, j.next)
	if len(f.newest) <= flapLast {
		return ""
	}
	if i := j.index(f.newest[0]); i < len(j.kept) && j.kept[i].ID == f.newest[0] {
		j.kept = slices.Delete(j.kept, i, i+1)
	}
	f.newest = slices.Delete(f.newest, 0, 1)
	return fmt.Sprintf(" (%d changes in %v; not all are kept)", f.count, max(now.Sub(f.began).Round(time.Second), time.Second))
}
