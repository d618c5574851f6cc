package fd

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/prytany/prytany/synod"
)

// FuzzDelegate hands anything to what the gossip library calls: a node, by any name and
// with any description, that lives, comes, conflicts, pings and goes. What is refused
// changes nothing; what is not is in the view as it was said, and gone when it has left.
func FuzzDelegate(f *testing.F) {
	good, _ := encodeMeta(full())
	other := full()
	other.Cluster = "another"
	foreign, _ := encodeMeta(other)
	p, err := newPlane()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("00000000000000ab", good, p.payload(), int64(time.Millisecond))
	f.Add("00000000000000ab", foreign, p.payload(), int64(-1))
	f.Add("host-1", good, []byte{0}, int64(1)<<62)
	f.Add("0000000000000000", []byte{1, 0, 0}, []byte(nil), int64(0))
	f.Fuzz(func(t *testing.T, name string, meta, payload []byte, rtt int64) {
		plane, err := newPlane()
		if err != nil {
			t.Fatal(err)
		}
		d := &Detector{
			cfg: Config{Log: slog.New(slog.DiscardHandler)}, self: full(), plane: plane,
			table: table{members: map[synod.NodeID]member{}}, news: make(chan struct{}, 1), foreign: map[string]bool{},
		}
		g := delegate{d}
		m := &memberlist.Node{Name: name, Addr: net.IPv4(127, 0, 0, 1), Port: 1, Meta: meta}
		alive, merge := g.NotifyAlive(m), g.NotifyMerge([]*memberlist.Node{m})
		if (alive == nil) != (merge == nil) {
			t.Fatalf("alone: %v, with others: %v", alive, merge)
		}
		if len(d.table.view.Nodes) > 0 {
			t.Fatal("a question has changed the view")
		}
		g.NotifyPingComplete(m, time.Duration(rtt), payload)
		g.NotifyConflict(m, &memberlist.Node{Name: name, Addr: net.IPv4(127, 0, 0, 2), Port: 1})
		if alive != nil {
			return
		}
		g.NotifyJoin(m)
		want, err := describe(m)
		if err != nil {
			t.Fatalf("it is let in, and cannot be understood: %v", err)
		}
		got, ok := d.table.view.Find(want.ID)
		if !ok || got.Name != want.Name || got.HTTPAddr != want.HTTPAddr || got.Cluster != want.Cluster || got.Incarnation != want.Incarnation {
			t.Fatalf("%+v is in the view as %+v", want, got)
		}
		if want.ID.String() != name || want.Cluster != "" && want.Cluster != full().Cluster {
			t.Fatalf("%q of cluster %q is let in", name, want.Cluster)
		}
		g.NotifyLeave(m)
		if n, ok := d.table.view.Find(want.ID); !ok || n.State != Dead {
			t.Fatalf("it has left, and is %v", n.State)
		}
	})
}
