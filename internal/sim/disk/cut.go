package disk

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/paxos"
)

// pieces are sizes of what a disk writes at once, or not at all: a line of a cache, a
// sector, a page. Most writes are shorter than a sector.
var pieces = []int{64, 512, 4096}

// What a write of updates looks like on a disk is not of this package: storage has a
// format of its own, and tests of that. Here it is one record of package codec over
// records of all that changes, so that a write that power has cut off is judged by the
// code that judges records in production.

// frame returns updates as one record.
func frame(updates []paxos.Update) []byte {
	var b []byte
	for _, u := range updates {
		if u.Dirty {
			b = codec.AppendRecord(b, codec.AppendHeader(nil, u.Header))
		}
		for _, v := range u.Votes {
			b = codec.AppendVoteRecord(b, v)
		}
	}
	return codec.AppendRecord(nil, b)
}

// Cut writes updates and loses power meanwhile: the first pieces are there if torn is
// set, else any of them, and the others are zero. It reports whether all of it
// is there for whoever reads it later, and whether some of it was written and some not.
// It panics if what is there in part is taken for the whole.
func Cut(updates []paxos.Update, torn bool, r *rand.Rand) (whole, half bool) {
	b := frame(updates)
	there := make([]byte, len(b))
	size := pieces[r.IntN(len(pieces))]
	n := (len(b) + size - 1) / size
	first := r.IntN(n + 1)
	written := 0
	for i := range n {
		if torn && i < first || !torn && r.IntN(2) == 0 {
			written++
			copy(there[i*size:], b[i*size:min((i+1)*size, len(b))])
		}
	}
	_, err := codec.OpenRecord(there)
	if err == nil && !bytes.Equal(there, b) {
		panic(fmt.Errorf("disk: %d of %d pieces of a write are taken for the whole", written, n))
	}
	return err == nil, written > 0 && written < n
}

// Flip turns one bit of one record on the disk, which must have one, and reports what it
// was in and whether whoever reads it notices. The disk is not changed: nobody may use it
// any more.
func (d *Disk) Flip(r *rand.Rand) (what string, noticed bool) {
	groups := slices.DeleteFunc(slices.Sorted(maps.Keys(d.groups)), func(g paxos.GroupID) bool { return !d.groups[g].Saved })
	v := d.groups[groups[r.IntN(len(groups))]]
	what, content := "a header", codec.AppendHeader(nil, v.Header)
	switch n := len(v.votes); {
	case r.IntN(4) == 0 && v.Snapshot > 0:
		what, content = "a snapshot", v.snap.Data
	case r.IntN(2) == 0 && n > 0:
		what, content = "a vote", codec.AppendVote(nil, v.votes[r.IntN(n)])
	}
	b := codec.AppendRecord(nil, content)
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	_, err := codec.OpenRecord(b)
	return what, err != nil
}
