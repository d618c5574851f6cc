// Package linear is the second verdict on a history: is it linearizable, judged by
// Porcupine from nothing but what clients asked and were told? It knows neither slots
// nor the log, so that it also notices what the certificate of package check could
// only believe.
//
// A history falls into partitions: a register, registers that transactions bind
// together, a lock, a semaphore, an election, a register of fences, a session. The search is exponential, so
// partitions should be small: above [MaxOps] calls or [MaxUnknown] of which nobody
// knows, a partition is still tried, and the check says how many were. One that is not
// decided in time is undecided, never passed.
//
// # What nobody knows
//
// A call without an answer may happen as late as the end, and is always possible: it
// does what it asked for if that can be, and nothing otherwise. To put it last is to
// say that it never happened.
//
// A session dies unseen. Each has a synthetic operation Expire that ends it and frees
// its locks: not before the time that its last acknowledged renewal gave it, and not
// after the first answer that says so. Renewals of which nobody knows do not move it.
// Who was told too early has an Expire that comes too late for the answer, and so the
// history fails, as it should.
//
// The models are not those of internal/sim: there a grant may end at any moment, since
// the simulator sees every command and its audit judges leases. Here nothing but the
// bound on Expire says when a lock may be free again.
package linear

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/internal/sabotage"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
)

// The size up to which a partition is decided quickly even if it is not linearizable.
const (
	MaxOps     = 200
	MaxUnknown = 6
)

// maxFiles is for how many partitions of one check a visualisation is made.
const maxFiles = 3

// Options of [Check].
type Options struct {
	Patience time.Duration // for each partition
	Steps    int           // of a model, for each partition; 0 for as many as there is time for
	Wild     bool          // clocks were made to misbehave: leases may end at any time
}

// A step is what a model is given: a call, or a session's Expire.
type step struct {
	op   *ops.Op // nil for Expire
	kill string  // the session that ends
	ends bool    // op is a request to yield, and the time that it gave is over
	// perhaps says that it does what it asks for if that can be, and nothing otherwise.
	perhaps bool
	// again says that op is there as perhaps, too, which may not come later.
	again bool
}

func (s step) String() string {
	if s.op == nil {
		return "session " + s.kill + " expires"
	}
	if s.ends {
		return "the time is over that was given by " + s.op.String()
	}
	if s.perhaps {
		return "perhaps " + s.op.String()
	}
	return s.op.String()
}

// A partition is what is judged by itself.
type partition struct {
	name    string
	model   porcupine.Model
	ops     []porcupine.Operation
	unknown int
}

// add adds a call.
func (p *partition) add(o *ops.Op) {
	if o.Kind == history.Info {
		p.unknown++
	}
	p.span(step{op: o, perhaps: o.Kind == history.Info}, o.Process, o.Call, o.End)
}

func (p *partition) span(s step, client int, call, end time.Duration) {
	if sabotage.On(sabotage.IgnoreTime) {
		call, end = 0, ops.Never
	}
	p.ops = append(p.ops, porcupine.Operation{ClientId: client, Input: s, Call: int64(call), Return: int64(end)})
}

// Check judges h.
func Check(h *ops.History, o Options) ([]*verdict.Check, []verdict.File) {
	s := &splitter{h: h, lives: ops.Lives(h, h.Run.Drift), wild: o.Wild}
	registers, transactions := s.registers()
	plain, semaphores, elections := s.locks()
	var checks []*verdict.Check
	var files []verdict.File
	for _, kind := range []struct {
		name, title string
		parts       []*partition
	}{
		{"linear-registers", "each register is linearizable", registers},
		{"linear-transactions", "registers that transactions bind together are linearizable", transactions},
		{"linear-locks", "each lock is linearizable, with leases that end no earlier than they may", plain},
		{"linear-semaphores", "each semaphore is, too", semaphores},
		{"linear-elections", "each election is, too", elections},
		{"linear-fences", "each register of fences is linearizable", s.fences()},
		{"linear-sessions", "each session begins, lives, and ends for good", s.sessions()},
	} {
		c := verdict.New(kind.name, kind.title)
		files = append(files, judge(c, kind.parts, h, o)...)
		checks = append(checks, c)
	}
	return checks, files
}

