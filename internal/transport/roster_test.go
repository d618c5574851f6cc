package transport

import (
	"errors"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A notebook is what a node writes down of others and of itself.
type notebook struct {
	mu      sync.Mutex
	seen    map[synod.NodeID]roster.Sighting
	writes  int
	broken  bool
	by      []synod.NodeID // who has accused this node
	reasons []string
}

func (b *notebook) remember(some map[synod.NodeID]roster.Sighting) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		return errors.New("no disk")
	}
	if b.seen == nil {
		b.seen = map[synod.NodeID]roster.Sighting{}
	}
	maps.Copy(b.seen, some)
	b.writes++
	return nil
}

func (b *notebook) of(n synod.NodeID) roster.Sighting {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen[n]
}

func (b *notebook) accusations() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.by)
}

// with has a transport use b, and be the given process.
func (b *notebook) with(is life, past ...roster.Life) func(*Config) {
	return func(c *Config) {
		c.Incarnation, c.Nonce, c.Past = is.incarnation, is.nonce, past
		b.mu.Lock()
		defer b.mu.Unlock()
		c.Seen, c.Remember = maps.Clone(b.seen), b.remember
		c.RolledBack = func(by synod.NodeID, err *roster.RolledBackError) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.by, b.reasons = append(b.by, by), append(b.reasons, err.Reason)
		}
	}
}

// TestARolledBackProcessIsNotHeard has node 2 speak as incarnation 5, and come
// back as an old one or as a copy. Nothing it sends is delivered, and it is
// told, whoever dials; the peers remember over a restart of their own.
func TestARolledBackProcessIsNotHeard(t *testing.T) {
	past := []roster.Life{{Nonce: 30, End: 10}, {Nonce: 40, End: 20}}
	for _, tt := range []struct {
		name string
		back life
		past []roster.Life
		says string // to the one that is back; "": it is heard
	}{
		{"an earlier incarnation", life{3, 31}, past[:0], "seen with incarnation 5"},
		{"the same incarnation, another process", life{5, 51}, past, "as another process"},
		{"a later incarnation that knows nothing of the one seen", life{6, 60}, append(past[:2:2], roster.Life{Nonce: 51, End: 99}), "knows nothing of"},
		{"a later incarnation whose log is shorter", life{6, 60}, append(past[:2:2], roster.Life{Nonce: 50, End: 76}), "77 writes"},
		{"the next incarnation", life{6, 60}, append(past[:2:2], roster.Life{Nonce: 50, End: 77}), ""},
		{"the next but one", life{7, 70}, []roster.Life{{Nonce: 50, End: 80}, {Nonce: 60, End: 90}}, ""},
	} {
		for _, dials := range []string{"it dials", "the peer dials", "it dials a peer that was restarted", "a restarted peer dials it"} {
			t.Run(tt.name+", "+dials, func(t *testing.T) {
				l := newLAN()
				var mine, its notebook
				a := start(t, l, 1, "", mine.with(life{1, 9}))
				b := start(t, l, 2, "", func(c *Config) {
					its.with(life{5, 50}, past...)(c)
					c.Position = func() uint64 { return 77 }
				})
				b.reaches(t, a, 1)
				b.end()
				if strings.Contains(dials, "restarted") {
					a.end()
					a = start(t, l, 1, a.addr, mine.with(life{2, 99}, roster.Life{Nonce: 9}))
				}
				b = start(t, l, 2, b.addr, its.with(tt.back, tt.past...))
				from, to := a, b
				if strings.HasPrefix(dials, "it dials") {
					from, to = b, a
				}
				if tt.says == "" {
					from.reaches(t, to, 2)
					if its.accusations() != 0 || mine.of(2) != (roster.Sighting{Incarnation: tt.back.incarnation, Nonce: tt.back.nonce, Position: 77}) {
						t.Errorf("accused: %v; remembered: %+v", its.reasons, mine.of(2))
					}
					return
				}
				eventually(t, "it is told, or heard", func() bool {
					from.Send(to.id, packet(2))
					return its.accusations() > 0 || to.has(2)
				})
				for range 20 {
					a.Send(2, packet(3))
					b.Send(1, packet(3))
					time.Sleep(time.Millisecond)
				}
				if a.has(2) || a.has(3) || len(b.received()) != 0 {
					t.Error("it was heard, or heard something")
				}
				if its.accusations() != 1 || its.by[0] != 1 || !strings.Contains(its.reasons[0], tt.says) {
					t.Errorf("accused by %v: %q; want node 1 to say %q, once", its.by, its.reasons, tt.says)
				}
				if mine.accusations() != 0 {
					t.Errorf("the peer was accused: %q", mine.reasons)
				}
				if got := mine.of(2); got != (roster.Sighting{Incarnation: 5, Nonce: 50, Position: got.Position}) {
					t.Errorf("the peer remembers %+v", got)
				}
			})
		}
	}
}

