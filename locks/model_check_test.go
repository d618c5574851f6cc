package locks

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"pgregory.net/rapid"
)

// check compares all of the machine's state with the model's.
func (m *model) check(t *rapid.T, x *Machine) {
	got, want := lines(x), m.lines()
	if !maps.Equal(got, want) || x.revision != m.revision {
		for _, what := range slices.Sorted(maps.Keys(got)) {
			if got[what] != want[what] {
				t.Errorf("%s is     %s\nthe model has %s", what, got[what], want[what])
			}
		}
		t.Fatalf("machine at %d: %v\nmodel at %d:   %v", x.revision, got, m.revision, want)
	}
	grants, places := 0, 0
	for _, l := range m.locks {
		grants, places = grants+len(l.holders), places+len(l.queue)
	}
	if n := x.Counts(); n.Locks != grants || n.Waiters != places || n.Fences != len(m.fences) || n.Changes != len(m.told) {
		t.Fatalf("counted are %+v; the model has %d grants, %d places, %d fences and %d changes", n, grants, places, len(m.fences), len(m.told))
	}
}

// lines shows the machine's state.
func lines(x *Machine) map[string]string {
	out := map[string]string{}
	for name, l := range x.locks.From("") {
		var holders, queue []string
		for _, g := range l.holders {
			holders = append(holders, fmt.Sprint(modelGrant{g.session.id, g.fence, g.shared, g.elected, g.value}))
		}
		for _, w := range l.waiters {
			queue = append(queue, fmt.Sprint(modelPlace{w.session.id, w.request.ID, w.shared, w.campaign, w.value}))
		}
		slots := uint64(0)
		if l.idle == 0 {
			slots = l.slots
		}
		out["lock "+name] = fmt.Sprint(slots, holders, queue, l.past, l.changed, l.delay, l.delayFor, l.yield)
		_, delayed := x.delayed[name]
		_, yielding := x.yielding[name]
		if delayed != (l.delay != 0) || yielding != (l.yield.within != 0) {
			out["lock "+name] += " is not where it should be"
		}
	}
	for id, s := range x.sessions.From("") {
		out["session "+id] = fmt.Sprint(s.renewals, s.bound, sortedKeys(s.holds), sortedKeys(s.waits), sortedKeys(s.keys))
	}
	for key, e := range x.entries.From("") {
		out["entry "+key] = fmt.Sprint(modelEntry{string(e.Value), e.Revision, e.Created, e.Version, e.Session})
	}
	for name, highest := range x.fences.From("") {
		out["fence "+name] = fmt.Sprint(highest)
	}
	for _, c := range x.history.Since(0) {
		out[fmt.Sprint("events ", c.Revision)] = fmt.Sprint(shown(c.Events))
	}
	return out
}

// lines shows the model in the same way.
func (m *model) lines() map[string]string {
	out := map[string]string{}
	holds, waits, keys := map[string][]string{}, map[string][]string{}, map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(m.locks)) {
		l := m.locks[name]
		var holders, queue []string
		for _, g := range l.holders {
			holders = append(holders, fmt.Sprint(*g))
			holds[g.session] = append(holds[g.session], name)
		}
		for _, p := range l.queue {
			queue = append(queue, fmt.Sprint(p))
			if !slices.Contains(waits[p.session], name) {
				waits[p.session] = append(waits[p.session], name)
			}
		}
		slots := 0
		if l.inUse() {
			slots = l.slots
		}
		if l.changed != 0 {
			out["lock "+name] = fmt.Sprint(slots, holders, queue, l.past, l.changed, l.delayed, l.delayFor, yield{l.asked, l.within, l.why})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		e := m.entries[key]
		out["entry "+key] = fmt.Sprint(e)
		keys[e.session] = append(keys[e.session], key)
	}
	for id, s := range m.sessions {
		out["session "+id] = fmt.Sprint(s.renewals, s.bound, holds[id], waits[id], keys[id])
	}
	for name, highest := range m.fences {
		out["fence "+name] = fmt.Sprint(highest)
	}
	for revision, events := range m.told {
		out[fmt.Sprint("events ", revision)] = fmt.Sprint(events)
	}
	return out
}

