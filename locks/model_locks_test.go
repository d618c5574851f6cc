package locks

import (
	"slices"
	"time"

	"github.com/prytany/prytany/locks/internal/command"
)

type modelLock struct {
	slots    int
	holders  []*modelGrant
	queue    []modelPlace
	past     []Past
	changed  uint64 // 0 if it was never held
	delayed  uint64
	delayFor time.Duration

	asked  uint64 // to yield
	within time.Duration
	why    string
}

type modelGrant struct {
	session string
	fence   uint64
	shared  bool
	elected bool
	value   string
}

type modelPlace struct {
	session  string
	request  string
	shared   bool
	campaign bool
	value    string
}

func (m *model) lock(name string) *modelLock {
	if m.locks[name] == nil {
		m.locks[name] = &modelLock{}
	}
	return m.locks[name]
}

func (l *modelLock) inUse() bool { return len(l.holders) > 0 || len(l.queue) > 0 || l.delayed != 0 }

func (l *modelLock) grantOf(session string) *modelGrant {
	for _, g := range l.holders {
		if g.session == session {
			return g
		}
	}
	return nil
}

func (l *modelLock) current(fence uint64) bool {
	return slices.ContainsFunc(l.holders, func(g *modelGrant) bool { return g.fence == fence })
}

func (l *modelLock) newest() (fence uint64) {
	for _, g := range l.holders {
		fence = max(fence, g.fence)
	}
	return fence
}

func (l *modelLock) leader() *modelGrant {
	if len(l.holders) == 1 && l.holders[0].elected {
		return l.holders[0]
	}
	return nil
}

// fits reports whether one more may hold l.
func (l *modelLock) fits(shared bool) bool {
	writers := 0
	for _, g := range l.holders {
		if !g.shared {
			writers++
		}
	}
	switch {
	case l.delayed != 0:
		return false
	case shared:
		return writers == 0
	}
	return len(l.holders) == writers && writers < l.slots
}

func (l *modelLock) granted(g *modelGrant) Result {
	return Result{Session: g.session, Fence: g.fence, Shared: g.shared, Slots: uint64(l.slots)}
}

func (l *modelLock) held() Result {
	r := Result{Refused: true, Code: LockHeld, Position: len(l.queue) + 1, Delayed: l.delayed != 0 && len(l.holders) == 0}
	if len(l.holders) > 0 {
		g := l.holders[0]
		r.Holder = command.Holder{
			Session: g.session, Owner: g.session, Fence: g.fence, Shared: g.shared, Elected: g.elected, Value: g.value,
		}
	}
	return r
}

func (m *model) serve(name string) {
	l := m.lock(name)
	for len(l.queue) > 0 && l.fits(l.queue[0].shared) {
		m.grant(name, l.queue[0])
	}
}

// grant gives the lock to p, and ends all places that its session has in the
// queue.
func (m *model) grant(name string, p modelPlace) *modelGrant {
	l := m.lock(name)
	g := &modelGrant{p.session, m.revision, p.shared, p.campaign, p.value}
	l.holders = append(l.holders, g)
	l.changed = m.revision
	if g.elected {
		m.tell("leader %s %v", name, *g)
	} else {
		m.tell("lock %s %v", name, *g)
	}
	var others []modelPlace
	for _, o := range l.queue {
		switch {
		case o.session != p.session:
			others = append(others, o)
		case o.shared != p.shared:
			m.answers[o.request] = no(UpgradeRefused)
		default:
			m.answers[o.request] = l.granted(g)
			if o.campaign && (!g.elected || g.value != o.value) {
				m.publish(name, g, o.value)
			}
		}
	}
	l.queue = others
	return g
}

func (m *model) publish(name string, g *modelGrant, value string) {
	g.elected, g.value = true, value
	m.lock(name).changed = m.revision
	m.tell("leader %s %v", name, *g)
}

// noted notes that g is over.
func (m *model) noted(name string, g *modelGrant, reason string) {
	l := m.lock(name)
	l.past = slices.Insert(l.past, 0, Past{g.session, g.session, g.fence, m.revision, reason})
	l.past = l.past[:min(len(l.past), modelPast)]
	l.changed = m.revision
	m.tell("unlock %s %s %d %v %s", name, g.session, g.fence, g.shared, reason)
}