// TestOnlyItsOwnClusterCanAccuseANode: others are not believed, and not heard.
func TestOnlyItsOwnClusterCanAccuseANode(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *Config)
		known  bool
	}{
		{"a node whose address is not known", nil, false},
		{"a node of no cluster", func(c *Config) { c.Cluster = func() string { return "" } }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLAN()
			mine := notebook{seen: map[synod.NodeID]roster.Sighting{2: {Incarnation: 9, Nonce: 90}}}
			var its notebook
			a := start(t, l, 1, "", func(c *Config) {
				mine.with(life{1, 1})(c)
				if tt.change != nil {
					tt.change(c)
				}
			})
			b := start(t, l, 2, "", its.with(life{3, 30}))
			if !tt.known {
				l.set(1, "")
			}
			eventually(t, "they meet", func() bool {
				a.Send(2, packet(1))
				return b.log.count("not believed") > 0
			})
			if its.accusations() != 0 || b.has(1) {
				t.Errorf("accused: %q, heard %d packets", its.reasons, len(b.received()))
			}
			c := start(t, l, 3, "", nil)
			b.reaches(t, c, 2)
		})
	}
}

// TestAPeerIsRememberedBeforeItIsHeard: with a disk that fails nothing is
// delivered.
func TestAPeerIsRememberedBeforeItIsHeard(t *testing.T) {
	l := newLAN()
	mine := notebook{broken: true}
	a := start(t, l, 1, "", mine.with(life{1, 1}))
	b := start(t, l, 2, "", nil)
	for range 50 {
		b.Send(1, packet(1))
		a.Send(2, packet(1))
		time.Sleep(time.Millisecond)
	}
	if len(a.received())+len(b.received()) != 0 {
		t.Error("a packet was delivered")
	}
	mine.mu.Lock()
	mine.broken = false
	mine.mu.Unlock()
	b.reaches(t, a, 2)
	if got := mine.of(2); got.Incarnation != 1 || got.Nonce != b.cfg.Nonce {
		t.Errorf("remembered %+v; want the process", got)
	}
	a.reaches(t, b, 3)
	mine.mu.Lock()
	defer mine.mu.Unlock()
	if mine.writes != 1 {
		t.Errorf("%d writes; want one for all connections of a process", mine.writes)
	}
}

// TestALaterProcessCutsTheEarlierOneOff: two processes of one node, of which
// both live.
func TestALaterProcessCutsTheEarlierOneOff(t *testing.T) {
	l := newLAN()
	var first, second notebook
	a := start(t, l, 1, "", nil)
	old := start(t, l, 2, "", first.with(life{1, 10}))
	old.reaches(t, a, 1)
	later := start(t, l, 2, "", second.with(life{2, 20}, roster.Life{Nonce: 10}))
	later.reaches(t, a, 2)
	eventually(t, "the earlier one is told", func() bool {
		old.Send(1, packet(3))
		return first.accusations() == 1
	})
	if second.accusations() != 0 {
		t.Errorf("the later one was accused: %q", second.reasons)
	}
	later.reaches(t, a, 4)
}

// TestPositionsAreWrittenNowAndThen: whenever they have risen, and at the end.
func TestPositionsAreWrittenNowAndThen(t *testing.T) {
	l := newLAN()
	var mine notebook
	var at sync.Map
	a := start(t, l, 1, "", func(c *Config) {
		mine.with(life{1, 1})(c)
		c.RememberEvery = 5 * time.Millisecond
	})
	b := start(t, l, 2, "", func(c *Config) {
		c.Position = func() uint64 { n, _ := at.LoadOrStore(0, uint64(7)); return n.(uint64) }
	})
	b.reaches(t, a, 1)
	eventually(t, "it is written down", func() bool { return mine.of(2).Position == 7 })
	mine.mu.Lock()
	before := mine.writes
	mine.mu.Unlock()
	b.reaches(t, a, 2)
	time.Sleep(50 * time.Millisecond)
	mine.mu.Lock()
	if mine.writes != before {
		t.Error("what has not changed was written again")
	}
	mine.mu.Unlock()
	a.end()

	a = start(t, l, 1, a.addr, func(c *Config) {
		mine.with(life{2, 2}, roster.Life{Nonce: 1})(c)
		c.RememberEvery = time.Hour
	})
	at.Store(0, uint64(9))
	b.reaches(t, a, 3)
	a.end()
	if got := mine.of(2).Position; got != 9 {
		t.Errorf("position %d was written down at the end; want 9", got)
	}
}

