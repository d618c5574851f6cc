package linear

import (
	"github.com/anishathalye/porcupine"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
)

// The states of a session.
const (
	unborn = "unborn"
	alive  = "alive"
	dead   = "dead"
)

// sessionStep does what s says: whether it can be, and the state after it.
func sessionStep(state string, s step) (bool, string) {
	over := func() string {
		if state == alive {
			return dead
		}
		return state
	}
	if s.op == nil {
		return true, over()
	}
	switch o := s.op; {
	case o.Kind == history.Info && o.F == history.CloseS:
		return true, over()
	case o.Kind == history.Info:
		return true, state
	case o.Code == string(api.CodeSessionExpired):
		return state == dead, state
	case o.Code == string(api.CodeSessionUnknown):
		return state != alive, state
	case o.F == history.Open:
		return state == unborn, alive
	case o.Soft():
		return state != unborn, dead
	case o.F == history.CloseS:
		return state == alive, dead
	}
	return state == alive, state
}

// sessions makes a partition of each session.
func (s *splitter) sessions() []*partition {
	parts := map[string]*partition{}
	for _, o := range s.h.Ops {
		id := o.About()
		if id == "" || !tellsOfSession(o) {
			continue
		}
		if parts[id] == nil {
			first := unborn
			if l := s.lives[id]; l == nil || l.Opened == nil {
				first = alive // nobody was told when it began
			}
			parts[id] = &partition{name: id, model: porcupine.Model{
				Init: func() any { return first },
				Step: func(state, input, _ any) (bool, any) {
					return sessionStep(state.(string), input.(step))
				},
				DescribeOperation: func(in, _ any) string { return in.(step).String() },
				DescribeState:     func(s any) string { return s.(string) },
			}}
		}
		parts[id].add(o)
	}
	for id, p := range parts {
		if c := s.lives[id].Closed; c != nil && c.Kind == history.OK && !c.Soft() {
			continue // its own call ends it
		}
		s.expire(p, id)
	}
	return group(parts)
}

// tellsOfSession reports whether what became of o depends on its session.
func tellsOfSession(o *ops.Op) bool {
	over := o.Code == string(api.CodeSessionExpired) || o.Code == string(api.CodeSessionUnknown)
	switch o.F {
	case history.Open, history.KeepAlive, history.Acquire, history.AcquireAll:
		return o.Kind == history.OK || o.Kind == history.Fail && over
	case history.CloseS:
		return o.Kind != history.Fail || over
	}
	return o.Service() && o.Kind == history.Fail && over
}