func (m *model) free(name string, g *modelGrant, reason string) {
	l := m.lock(name)
	l.holders = slices.DeleteFunc(slices.Clone(l.holders), func(o *modelGrant) bool { return o == g })
	m.noted(name, g, reason)
	for _, o := range l.holders {
		if o.fence < l.asked {
			return
		}
	}
	l.asked, l.within, l.why = 0, 0, ""
}

// dismiss ends a grant, and a session that was made for it.
func (m *model) dismiss(name string, g *modelGrant, reason string) {
	m.free(name, g, reason)
	if s := m.sessions[g.session]; s.bound == name {
		m.end(g.session, reason)
	}
}

func (m *model) acquire(c *AcquireCommand) Result {
	r, ok := m.alive(c.Session)
	if !ok && !c.Open {
		return r
	}
	l, slots := m.lock(c.Lock), max(int(c.Slots), 1)
	switch {
	case slots > 1 && c.Shared, slots > 1 && c.Campaign, c.Shared && c.Campaign:
		return no(Invalid)
	case l.inUse() && l.slots != slots:
		return Result{Refused: true, Code: LimitMismatch, Slots: uint64(l.slots)}
	case l.grantOf(c.Session) != nil:
		return m.again(c, l, l.grantOf(c.Session))
	}
	if !l.inUse() {
		l.slots = slots
	}
	fits := len(l.queue) == 0 && l.fits(c.Shared)
	switch {
	case !fits && !c.Wait:
		return l.held()
	case !ok && m.dead[c.Session]:
		return no(SessionExpired)
	case !ok:
		m.open(c.Session, &modelSession{bound: c.Lock})
	}
	p := modelPlace{c.Session, c.Request.ID, c.Shared, c.Campaign, ""}
	if c.Campaign {
		p.value = c.Value
	}
	if fits {
		m.sessions[c.Session].renewals++
		return l.granted(m.grant(c.Lock, p))
	}
	l.queue = append(l.queue, p)
	return Result{Queued: true, Session: c.Session, Position: len(l.queue)}
}

// again is an acquire of who has g.
func (m *model) again(c *AcquireCommand, l *modelLock, g *modelGrant) Result {
	up, down := g.shared && !c.Shared, !g.shared && c.Shared
	switch {
	case down && g.elected:
		return no(Invalid)
	case up && (len(l.holders) > 1 || l.delayed != 0):
		return no(UpgradeRefused)
	}
	m.sessions[c.Session].renewals++
	if up {
		m.noted(c.Lock, g, "upgraded")
		g.fence = m.revision
		l.asked, l.within, l.why = 0, 0, ""
	}
	if up || down {
		g.shared = c.Shared
		l.changed = m.revision
		m.tell("lock %s %v", c.Lock, *g)
		m.serve(c.Lock)
	}
	if c.Campaign && (!g.elected || g.value != c.Value) {
		m.publish(c.Lock, g, c.Value)
	}
	return l.granted(g)
}

func (m *model) acquireAll(c *AcquireAllCommand) Result {
	if r, ok := m.alive(c.Session); !ok {
		return r
	}
	var bad, got []command.HeldLock
	for i, name := range c.Locks {
		if slices.Index(c.Locks, name) != i {
			return no(Invalid)
		}
		l := m.lock(name)
		g := l.grantOf(c.Session)
		if own := g != nil && !g.shared && l.slots == 1; !own && l.inUse() {
			r := l.held()
			bad = append(bad, command.HeldLock{Name: name, Holder: r.Holder, Position: r.Position, Delayed: r.Delayed})
		}
	}
	if bad != nil {
		return Result{Refused: true, Code: LockHeld, Body: command.EncodeHeld(bad)}
	}
	m.sessions[c.Session].renewals++
	for _, name := range c.Locks {
		g := m.lock(name).grantOf(c.Session)
		if g == nil {
			m.lock(name).slots = 1
			g = m.grant(name, modelPlace{session: c.Session})
		}
		got = append(got, command.HeldLock{Name: name, Holder: command.Holder{Session: c.Session, Fence: g.fence}})
	}
	return Result{Session: c.Session, Body: command.EncodeHeld(got)}
}

