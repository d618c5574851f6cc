package leader

import (
	"testing"

	"github.com/prytany/prytany/synod"
)

// crooked returns a world whose clocks run at rates that differ by up to 1 %, as
// far as the leases bear, and show different times. In half of them no machine
// looks at another's clock, so that leases are not given up for that.
func crooked(n int, seed uint64, off mutant) *world {
	off.noGuard = off.noGuard || seed%2 == 1
	w := newWorld(n, seed, off)
	w.skew(5000)
	return w
}

// skew gives each node a clock of its own.
func (w *world) skew(ppm int64) {
	w.drift = ppm
	for _, h := range w.nodes {
		h.rate = w.clocks.between(-ppm, ppm+1)
		if w.clocks.next()%2 == 0 { // at an end of what is allowed
			h.rate = ppm * int64(1-2*int(w.clocks.next()%2))
		}
		h.offset = Instant(w.clocks.between(1, int64(1_000_000*ms)))
	}
}

// times are what the node h is configured with.
func (w *world) times(h *host) Config {
	c := Config{
		Self: nid(h.id), Incarnation: h.incarnation, Seed: w.random.next(), ClaimDelay: w.delay,
		Lease: int64(w.lease), MoveAfter: int64(w.move),
	}
	if h.incarnation > 1 {
		c.Mute = 1 // as long as the lease
	}
	return c
}

// clock is what the clock of h shows.
func (w *world) clock(h *host) Instant { return w.clockAt(h, w.now) }

func (w *world) clockAt(h *host, t Instant) Instant {
	return h.offset + t + Instant(part(int64(t), h.rate))
}

// when returns the first moment at which the clock of h shows at least c.
func (w *world) when(h *host, c Instant) Instant {
	x, all := int64(c-h.offset), 1_000_000+h.rate
	t := Instant(x/all*1_000_000 + x%all*1_000_000/all)
	for w.clockAt(h, t) < c {
		t++
	}
	return t
}

// stalls puts e off if h does not get the processor now, and reports whether.
func (w *world) stalls(h *host, e event) bool {
	if h.stall == nil || w.now == h.turn {
		return false
	}
	at := max(h.free, w.now)
	if at == w.now {
		at += h.stall()
	}
	h.free, h.turn = at, at
	if at == w.now {
		return false
	}
	e.at = at
	w.push(e)
	return true
}

// audit counts what h is about to do, to commit or to begin to lead, if another
// node would answer a read by its lease at this moment.
func (w *world) audit(h *host) {
	if w.commits++; h.m.Leased(h.group, w.clock(h)) {
		w.sure++
	}
	for _, p := range w.nodes {
		if p == h || p.dead || p.config > h.config || p.config == h.config && h.own.Less(p.own) {
			continue
		}
		if p.m.Leased(h.group, w.clock(p)) {
			w.stale++
		}
	}
}

// handOver has the node from hand the lead over, if it leads.
func (w *world) handOver(from, to int) bool {
	h := w.nodes[from]
	if h.dead || h.frozen || !h.m.Release(h.group, nid(to), w.clock(h), &h.out) {
		return false
	}
	if !w.off.releaseKeeps {
		h.own, h.leading, h.seal = synod.Ballot{}, false, 0
		w.sync(h)
	}
	w.step(h)
	return true
}

// reshape has the leader, if there is one, propose a stop-sign that designates
// head. Its next commit ends the configuration. Nodes enter the next one as they
// hear of it.
func (w *world) reshape(head int) bool {
	for _, h := range w.nodes {
		if h.leading && !h.dead && !h.frozen && h.seal == 0 && h.config == w.config {
			h.seal, h.sealed = head+1, h.slot+1
			w.sync(h)
			w.step(h)
			return true
		}
	}
	return false
}

// stopped ends the configuration if what h has just committed is a stop-sign.
func (w *world) stopped(h *host) {
	if h.seal == 0 || h.slot < h.sealed || h.config < w.config {
		return
	}
	head := w.nodes[h.seal-1]
	w.config++
	w.heads[w.config] = head.id
	config, group := w.config, h.group
	for _, p := range []*host{head, h} {
		inc := p.incarnation
		w.at(w.now+Instant(w.random.between(0, int64(30*ms))), func() {
			w.look(group)
			defer w.look(1)
			if !p.dead && !p.frozen && p.incarnation == inc && p.config < config {
				w.enter(p, config)
				w.step(p)
			}
		})
	}
}

