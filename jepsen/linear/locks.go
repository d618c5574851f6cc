package linear

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
)

// A hold is one holder's.
type hold struct {
	session string
	fence   uint64 // 0 if nobody was told
	shared  bool
	value   string
	above   uint64 // with fence 0: the highest fence when it was granted
	open    bool   // what it publishes is not known: it was chosen out of turn
	asked   string // calls that have asked it to let go after a while, as [mark] writes them
}

// A lock is the state of one, as far as clients can know it. It never changes.
type lock struct {
	holds   []hold // by session
	high    uint64 // fence
	dead    []string
	granted []uint64 // acquires that were granted before they were denied, by Seq
	told    []uint64 // those of them, or that might have been, which were denied
}

// A kind is how a lock is used: by how many, and whether anybody shares it.
type kind struct {
	slots  int
	shared bool
	value  bool // it is an election
}

func (l lock) spell() string {
	return fmt.Sprintf("held by %v, dead %v, fences up to %d, granted %v, told %v", l.holds, l.dead, l.high, l.granted, l.told)
}

func (l lock) find(session string) int {
	return slices.IndexFunc(l.holds, func(h hold) bool { return h.session == session })
}

func (l lock) with(h hold) lock {
	l.holds = slices.DeleteFunc(slices.Clone(l.holds), func(o hold) bool { return o.session == h.session })
	l.holds = append(l.holds, h)
	slices.SortFunc(l.holds, func(a, b hold) int { return cmp.Compare(a.session, b.session) })
	l.high = max(l.high, h.fence)
	return l
}

func (l lock) without(session string) lock {
	l.holds = slices.DeleteFunc(slices.Clone(l.holds), func(o hold) bool { return o.session == session })
	return l
}

// admits reports whether one more may hold l.
func (l lock) admits(k kind, shared bool) bool {
	return len(l.holds) < k.slots || shared && !slices.ContainsFunc(l.holds, func(h hold) bool { return !h.shared })
}

// step does what a step says: whether it can be, and the state after it.
func (l lock) step(k kind, s step) (bool, lock) {
	if s.op == nil || s.op.F == history.CloseS {
		if i, there := slices.BinarySearch(l.dead, s.kill); !there {
			l.dead = slices.Insert(slices.Clone(l.dead), i, s.kill)
		}
		return true, l.without(s.kill)
	}
	switch o := s.op; o.F {
	case history.Acquire:
		return l.acquire(k, s)
	case history.Release:
		return l.release(k, o)
	case history.Holder:
		return l.seen(k, o)
	}
	return l.order(k, s)
}

func (l lock) acquire(k kind, s step) (bool, lock) {
	o := s.op
	a, _ := history.Decode[history.AcquireArgs](o.Args)
	_, dead := slices.BinarySearch(l.dead, o.Session)
	i := l.find(o.Session)
	want := hold{session: owner(o), fence: o.Fence, shared: a.Shared, value: a.Value}
	if i >= 0 && (l.holds[i].shared == a.Shared || a.Shared) { // it keeps its grant
		want.asked = l.holds[i].asked
	}
	if s.perhaps && o.Kind == history.Fail && o.Code == string(api.CodeLockHeld) {
		if slices.Contains(l.told, o.Seq) || dead || i >= 0 || !l.admits(k, a.Shared) {
			return true, l
		}
		l.granted = with(l.granted, o.Seq)
	}
	switch {
	case s.perhaps && i >= 0 && !dead && a.Value != "": // a leader publishes another value
		want = l.holds[i]
		want.value, want.open = a.Value, false
		return true, l.with(want)
	case s.perhaps && (dead || i >= 0 || !l.admits(k, a.Shared)):
		return true, l
	case s.perhaps:
		want.fence, want.above = 0, l.high
		return true, l.with(want)
	case o.Kind == history.Fail && o.Code == string(api.CodeSessionExpired):
		return dead, l
	case o.Kind == history.Fail: // held by others
		if s.again {
			l.told = with(l.told, o.Seq)
		}
		return l.denied(k, o, a.Shared)
	case dead:
		return false, l
	case i >= 0 && l.holds[i].shared == a.Shared:
		return l.holds[i].fits(k, o.Fence), l.with(want)
	case i >= 0 && a.Shared: // a writer that begins to share keeps its fence
		return l.holds[i].fits(k, o.Fence), l.with(want)
	case i >= 0:
		return len(l.holds) == 1 && o.Fence > l.high, l.with(want)
	}
	higher := o.Fence > l.high || o.Fence == l.high && o.Fence > 0 && (k.slots > 1 || k.shared)
	return l.admits(k, a.Shared) && higher, l.with(want)
}