func (m *model) cancel(c *CancelCommand) Result {
	l := m.lock(c.Lock)
	held := l.held()
	i := slices.IndexFunc(l.queue, func(p modelPlace) bool { return p.session == c.Session && p.request == c.Request.ID })
	if i >= 0 {
		held.Position = i + 1
		m.answers[c.Request.ID] = held
		l.queue = slices.Delete(l.queue, i, i+1)
		others := slices.ContainsFunc(l.queue, func(p modelPlace) bool { return p.session == c.Session })
		if m.sessions[c.Session].bound == c.Lock && !others {
			m.end(c.Session, "ended")
		}
		m.serve(c.Lock)
		return held
	}
	a, known := m.answers[c.Request.ID]
	if known && a.Refused {
		return a
	}
	if g := l.grantOf(c.Session); g != nil {
		return l.granted(g)
	}
	if !known {
		m.answers[c.Request.ID] = held
		return held
	}
	if r, ok := m.alive(c.Session); !ok {
		return r
	}
	return held
}

func (m *model) release(c *ReleaseCommand) Result {
	l := m.lock(c.Lock)
	if c.Force && len(l.holders) == 0 && l.delayed != 0 {
		l.delayed, l.delayFor = 0, 0
		m.serve(c.Lock)
		return Result{}
	}
	var found []*modelGrant
	for _, g := range l.holders {
		if c.Force || g.fence == c.Fence && (c.Session == "" || c.Session == g.session) {
			found = append(found, g)
		}
	}
	switch {
	case len(found) == 0:
		return Result{Refused: true, Code: StaleFence, Current: l.newest()}
	case len(found) > 1 && !c.Force:
		return no(SessionNeeded)
	}
	r, reason := Result{Session: found[0].session, Fence: found[0].fence}, "released"
	if c.Force {
		reason = "forced: " + c.Reason
	}
	for _, g := range found {
		m.dismiss(c.Lock, g, reason)
	}
	m.serve(c.Lock)
	return r
}

func (m *model) yield(c *YieldCommand) Result {
	l := m.lock(c.Lock)
	if len(l.holders) == 0 {
		return no(LockUnknown)
	}
	everybody := !slices.ContainsFunc(l.holders, func(g *modelGrant) bool { return g.fence > l.asked })
	if l.within == 0 || c.Within > 0 && !(everybody && c.Within >= l.within) {
		l.asked, l.within, l.why = m.revision, c.Within, c.Reason
	}
	for _, g := range l.holders {
		m.tell("yield %s %v %s %v %s", c.Lock, g.fence, g.session, c.Within, c.Reason)
	}
	return Result{Session: l.holders[0].session, Fence: l.holders[0].fence}
}

func (m *model) endYield(c *EndYieldCommand) {
	l := m.lock(c.Lock)
	if l.asked == 0 || l.asked != c.Since || l.within == 0 {
		return
	}
	since, why := l.asked, l.why
	for _, g := range l.holders {
		if g.fence < since {
			m.dismiss(c.Lock, g, "yielded: "+why)
		}
	}
	m.serve(c.Lock)
}

func (m *model) proclaim(c *ProclaimCommand) Result {
	l := m.lock(c.Lock)
	g := l.leader()
	if g == nil || g.fence != c.Fence {
		return Result{Refused: true, Code: StaleFence, Current: l.newest()}
	}
	m.publish(c.Lock, g, c.Value)
	return l.granted(g)
}

func (m *model) transfer(c *TransferCommand) Result {
	l := m.lock(c.Lock)
	old := l.leader()
	i := slices.IndexFunc(l.queue, func(p modelPlace) bool { return p.session == c.To && p.campaign })
	switch {
	case l.changed == 0:
		return no(NotCandidate)
	case c.Fence != 0 && (old == nil || old.fence != c.Fence):
		return Result{Refused: true, Code: StaleFence, Current: l.newest()}
	case old != nil && old.session == c.To:
		return l.granted(old)
	case i < 0:
		return no(NotCandidate)
	case old == nil && len(l.holders) > 0:
		return Result{Refused: true, Code: NotCandidate, Current: l.newest()}
	case l.delayed != 0:
		return l.held()
	}
	p := l.queue[i]
	if old != nil {
		m.free(c.Lock, old, "transferred")
	}
	g := m.grant(c.Lock, p)
	if old != nil && m.sessions[old.session].bound == c.Lock {
		m.end(old.session, "transferred")
	}
	return l.granted(g)
}
