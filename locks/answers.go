package locks

// answers are the first answers to requests, so that a repeated one has no
// second effect. The oldest are dropped: when there are too many, and when the
// leader says by a [ForgetCommand] that they are old.
type answers struct {
	queue   []*answer // oldest first
	dropped uint64    // revision of the newest that was dropped

	byID map[string]*answer // derived
}

type answer struct {
	id       string
	hash     uint64
	revision uint64
	result   Result
}

func (a *answers) add(x *answer, limit int) {
	if a.byID == nil {
		a.byID = map[string]*answer{}
	}
	a.byID[x.id] = x
	a.queue = append(a.queue, x)
	for len(a.queue) > limit {
		a.drop()
	}
}

func (a *answers) drop() {
	x := a.queue[0]
	a.queue[0] = nil
	a.queue = a.queue[1:]
	a.dropped = x.revision
	delete(a.byID, x.id)
}

// forget drops the answers up to revision upTo.
func (a *answers) forget(upTo uint64) {
	for len(a.queue) > 0 && a.queue[0].revision <= upTo {
		a.drop()
	}
}

// oldest returns the revision of the oldest answer, or 0.
func (a *answers) oldest() uint64 {
	if len(a.queue) == 0 {
		return 0
	}
	return a.queue[0].revision
}

// table returns the answers that r's belongs to.
func (m *Machine) table(r Request) *answers {
	if r.Own {
		return &m.own
	}
	return &m.answers
}

// known returns the answer to a command that was applied before. A repetition
// that may have been applied and forgotten since is refused: it must not have
// its effect twice.
func (m *Machine) known(r Request) (Result, bool) {
	t := m.table(r)
	if a := t.byID[r.ID]; a != nil {
		if a.hash != r.Hash {
			return refused(KeyReused, "the idempotency key was used with another request"), true
		}
		res := a.result
		res.Repeated = true
		return res, true
	}
	if r.Retry && r.Since < t.dropped {
		return refused(OutcomeUnknown, "the request was sent before, and its answer is forgotten"), true
	}
	return Result{}, false
}

// remember keeps the first answer to r. Refusals after which the same request
// may be tried again are none.
func (m *Machine) remember(r Request, res Result) {
	if res.Refused && (res.Code == Overloaded || res.Code == TooLarge || res.Code == Internal) {
		return
	}
	limit := m.bounds.answers
	if r.Own {
		limit = m.bounds.ownAnswers
	}
	m.table(r).add(&answer{r.ID, r.Hash, m.revision, res}, limit)
}

// amend replaces the answer to r, whose acquire got a place in a queue at
// first and has now come to its end.
func (m *Machine) amend(r Request, res Result) {
	if a := m.table(r).byID[r.ID]; a != nil {
		res.Revision = m.revision
		a.result = res
	}
}