// shown are events as the model tells of them.
func shown(events []Event) (out []string) {
	for _, e := range events {
		g := modelGrant{e.Session, e.Fence, e.Mode == Shared, e.Type == EventLeader, e.Value}
		s := fmt.Sprint("unknown ", e)
		switch e.Type {
		case EventPut:
			s = fmt.Sprintf("put %s %v", e.Name, modelEntry{string(e.Entry.Value), e.Entry.Revision, e.Entry.Created, e.Entry.Version, e.Session})
		case EventDelete:
			s = fmt.Sprintf("delete %s %s", e.Name, e.Session)
		case EventExpire:
			s = fmt.Sprintf("expire %s %s", e.Name, e.Session)
		case EventLock:
			s = fmt.Sprintf("lock %s %v", e.Name, g)
		case EventLeader:
			s = fmt.Sprintf("leader %s %v", e.Name, g)
		case EventUnlock:
			s = fmt.Sprintf("unlock %s %s %d %v %s", e.Name, e.Session, e.Fence, e.Mode == Shared, e.Reason)
		case EventSession:
			s = fmt.Sprintf("session %s %s", e.Name, e.Reason)
		case EventYield:
			s = fmt.Sprintf("yield %s %v %s %v %s", e.Name, e.Fence, e.Session, e.Within, e.Reason)
		}
		out = append(out, s)
	}
	return out
}

// essence keeps of r what the model knows.
func essence(r Result) Result {
	r.Detail, r.Revision, r.TTL = "", 0, 0
	return r
}

// A drawer makes random commands over few names, so that they meet often.
type drawer struct {
	t *rapid.T
	m *model
	n int // of the command
}

// upTo draws a number up to n, all equally often: small ones are not simpler here.
func (d *drawer) upTo(label string, n int) uint64 {
	x := rapid.Uint32().Draw(d.t, label)
	return uint64(x*0x9e3779b1>>8) % uint64(n+1)
}

func (d *drawer) one(label string, of ...string) string { return of[d.upTo(label, len(of)-1)] }

func (d *drawer) yes(label string) bool { return d.upTo(label, 1) == 1 }

// request is mostly a new one.
func (d *drawer) request() Request {
	if d.upTo("repeat", 9) > 0 {
		return req(fmt.Sprintf("r%d", d.n))
	}
	return req(fmt.Sprintf("r%d", d.n-1-int(d.upTo("back", 7))))
}

func (d *drawer) lock() string { return d.one("lock", "k", "k", "l", "s") }

// session is mostly one that lives.
func (d *drawer) session() string {
	if len(d.m.sessions) == 0 || d.upTo("stranger", 14) == 0 {
		return d.one("session", "a", "b", "c", "d", "x")
	}
	return d.one("session", slices.Sorted(maps.Keys(d.m.sessions))...)
}

// fresh is mostly a new session's name.
func (d *drawer) fresh(prefix string) string {
	if d.upTo("old", 3) == 0 {
		return d.session()
	}
	return fmt.Sprint(prefix, d.n)
}

// fence is mostly one of a holder of the lock name.
func (d *drawer) fence(name string) uint64 {
	l := d.m.lock(name)
	if len(l.holders) == 0 || d.upTo("wrong", 5) == 0 {
		return d.upTo("fence", int(d.m.revision))
	}
	return l.holders[d.upTo("holder", len(l.holders)-1)].fence
}