// judge tries all partitions of a kind.
func judge(c *verdict.Check, parts []*partition, h *ops.History, o Options) (files []verdict.File) {
	big, undecided := 0, []string{}
	for _, p := range parts {
		if len(p.ops) > MaxOps || p.unknown > MaxUnknown {
			big++
		}
		c.Counts["calls"] += int64(len(p.ops))
		if sabotage.On(sabotage.AcceptAll) {
			p.model.Step = func(state, _, _ any) (bool, any) { return true, state }
		}
		result, info := p.search(o)
		switch result {
		case porcupine.Unknown:
			undecided = append(undecided, fmt.Sprintf("%s (%d calls, %d of them unknown)", p.name, len(p.ops), p.unknown))
		case porcupine.Illegal:
			text, who := explain(p, &info)
			c.Fail(fmt.Sprintf("%s is not linearizable: %s", p.name, text), who...)
			if len(files) < maxFiles {
				files = append(files, picture(c.Name, p, &info, h))
			}
		}
	}
	c.Counts["partitions"] = int64(len(parts))
	if big > 0 {
		c.Say("%d of %d partitions have more than %d calls, or more than %d of which nobody knows", big, len(parts), MaxOps, MaxUnknown)
	}
	if len(undecided) > 0 {
		c.Doubt("not decided within %s: %s", o.bounds(), strings.Join(undecided, ", "))
	}
	if len(parts) == 0 {
		c.Nothing("there is none")
	}
	return files
}

// search looks for an order of the calls of p. After as many steps as there may be none is
// possible, so that it soon ends: that no order was found means nothing then.
func (p *partition) search(o Options) (porcupine.CheckResult, porcupine.LinearizationInfo) {
	m, steps := p.model, 0
	m.Step = func(state, input, output any) (bool, any) {
		if steps++; o.Steps > 0 && steps > o.Steps {
			return false, state
		}
		return p.model.Step(state, input, output)
	}
	result, info := porcupine.CheckOperationsVerbose(m, p.ops, o.Patience)
	if result == porcupine.Illegal && o.Steps > 0 && steps > o.Steps {
		result = porcupine.Unknown
	}
	return result, info
}

// bounds says what a search is given.
func (o Options) bounds() string {
	if o.Steps > 0 {
		return fmt.Sprintf("%v and %d steps", o.Patience, o.Steps)
	}
	return o.Patience.String()
}

// explain names the last call of the longest order that was found, and the first to
// return that does not fit into it.
func explain(p *partition, info *porcupine.LinearizationInfo) (string, []verdict.About) {
	var longest []int
	for _, part := range info.PartialLinearizations() {
		for _, order := range part {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	in := map[int]bool{}
	for _, id := range longest {
		in[id] = true
	}
	var who []verdict.About
	tell := func(i int) {
		s := p.ops[i].Input.(step)
		a := verdict.About{Text: s.String()}
		if s.op != nil {
			a.Line = s.op.Seq
		}
		who = append(who, a)
	}
	if len(longest) > 0 {
		tell(longest[len(longest)-1])
	}
	next := -1
	for i := range p.ops {
		if !in[i] && (next < 0 || p.ops[i].Return < p.ops[next].Return) {
			next = i
		}
	}
	if next >= 0 {
		tell(next)
	}
	return fmt.Sprintf("of %d calls %d can be put in an order, and the next to return does not follow", len(p.ops), len(longest)), who
}

// picture is Porcupine's own view of what went wrong.
func picture(kind string, p *partition, info *porcupine.LinearizationInfo, h *ops.History) verdict.File {
	var notes []porcupine.Annotation
	for _, w := range h.Windows() {
		notes = append(notes, porcupine.Annotation{
			Tag: "faults", Start: int64(w.Begin), End: int64(max(w.End, w.Begin+1)), Description: w.Name + " " + strings.Join(w.Nodes, " "),
		})
	}
	info.AddAnnotations(notes)
	var b bytes.Buffer
	if err := porcupine.Visualize(p.model, *info, &b); err != nil {
		b.WriteString("the visualisation could not be made: " + err.Error())
	}
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, p.name)
	return verdict.File{Name: kind + "-" + safe + ".html", Title: kind + ": " + p.name, Data: b.Bytes()}
}

// A splitter makes partitions.
type splitter struct {
	h     *ops.History
	lives map[string]*ops.Life
	wild  bool
}

// expire adds what may end a session: its owner, and its lease.
func (s *splitter) expire(p *partition, id string) {
	l := s.lives[id]
	if l == nil {
		return
	}
	client := len(s.h.Ops) + 1 // of nobody; the visualisation wants a number
	from, to := l.AtLeast, ops.Never
	if l.Renewed == nil {
		from = 0
	}
	if s.wild && l.Opened != nil {
		from = l.Opened.Call
	}
	if c := l.Closed; c != nil {
		p.span(step{kill: id}, client, c.Call, c.End)
		if c.Kind == history.OK && !c.Soft() {
			return
		}
		if c.Soft() && c.End >= from {
			to = c.End
		}
	} else if l.Told != nil && l.Told.End >= from {
		to = l.Told.End
	}
	if from <= s.h.Until {
		p.span(step{kill: id}, client, from, to)
	}
}

// group collects partitions by name, in order.
func group(of map[string]*partition) []*partition {
	return slices.SortedFunc(maps.Values(of), func(a, b *partition) int { return cmp.Compare(a.name, b.name) })
}