// unnamed begins the name of a session that nobody was told of.
const unnamed = "of request "

// owner names the session of an acquire: of one that was to be made, its request.
func owner(o *ops.Op) string {
	if o.Session == "" {
		return unnamed + o.Request
	}
	return o.Session
}

// with is s with n, in order.
func with(s []uint64, n uint64) []uint64 {
	i, there := slices.BinarySearch(s, n)
	if there {
		return s
	}
	return slices.Insert(slices.Clone(s), i, n)
}

// fits reports whether h may have a fence: its own or, if nobody was told, a higher one than
// there had been when it was granted.
func (h hold) fits(k kind, fence uint64) bool {
	if fence == 0 || h.fence != 0 {
		return fence != 0 && h.fence == fence
	}
	return fence > h.above || fence == h.above && (k.slots > 1 || k.shared)
}

// denied is an acquire that did not get the lock, or no longer has it: then the lock may be
// free. Who was told of holders has seen them. A reader may have to wait for a writer that
// waits, and a reader that wants to write for the others.
func (l lock) denied(k kind, o *ops.Op, shared bool) (bool, lock) {
	lost, holds := slices.Contains(l.granted, o.Seq), l.find(o.Session) >= 0
	waits := k.shared && shared && len(l.holds) > 0
	if holds && (lost || !k.shared) || !lost && l.admits(k, shared) && !waits {
		return false, l
	}
	r, _ := history.Decode[history.AcquireResult](o.Result)
	for _, h := range r.HeldBy {
		if ok, next := l.learn(k, h); ok {
			l = next
		} else {
			return false, l
		}
	}
	return true, l
}

// learn takes note that h was seen to hold l.
func (l lock) learn(k kind, h history.Hold) (bool, lock) {
	i := l.find(h.Session)
	if i < 0 {
		i = slices.IndexFunc(l.holds, func(o hold) bool { return o.fence == 0 && strings.HasPrefix(o.session, unnamed) })
		if i < 0 {
			return false, l
		}
	}
	is := l.holds[i]
	if !is.fits(k, h.Fence) || h.Value != "" && h.Value != is.value && !is.open {
		return false, l
	}
	if h.Value != "" {
		is.value, is.open = h.Value, false
	}
	next := l.without(is.session)
	is.session, is.fence = h.Session, h.Fence
	return true, next.with(is)
}

func (l lock) release(k kind, o *ops.Op) (bool, lock) {
	a, _ := history.Decode[history.ReleaseArgs](o.Args)
	fence := cmp.Or(a.Fence, o.Fence)
	i := slices.IndexFunc(l.holds, func(h hold) bool {
		if h.fence == 0 {
			return h.session == o.Session && (fence == 0 || h.fits(k, fence))
		}
		return h.fence == fence && (o.Session == "" || h.session == o.Session)
	})
	switch {
	case o.Kind == history.Info && i < 0:
		return true, l
	case o.Kind == history.Fail:
		return i < 0 || l.holds[i].fence == 0, l
	case i < 0:
		return false, l
	}
	if o.Kind == history.OK {
		l.high = max(l.high, fence)
	}
	return true, l.without(l.holds[i].session)
}

// seen is a read of who holds l.
func (l lock) seen(k kind, o *ops.Op) (bool, lock) {
	r, _ := history.Decode[history.HolderResult](o.Result)
	if len(r.Holders) != len(l.holds) {
		return false, l
	}
	told := map[string]bool{}
	for _, h := range r.Holders {
		ok, next := l.learn(k, h)
		if !ok || told[h.Session] {
			return false, l
		}
		l, told[h.Session] = next, true
	}
	return true, l
}

func lockModel(k kind) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return lock{} },
		Step: func(state, input, _ any) (bool, any) { return state.(lock).step(k, input.(step)) },
		Equal: func(a, b any) bool {
			x, y := a.(lock), b.(lock)
			return x.high == y.high && slices.Equal(x.granted, y.granted) && slices.Equal(x.told, y.told) && slices.Equal(x.holds, y.holds) && slices.Equal(x.dead, y.dead)
		},
		Hash: func(s any) uint64 {
			h := fnv.New64a()
			_, _ = h.Write([]byte(s.(lock).spell()))
			return h.Sum64()
		},
		DescribeOperation: func(in, _ any) string { return in.(step).String() },
		DescribeState:     func(s any) string { return s.(lock).spell() },
	}
}