func (d *drawer) command() Command {
	id, lock, session := d.request(), d.lock(), d.session()
	kinds := []string{
		"open", "end", "expire", "delay", "delay", "acquire", "acquire", "acquire", "acquire", "acquire", "acquire", "acquire",
		"acquire", "acquire", "open acquire", "open acquire", "all", "cancel", "release", "release", "release",
		"rare", "rare", "rare", "rare", "rare", "rare", "rare", "rare",
	}
	switch d.one("kind", kinds...) {
	case "open":
		if len(d.m.sessions) > 6 {
			return &EndCommand{Request: id, ID: session}
		}
		return &OpenCommand{Request: id, ID: d.fresh("a"), TTL: time.Second, LockDelay: time.Duration(d.upTo("delay", 2))}
	case "end":
		return &EndCommand{Request: id, ID: session}
	case "expire":
		var renewals uint64
		if s := d.m.sessions[session]; s != nil {
			renewals = s.renewals + d.upTo("off", 1)
		}
		return &ExpireCommand{Session: session, Ballot: b(0), Renewals: renewals}
	case "delay":
		return &DelayCommand{Lock: lock, Since: d.m.lock(lock).delayed, Ballot: b(0)}
	case "acquire":
		return d.acquire(&AcquireCommand{Request: id, Lock: lock, Session: session})
	case "open acquire":
		return d.acquire(&AcquireCommand{Request: id, Lock: lock, Session: d.fresh("o"), Open: true})
	case "all":
		return &AcquireAllCommand{Request: id, Session: session, Locks: []string{lock, d.one("other", "k", "l", "m", "n")}}
	case "cancel":
		if q := d.m.lock(lock).queue; len(q) > 0 && d.yes("real") {
			p := q[d.upTo("which", len(q)-1)]
			return &CancelCommand{Request: req(p.request), Lock: lock, Session: p.session}
		}
		return &CancelCommand{Request: id, Lock: lock, Session: session}
	case "release":
		c := &ReleaseCommand{Request: id, Lock: lock, Fence: d.fence(lock), Force: d.upTo("force", 3) == 0, Reason: "why"}
		if d.yes("named") {
			c.Session = session
		}
		return c
	}
	return d.rare(id, lock, session)
}

// acquire chooses how.
func (d *drawer) acquire(c *AcquireCommand) Command {
	c.Wait = d.upTo("wait", 2) > 0
	switch how := d.upTo("how", 9); {
	case c.Lock == "s" && how < 9:
		c.Slots = 2
	case how < 4:
		c.Shared = true
	case how < 6:
		c.Campaign, c.Value = true, d.one("value", "v", "w")
	case how == 9: // whatever it is
		c.Slots, c.Shared, c.Campaign = d.upTo("slots", 3), d.yes("shared"), d.yes("campaign")
	}
	return c
}

func (d *drawer) rare(id Request, lock, session string) Command {
	switch d.one("rare", "yield", "yield", "end yield", "proclaim", "transfer", "transfer", "advance", "forget", "compact",
		"put", "put", "put if", "delete", "txn", "txn") {
	case "yield":
		return &YieldCommand{Request: id, Lock: lock, Within: time.Duration(d.upTo("within", 2)), Reason: d.one("why", "x", "y")}
	case "end yield":
		return &EndYieldCommand{Lock: lock, Since: d.m.lock(lock).asked, Ballot: b(0)}
	case "proclaim":
		return &ProclaimCommand{Request: id, Lock: lock, Fence: d.fence(lock), Value: d.one("value", "v", "w")}
	case "transfer":
		c := &TransferCommand{Request: id, Lock: lock, To: session}
		if d.yes("in term") {
			c.Fence = d.fence(lock)
		}
		for _, p := range d.m.lock(lock).queue {
			if p.campaign && d.yes("to candidate") {
				c.To = p.session
			}
		}
		return c
	case "advance":
		return &AdvanceCommand{Request: id, Resource: d.one("resource", "p", "q"), Fence: d.upTo("fence", 3)}
	case "forget":
		return &ForgetFenceCommand{Request: id, Resource: d.one("resource", "p", "q"), Fence: d.upTo("fence", 3)}
	case "compact":
		return &CompactCommand{UpTo: d.upTo("up to", int(d.m.revision))}
	case "put if":
		revision := d.m.entries["x"].revision + d.upTo("off", 1)
		return &PutCommand{Request: id, Key: "x", IfRevision: &revision, Guard: &Guard{Lock: lock, Fence: d.fence(lock)}}
	case "delete":
		c := &DeleteCommand{Request: id, Key: d.key()}
		if revision := d.m.entries[c.Key].revision + d.upTo("off", 1); d.yes("condition") {
			c.IfRevision = &revision
		}
		if d.yes("guard") {
			c.Guard = &Guard{Lock: lock, Fence: d.fence(lock)}
		}
		return c
	case "txn":
		return &TxnCommand{Request: id, If: d.ifs(), Then: d.ops(), Else: d.ops()}
	}
	return &PutCommand{
		Request: id, Key: d.key(), Value: []byte(fmt.Sprint(d.n)), Session: d.one("ephemeral", "", session), IfPresent: d.yes("present"),
	}
}

