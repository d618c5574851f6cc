package crashstates

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// groups is how many group ids a script uses, from 1 on.
const groups = 30

// A model is what a store holds.
type model struct {
	Cluster, Name string
	Lease         int64
	Incarnation   uint64
	Groups        map[paxos.GroupID]paxos.Durable
	Snapshots     map[paxos.GroupID]paxos.Snapshot
	Dropped       map[paxos.GroupID]paxos.ConfigID
	Addresses     map[synod.NodeID]storage.Address
	Seen          map[synod.NodeID]roster.Sighting
}

func empty() model {
	return model{
		Name: "n", Groups: map[paxos.GroupID]paxos.Durable{}, Snapshots: map[paxos.GroupID]paxos.Snapshot{}, Dropped: map[paxos.GroupID]paxos.ConfigID{},
		Addresses: map[synod.NodeID]storage.Address{}, Seen: map[synod.NodeID]roster.Sighting{},
	}
}

func (m model) clone() model {
	m.Groups, m.Snapshots, m.Dropped = maps.Clone(m.Groups), maps.Clone(m.Snapshots), maps.Clone(m.Dropped)
	m.Addresses, m.Seen = maps.Clone(m.Addresses), maps.Clone(m.Seen)
	return m
}

// save changes m as a Save does.
func (m model) save(u paxos.Update) {
	d := paxos.Durable{Header: u.Header}
	bySlot := map[paxos.Slot]paxos.SlotVote{}
	for _, v := range slices.Concat(m.Groups[u.Group].Votes, u.Votes) {
		bySlot[v.Slot] = v
	}
	for _, slot := range slices.Sorted(maps.Keys(bySlot)) {
		if slot >= u.Header.Trimmed {
			d.Votes = append(d.Votes, bySlot[slot])
		}
	}
	m.Groups[u.Group] = d
	delete(m.Dropped, u.Group)
}

// A step is one call, or a few that belong together.
type step struct {
	name string
	do   func(*worker) error
	// after is what the store holds when it has returned; between is what it may hold
	// before, beside what it held.
	after   model
	between []model
}

// A worker carries a script out.
type worker struct {
	dir  string
	opts storage.Options
	s    *storage.Store
}

// A script is made by a writer.
type writer struct {
	r     *rand.Rand
	now   model
	steps []step
	round uint64
	// badly has snapshots come after the header that relies on them: a known bug.
	badly bool
}

// script returns n steps that follow from a seed, of which the first opens the store.
func script(seed uint64, n int, badly bool) []step {
	w := &writer{r: rand.New(rand.NewPCG(seed, 7)), now: empty(), badly: badly}
	w.reopen()
	w.add("cluster", func(k *worker) error { return k.s.SetCluster("c") }, func(m *model) { m.Cluster = "c" })
	kinds := []func(){
		w.save, w.save, w.save, w.save, w.saveMany, w.smallSnapshot, w.snapshot, w.trim, w.trim, w.note, w.probe, w.begin, w.drop, w.reopen,
	}
	order := w.r.Perm(len(kinds))
	for i := 0; len(w.steps) < n; i++ {
		if i < len(order) { // each once
			kinds[order[i]]()
		} else {
			kinds[w.r.IntN(len(kinds))]()
		}
	}
	return w.steps[:n]
}

// add adds a step and the change that it makes.
func (w *writer) add(name string, do func(*worker) error, change func(*model)) *step {
	w.now = w.now.clone()
	change(&w.now)
	w.steps = append(w.steps, step{name: name, do: do, after: w.now})
	return &w.steps[len(w.steps)-1]
}

func (w *writer) reopen() {
	w.add("open", func(k *worker) (err error) {
		if k.s != nil {
			if err := k.s.Close(); err != nil {
				return err
			}
		}
		k.s, err = storage.Open(k.dir, k.opts)
		return err
	}, func(m *model) { m.Incarnation++ })
}