// kinds finds out how locks are used.
func kinds(h *ops.History) map[string]kind {
	out := map[string]kind{}
	for _, o := range h.Ops {
		switch o.F {
		case history.Acquire:
			a, _ := history.Decode[history.AcquireArgs](o.Args)
			k := out[o.Key]
			out[o.Key] = kind{max(k.slots, a.Slots, 1), k.shared || a.Shared, k.value || a.Value != ""}
		case history.AcquireAll:
			a, _ := history.Decode[history.AcquireAllArgs](o.Args)
			for _, name := range a.Locks {
				k := out[name]
				k.slots = max(k.slots, 1)
				out[name] = k
			}
		}
	}
	return out
}

// A use is all that is said about one lock.
type use struct {
	*partition
	users  map[string]bool // sessions
	yields []*ops.Op
	denied []*ops.Op // acquires that were told who holds the lock
	takes  []*ops.Op // what may take a grant away from another session than that which asks
}

// locks makes a partition of each lock, with the ends of the sessions that used it.
func (s *splitter) locks() (plain, semaphores, elections []*partition) {
	all, uses := kinds(s.h), map[string]*use{}
	for _, whole := range s.h.Ops {
		for _, o := range each(whole) {
			k, used := all[o.Key]
			if !used || !tellsOfLock(o) {
				continue
			}
			u := uses[o.Key]
			if u == nil {
				u = &use{partition: &partition{name: o.Key, model: lockModel(k)}, users: map[string]bool{}}
				uses[o.Key] = u
			}
			s.use(u, o)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		u, k := uses[name], all[name]
		sessions := slices.Sorted(maps.Keys(u.users))
		for _, id := range sessions {
			s.expire(u.partition, id)
		}
		for _, o := range u.yields {
			s.ends(u.partition, o, k, sessions)
		}
		u.granted()
		switch {
		case k.value:
			elections = append(elections, u.partition)
		case k.slots > 1:
			semaphores = append(semaphores, u.partition)
		default:
			plain = append(plain, u.partition)
		}
	}
	return plain, semaphores, elections
}

// granted lets acquires have been granted that were answered only when somebody else had
// taken the grant away again: they are told who holds the lock then.
func (u *use) granted() {
	again := map[*ops.Op]bool{}
	for _, o := range u.denied {
		if slices.ContainsFunc(u.takes, func(t *ops.Op) bool { return takes(t, o) }) {
			again[o] = true
			u.span(step{op: o, perhaps: true}, o.Process, o.Call, o.End)
		}
	}
	for i := range u.ops {
		if s := u.ops[i].Input.(step); again[s.op] && !s.perhaps {
			s.again = true
			u.ops[i].Input = s
		}
	}
}

// takes reports whether t may take away what the acquire o has got.
func takes(t, o *ops.Op) bool {
	if t.Kind == history.Fail || t.Call > o.End {
		return false
	}
	if t.F == history.Yield { // takes later
		a, _ := history.Decode[history.YieldArgs](t.Args)
		return a.Within > 0
	}
	a, _ := history.Decode[history.TransferArgs](t.Args)
	return t.End >= o.Call && a.To != o.Session
}

// use adds a call to what is said about a lock.
func (s *splitter) use(u *use, o *ops.Op) {
	u.add(o)
	switch o.F {
	case history.Yield:
		u.yields = append(u.yields, o)
		u.takes = append(u.takes, o)
	case history.Transfer:
		u.takes = append(u.takes, o)
		if a, err := history.Decode[history.TransferArgs](o.Args); err == nil {
			u.users[a.To] = true
		}
	case history.Acquire:
		if o.Kind == history.Fail && o.Code == string(api.CodeSessionExpired) {
			// It may have held the lock until its session ended, and was told only that.
			u.span(step{op: o, perhaps: true}, o.Process, o.Call, ops.Never)
		}
		if o.Kind == history.Fail && o.Code == string(api.CodeLockHeld) {
			u.denied = append(u.denied, o)
		}
		if o.Session == "" && o.Kind == history.Info { // its session may end whenever it likes
			u.span(step{kill: owner(o)}, len(s.h.Ops)+1, o.Call, ops.Never)
		} else {
			u.users[o.Session] = true
		}
	}
}

// tellsOfLock reports whether what became of o depends on a lock.
func tellsOfLock(o *ops.Op) bool {
	switch o.F {
	case history.Acquire:
		return o.Kind != history.Fail || o.Code == string(api.CodeLockHeld) && o.Answered() || o.Code == string(api.CodeSessionExpired)
	case history.Release, history.Proclaim, history.Transfer:
		return o.Kind != history.Fail || o.Code == string(api.CodeStaleFence)
	case history.Yield:
		return o.Kind != history.Fail || o.Code == string(api.CodeLockUnknown)
	case history.Holder:
		return o.Kind == history.OK || o.Kind == history.Fail && o.Code == string(api.CodeLockUnknown)
	}
	return false
}