func (d *drawer) key() string { return d.one("key", "x", "y", "x/1", "x/2") }

func (d *drawer) ifs() (out []If) {
	for range d.upTo("conditions", 2) {
		c := If{Kind: IfKind(1 + d.upTo("if", 5)), Name: d.key()}
		switch c.Kind {
		case IfRevision:
			c.Revision = d.m.entries[c.Name].revision + d.upTo("off", 1)
		case IfValue:
			c.Value = []byte(d.m.entries[c.Name].value)
		case IfAlive:
			c.Name = d.session()
		case IfCurrent:
			c.Name = d.lock()
			c.Revision = d.fence(c.Name)
		}
		out = append(out, c)
	}
	return out
}

func (d *drawer) ops() (out []Op) {
	for i := range d.upTo("operations", 4) {
		o := Op{Kind: OpKind(1 + d.upTo("op", 3)), Key: d.key()}
		if o.Kind == OpPut {
			o.Value = fmt.Append(nil, d.n, ".", i)
			o.Session = d.one("ephemeral", "", "", d.session())
		}
		out = append(out, o)
	}
	return out
}

func TestMachineIsLikeTheModel(t *testing.T) { rapid.Check(t, likeTheModel) }

// FuzzModel has the fuzzer choose what rapid draws.
func FuzzModel(f *testing.F) {
	seed := make([]byte, 8<<10) // with less rapid draws nothing
	_, _ = rand.NewChaCha8([32]byte{1}).Read(seed)
	f.Add(seed)
	f.Fuzz(rapid.MakeFuzz(likeTheModel))
}

// likeTheModel gives a machine and the model the same commands, and compares them at
// each.
func likeTheModel(t *rapid.T) {
	bounds := formatBounds
	bounds.history, bounds.changes = modelPast, modelChanges
	x, m := NewMachine(), newModel()
	x.bounds = bounds
	var log [][]byte
	do := func(cmd Command) {
		log = append(log, Encode(cmd))
		now := time.Duration(len(log))
		res, err := DecodeResult(x.Apply(paxos.Slot(len(log)), log[len(log)-1], now))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := essence(res), m.apply(cmd); got != want {
			t.Fatalf("%T %+v\nmachine: %+v\nmodel:   %+v", cmd, cmd, got, want)
		}
		m.check(t, x)
	}
	do(&LeadCommand{Ballot: b(0)})
	for _, id := range []string{"a", "b", "c", "d"} { // so that queues form early
		do(&OpenCommand{ID: id, TTL: time.Second, Request: req("open " + id), LockDelay: time.Duration(strings.Index("abcd", id))})
	}
	for n := range rapid.IntRange(20, 100).Draw(t, "length") {
		d := drawer{t, m, n + 10}
		do(d.command())
		if d.upTo("restart", 9) == 0 {
			x = restored(t, x)
		}
	}
	replay := NewMachine()
	replay.bounds = bounds
	for _, cmd := range log {
		replay.Apply(0, cmd, time.Hour)
	}
	if replay.StateHash() != x.StateHash() {
		t.Fatal("snapshot and tail differ from the whole log")
	}
}

// restored returns a copy of x made through a snapshot.
func restored(t interface{ Fatalf(string, ...any) }, x *Machine) *Machine {
	data, err := encoded(x.Snapshot())
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	y := NewMachine()
	y.bounds = x.bounds
	if err := install(y, data); err != nil {
		t.Fatalf("restore: %v", err)
	}
	if again, _ := encoded(y.Snapshot()); !reflect.DeepEqual(data, again) {
		t.Fatalf("a snapshot changes by restoring it")
	}
	if x.bytes != y.bytes || x.history.Size() != y.history.Size() {
		t.Fatalf("counted %d bytes, %d of events; restored are %d and %d", x.bytes, x.history.Size(), y.bytes, y.history.Size())
	}
	return y
}
