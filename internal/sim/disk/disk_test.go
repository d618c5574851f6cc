package disk

import (
	"testing"

	"github.com/prytany/prytany/internal/storage/storagetest"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

func TestTrimmedVotesMayComeBack(t *testing.T) {
	for _, revive := range []bool{false, true} {
		var d Disk
		votes := []paxos.SlotVote{{Slot: 1}, {Slot: 2}, {Slot: 3}}
		if err := d.Save([]paxos.Update{{Group: 1, Dirty: true, Votes: votes}}); err != nil {
			t.Fatal(err)
		}
		if err := d.Trim(1, 3); err != nil {
			t.Fatal(err)
		}
		d.Crash(revive)
		got, err := d.Load(1)
		if err != nil {
			t.Fatal(err)
		}
		want := 1
		if revive {
			want = 3
		}
		if len(got.Votes) != want {
			t.Errorf("revive %v: %d votes after the crash, want %d", revive, len(got.Votes), want)
		}
	}
}

func TestStorage(t *testing.T) {
	var d Disk
	storagetest.Run(t, func() replica.Storage {
		d.Crash(false)
		return &d
	})
}