// enter has h enter a configuration, as its leader if it is designated.
func (w *world) enter(h *host, config uint32) {
	h.config = config
	h.promised, h.own, h.leading, h.seal, h.vote = synod.Ballot{}, synod.Ballot{}, false, 0, vote{}
	if head, ok := w.heads[config]; ok && head == h.id {
		h.promised = synod.Ballot{Round: 1, Member: synod.Ordinal(h.id + 1)}
		h.own, h.leading, h.heard = h.promised, true, 0
	}
	w.sync(h)
}

// reconfigure has the leader end the configuration, and the nodes enter the next
// one by one, the designated leader first unless it is dead.
func (w *world) reconfigure(leader int) {
	for _, h := range w.nodes {
		if h.leading && !h.dead {
			h.seal, h.sealed = leader+1, never64
			w.sync(h)
			w.step(h)
		}
	}
	w.config++
	config := w.config
	w.heads[config] = leader
	for i := range w.nodes {
		h := w.nodes[(leader+i)%len(w.nodes)]
		w.at(w.now+Instant(i)*15*ms, func() {
			if !h.dead && h.config < config {
				w.enter(h, config)
				w.step(h)
			}
		})
	}
}

const never64 = 1<<64 - 1

// audited fails t if a lease was held while another node led.
func (w *world) audited(t testing.TB, name string) {
	t.Helper()
	if w.stale > 0 {
		t.Errorf("%s: %d commits while another node had a lease", name, w.stale)
	}
}

// harass throws at a leader with a long lease what might end the word that its
// acceptors gave: they restart behind a cut link, the leader stands still, hands
// over, or ends the configuration and is cut off.
func harass(t testing.TB, seed uint64, off mutant) (commits, sure int) {
	n := 3 + 2*int(seed%2)
	off.noGuard = true
	w := newWorld(n, seed, off)
	w.lease = Instant(w.random.between(int64(300*ms), int64(3000*ms)))
	w.skew(5000)
	w.begin()
	w.run(1500 * ms)
	for range 25 {
		a, b := int(w.random.between(0, int64(n))), int(w.random.between(0, int64(n)))
		l := w.leader()
		switch dice := w.random.between(0, 10); {
		case w.nodes[a].frozen:
			w.thaw(a)
		case l == nil || l.frozen:
			w.scramble(true)
		case dice < 2 && a != l.id: // an acceptor restarts and the leader does not hear of it
			w.crash(a, false)
			w.restart(a)
			w.cut(a, l.id)
		case dice < 4:
			w.freeze(l.id)
		case dice < 5 && b != l.id:
			w.handOver(l.id, b)
		case dice < 6:
			w.reshape(b)
			at := w.now + Instant(w.random.between(0, int64(80*ms)))
			w.at(at, func() {
				for i := range w.nodes {
					w.cut(l.id, i)
				}
			})
		case dice < 7:
			w.pass[l.id][a] = a == l.id
		case dice < 8:
			w.only(all5[:0]...)
			for i := range n {
				for k := range i {
					w.join(i, k)
				}
			}
		default:
			w.scramble(true)
		}
		w.run(w.now + Instant(w.random.between(int64(20*ms), int64(800*ms))))
	}
	if w.stale > 0 {
		t.Errorf("seed %d: %d commits while another node had a lease", seed, w.stale)
	}
	return w.commits, w.sure
}

// TestHarassedLeases is about nothing but leases.
func TestHarassedLeases(t *testing.T) {
	cases := 300
	if *full {
		cases = 20_000
	}
	commits, sure := 0, 0
	for seed := range cases {
		c, s := harass(t, uint64(seed+1), mutant{})
		commits, sure = commits+c, sure+s
	}
	t.Logf("a lease at %d of %d commits", sure, commits)
	if sure*3 < commits {
		t.Error("a lease at less than a third of the commits: nothing is proven about leases")
	}
}