// TestADatagramIsHeardAfterItsProcessIsRemembered: if its first frame is stuck,
// a datagram may be the first that comes of a process.
func TestADatagramIsHeardAfterItsProcessIsRemembered(t *testing.T) {
	mine := notebook{broken: true}
	n := start(t, newLAN(), 1, "", func(c *Config) {
		mine.with(life{1, 1})(c)
		withDatagrams(t)(c)
	})
	cookie := n.issue(hello{node: 9, incarnation: 5, nonce: 50})
	if n.issue(hello{node: 9, incarnation: 5, nonce: 51}) != 0 {
		t.Error("a copy got a cookie")
	}
	send := func(seq uint64) {
		b, _ := appendDatagram(nil, datagram{9, 5, cookie, seq}, [][]byte{codec.AppendSaved(8), codec.AppendPacket(nil, packet(seq))})
		n.hearDatagram(b)
	}
	send(1)
	if len(n.received()) != 0 {
		t.Error("it was heard although nobody remembers it")
	}
	mine.mu.Lock()
	mine.broken = false
	mine.mu.Unlock()
	send(2)
	if got := n.received(); len(got) != 1 || numberOf(got[0]) != 2 {
		t.Errorf("received %v; want the second packet, and no Saved", got)
	}
	if got := n.registry.seen(9); got != (roster.Sighting{Incarnation: 5, Nonce: 50, Position: 8}) {
		t.Errorf("remembered %+v", got)
	}
	if err := n.meet(hello{node: 9, incarnation: 6, nonce: 60}); err != nil {
		t.Fatal(err)
	}
	send(3)
	if len(n.received()) != 1 {
		t.Error("a process was heard that another has followed")
	}
}

func TestTrafficIsCounted(t *testing.T) {
	l := newLAN()
	a, b := start(t, l, 1, "", nil), start(t, l, 2, "", nil)
	if a.Counts() != (Counts{}) {
		t.Errorf("counts before anything: %+v", a.Counts())
	}
	const many = 100
	one := len(codec.AppendPacket(nil, packet(1)))
	for range many {
		a.Send(2, packet(1))
	}
	a.Send(2, replica.Packet{Group: 1, Msg: paxos.SnapshotChunk{Slot: 1, Data: []byte("s")}})
	eventually(t, "all arrive", func() bool { return len(b.received()) == many+1 })
	eventually(t, "all are counted", func() bool { return a.Counts().Control.SentPackets == many && a.Counts().Bulk.SentPackets == 1 })
	sent, got := a.Counts(), b.Counts()
	if got.Control.ReceivedPackets != many || got.Bulk.ReceivedPackets != 1 {
		t.Errorf("received %+v", got)
	}
	if sent.Control.SentBytes < many*uint64(one) || sent.Control.SentBytes != got.Control.ReceivedBytes || sent.Bulk.SentBytes != got.Bulk.ReceivedBytes {
		t.Errorf("sent %+v, received %+v; want the same bytes", sent, got)
	}
	if sent.Datagrams != (Traffic{}) || sent.Control.ReceivedBytes != 0 {
		t.Errorf("counted what was not there: %+v", sent)
	}
}

// TestAPeerRefusesWhoDoesNotLookAtItself: the peer says so in its answer, with
// what it has seen, and delivers nothing.
func TestAPeerRefusesWhoDoesNotLookAtItself(t *testing.T) {
	seen := roster.Sighting{Incarnation: 5, Nonce: 50, Position: 7}
	mine := notebook{seen: map[synod.NodeID]roster.Sighting{9: seen}}
	n := start(t, newLAN(), 1, "", mine.with(life{1, 1}))
	for _, tt := range []struct {
		is      life
		refused bool
	}{{life{4, 40}, true}, {life{5, 51}, true}, {life{5, 50}, false}} {
		before := len(n.received())
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(conn)
		h := hello{protocol: protocol, node: 9, wanted: 1, cluster: "athens", incarnation: tt.is.incarnation, nonce: tt.is.nonce}
		if err := h.write(conn); err != nil {
			t.Fatal(err)
		}
		answer, err := readHello(conn)
		if err != nil {
			t.Fatal(err)
		}
		if answer.refused != tt.refused || answer.seen != seen {
			t.Errorf("%v: answer %+v; want refused %v, seen %v", tt.is, answer, tt.refused, seen)
		}
		_, _ = conn.Write(codec.AppendFrame(nil, []replica.Packet{packet(1)})) // may be refused already
		if tt.refused {
			closeConn(conn)
			time.Sleep(10 * time.Millisecond)
		} else {
			eventually(t, "the packet arrives", func() bool { return len(n.received()) == before+1 })
		}
		if tt.refused && len(n.received()) != before {
			t.Errorf("%v was heard", tt.is)
		}
	}
}