// header returns a header with a promise above all before.
func (w *writer) header(g paxos.GroupID) paxos.Header {
	w.round++
	h := w.now.Groups[g].Header
	if h.Membership.ID == 0 {
		h.Membership = paxos.Membership{ID: 1, Leader: 1, Next: 3, Voters: []paxos.Member{{Node: 11, Ordinal: 1, Name: "a", PeerAddr: "a:1"}, {Node: 1 << 63, Ordinal: 2, Name: "b"}}}
		if floor, dropped := w.now.Dropped[g]; dropped {
			h.Floor = floor
		}
	}
	h.Promised = synod.Ballot{Round: w.round, Member: 1}
	return h
}

func (w *writer) votes(h paxos.Header, n, size int) (votes []paxos.SlotVote) {
	slots := map[paxos.Slot]bool{}
	for range n {
		slots[max(h.Trimmed, 1)+paxos.Slot(w.r.IntN(30))] = true
	}
	for _, slot := range slices.Sorted(maps.Keys(slots)) {
		votes = append(votes, paxos.SlotVote{
			Slot: slot, Config: 1, Chosen: w.r.IntN(3) == 0, Vote: synod.Vote{Ballot: h.Promised, Value: synod.Value(w.bytes(w.r.IntN(size)))},
		})
	}
	return votes
}

func (w *writer) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.r.Uint32())
	}
	return b
}

// living returns one of the groups that are there, or the first.
func (w *writer) living() paxos.GroupID {
	all := slices.Sorted(maps.Keys(w.now.Groups))
	if len(all) == 0 {
		return 1
	}
	return all[w.r.IntN(len(all))]
}

func (w *writer) updates(updates []paxos.Update) {
	w.add(fmt.Sprintf("save of %d groups", len(updates)), func(k *worker) error { return k.s.Save(updates) }, func(m *model) {
		for _, u := range updates {
			m.save(u)
		}
	})
}

func (w *writer) save() {
	list := []paxos.GroupID{w.living(), w.living()}
	if len(w.now.Groups) < groups/2 && w.r.IntN(3) == 0 {
		list = append(list, paxos.GroupID(1+w.r.IntN(groups)))
	}
	slices.Sort(list)
	var updates []paxos.Update
	for _, g := range slices.Compact(list) {
		h := w.header(g)
		updates = append(updates, paxos.Update{Group: g, Dirty: true, Header: h, Votes: w.votes(h, 1+w.r.IntN(5), 200+w.r.IntN(3000))})
	}
	w.updates(updates)
}

func (w *writer) saveMany() {
	var updates []paxos.Update
	for g := range w.now.Groups {
		updates = append(updates, paxos.Update{Group: g})
	}
	slices.SortFunc(updates, func(a, b paxos.Update) int { return int(a.Group) - int(b.Group) })
	for i := range updates {
		u := &updates[i]
		u.Dirty, u.Header = true, w.header(u.Group)
		u.Votes = w.votes(u.Header, 1, 100)
	}
	w.updates(updates)
}

