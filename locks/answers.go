package locks

import "github.com/prytany/prytany/locks/internal/answers"

// table returns the answers that r's belongs to.
func (m *Machine) table(r Request) *answers.Table {
	if r.Own {
		return &m.own
	}
	return &m.answers
}

// known returns the answer to a command that was applied before. One that is
// older than what is remembered is refused: it must not have its effect twice.
// Not only a repetition can be. The first attempt may be left over in a slot
// that was not chosen, and be taken up long after the second had its answer,
// when that is forgotten. If it was not repeated, it has not happened.
func (m *Machine) known(r Request) (Result, bool) {
	t := m.table(r)
	if a := t.Get(r.ID); a != nil {
		if a.Hash != r.Hash {
			return refused(KeyReused, "the idempotency key was used with another request"), true
		}
		res := a.Result
		res.Repeated = true
		return res, true
	}
	switch {
	case r.Since >= t.Dropped:
		return Result{}, false
	case r.Retry:
		return refused(OutcomeUnknown, "the request was sent before, and its answer is forgotten"), true
	}
	return refused(Overloaded, "the request took too long to get here; nothing happened"), true
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
	m.table(r).Add(&answers.Answer{ID: r.ID, Hash: r.Hash, Revision: m.revision, Result: res}, limit, m.bounds.answerSize)
}

// amend replaces the answer to r, whose acquire got a place in a queue at
// first and has now come to its end. If that answer is forgotten, the id may
// belong to another request by now.
func (m *Machine) amend(r Request, res Result) {
	if a := m.table(r).Get(r.ID); a != nil && a.Hash == r.Hash && a.Result.Queued {
		res.Revision = m.revision
		m.table(r).Amend(a, res)
	}
}