// put returns what saves a snapshot, in one piece or in many.
func put(g paxos.GroupID, snap paxos.Snapshot, pieces bool) func(*worker) error {
	return func(k *worker) error {
		if !pieces {
			return k.s.SaveSnapshot(g, snap)
		}
		without := snap
		without.Data = nil
		_, err := k.s.StreamSnapshot(g, without, func(out io.Writer) error {
			for some := range slices.Chunk(snap.Data, 10_000) {
				if _, err := out.Write(some); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	}
}

// replace saves a snapshot of so many bytes, which holds all slots that there are votes of.
func (w *writer) replace(size int) {
	g := w.living()
	d := w.now.Groups[g]
	snap := paxos.Snapshot{Slot: max(d.Header.Snapshot, w.now.Snapshots[g].Slot, 1) + 1, Membership: w.header(g).Membership, Data: w.bytes(size)}
	w.add(fmt.Sprintf("snapshot of %d bytes", size), put(g, snap, w.r.IntN(2) == 0), func(m *model) { m.Snapshots[g] = snap })
}

func (w *writer) smallSnapshot() { w.replace(w.r.IntN(4000)) }

func (w *writer) snapshot() {
	if w.r.IntN(8) == 0 {
		w.replace(1<<20 + w.r.IntN(100_000)) // more than is written at once
		return
	}
	w.replace(5000 + w.r.IntN(60_000))
}

// trim has a header rely on a new snapshot, and deletes the votes that it makes needless.
func (w *writer) trim() {
	g := w.living()
	h := w.header(g)
	snap := paxos.Snapshot{Slot: max(h.Snapshot, w.now.Snapshots[g].Slot) + 1 + paxos.Slot(w.r.IntN(10)), Membership: h.Membership, Data: w.bytes(3000 + w.r.IntN(9000))}
	h.Snapshot, h.Trimmed, h.Decided = snap.Slot, snap.Slot+1, snap.Slot
	update := []paxos.Update{{Group: g, Dirty: true, Header: h}}
	cut := func() {
		w.add("header that relies on the snapshot", func(k *worker) error { return k.s.Save(update) }, func(m *model) { m.save(update[0]) })
	}
	if w.badly {
		cut()
	}
	w.add("snapshot", put(g, snap, w.r.IntN(2) == 0), func(m *model) { m.Snapshots[g] = snap })
	if !w.badly {
		cut()
	}
	w.add("trim", func(k *worker) error { return k.s.Trim(g, h.Trimmed) }, func(*model) {})
}

// note saves what is in node.db alone.
func (w *writer) note() {
	n := w.r.IntN(1000)
	id := synod.NodeID(1 + n%5)
	switch n % 3 {
	case 0:
		a := storage.Address{Name: fmt.Sprint("n", n), Peer: "p:1", HTTP: "h:1", Gossip: "g:1"}
		w.add("address", func(k *worker) error { return k.s.SaveAddress(id, a) }, func(m *model) { m.Addresses[id] = a })
	case 1:
		is := roster.Sighting{Incarnation: uint64(n), Nonce: 1, Position: uint64(n)}
		w.add("sighting", func(k *worker) error { return k.s.SaveSightings(map[synod.NodeID]roster.Sighting{id: is}) }, func(m *model) { m.Seen[id] = is })
	case 2:
		lease := w.now.Lease + int64(n)
		w.add("lease", func(k *worker) error { return k.s.RaiseLease(lease) }, func(m *model) { m.Lease = lease })
	}
}

func (w *writer) probe() {
	w.add("probe", func(k *worker) error { return k.s.Probe() }, func(*model) {})
}

// begin makes groups that were not there. Before their headers are there may be snapshots.
func (w *writer) begin() {
	var list []replica.Beginning
	for g := paxos.GroupID(1); g <= groups && len(list) < 3; g++ {
		_, dropped := w.now.Dropped[g]
		_, there := w.now.Groups[g]
		if _, snap := w.now.Snapshots[g]; !dropped && !there && !snap && w.r.IntN(3) == 0 {
			h := w.header(g)
			list = append(list, replica.Beginning{Group: g, Header: h, Snapshot: paxos.Snapshot{Slot: 1, Membership: h.Membership, Data: w.bytes(w.r.IntN(9000))}})
		}
	}
	before := w.now.clone()
	s := w.add(fmt.Sprintf("begin of %d groups", len(list)), func(k *worker) error { return k.s.Begin(list) }, func(m *model) {
		for _, b := range list {
			before.Snapshots[b.Group], m.Snapshots[b.Group] = b.Snapshot, b.Snapshot
			m.save(paxos.Update{Group: b.Group, Header: b.Header})
		}
	})
	s.between = []model{before}
}

// drop drops a group, sweeps it, and perhaps makes it anew.
func (w *writer) drop() {
	if len(w.now.Groups) < 2 {
		return
	}
	g := w.living()
	floor := w.now.Groups[g].Header.Floor + 1
	w.add("drop", func(k *worker) error { return k.s.Drop(g, floor) }, func(m *model) {
		delete(m.Groups, g)
		delete(m.Snapshots, g)
		m.Dropped[g] = floor
	})
	w.add("sweep", func(k *worker) error {
		for more := true; more; {
			var err error
			if more, err = k.s.Sweep(); err != nil {
				return err
			}
		}
		return nil
	}, func(*model) {})
	if w.r.IntN(2) == 0 {
		h := w.header(g)
		w.updates([]paxos.Update{{Group: g, Dirty: true, Header: h, Votes: w.votes(h, 3, 500)}})
	}
}
