package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
)

const (
	closeRows = 26 // calls of a close-up
	closeHigh = 17 // of each
	// closeMost is the longest time that a close-up shows. Calls that are further apart
	// are cut off.
	closeMost = 6 * time.Second
)

// closeup draws the first breach of c that names calls: these, and the calls of the same
// objects around them, one below the other, each with what it was. "" if none does.
func closeup(h *ops.History, c *verdict.Check) (text string, drawing template.HTML) {
	for _, o := range c.Offenders {
		var named []*ops.Op
		for _, op := range h.Ops {
			if slices.Contains(o.Lines, op.Seq) {
				named = append(named, op)
			}
		}
		if len(named) > 0 {
			return o.Text, draw(h, named)
		}
	}
	return "", ""
}

// draw draws named calls, and those of the same objects around them.
func draw(h *ops.History, named []*ops.Op) template.HTML {
	from, to := named[0].Call, named[0].Ended
	keys := map[string]bool{}
	for _, o := range named {
		from, to = min(from, o.Call), max(to, o.Ended)
		keys[o.Key] = true
	}
	pad := max((to-from)/6, 20*time.Millisecond)
	from, to = max(from-pad, 0), to+pad
	to = min(to, from+closeMost)
	var list []*ops.Op
	for _, o := range h.Ops {
		if !slices.Contains(named, o) && keys[o.Key] && o.Ended >= from && o.Call <= to {
			list = append(list, o)
		}
	}
	// Changes say more than reads, and what is near says more than what is far.
	middle := named[len(named)-1].Call
	slices.SortStableFunc(list, func(a, b *ops.Op) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare((a.Call-middle).Abs(), (b.Call-middle).Abs()))
	})
	list = append(slices.Clone(named), list[:min(len(list), max(closeRows-len(named), 0))]...)
	slices.SortStableFunc(list, func(a, b *ops.Op) int { return cmp.Compare(a.Call, b.Call) })

	c := &canvas{from: from, until: to, left: 12, y: 24}
	high := c.y + len(list)*closeHigh + 8
	for _, w := range h.Windows() {
		if w.End > from && w.Begin < to {
			c.box("shade", w.Begin, w.End, c.y, high-c.y, strings.Join(append([]string{w.Name}, w.Nodes...), " "))
		}
	}
	step := niceStep(to-from, 10)
	for t := from.Truncate(step) + step; t <= to; t += step {
		fmt.Fprintf(&c.b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", c.x(t), c.x(t), c.y, high)
		if c.x(t) < width-30 {
			c.label(c.x(t), 16, "tick mid", t.String())
		}
	}
	c.y += 4
	for _, o := range list {
		class := string(o.Kind)
		if slices.Contains(named, o) {
			class += " bad"
		}
		c.box(class, o.Call, o.Ended, c.y, closeHigh-5, o.String())
		c.beside(o, slices.Contains(named, o))
		c.y += closeHigh
	}
	return c.done("the calls of the first breach, close up")
}

// rank puts changes before reads.
func rank(o *ops.Op) int {
	if o.Changes() {
		return 0
	}
	return 1
}

// beside writes what a call was where there is most room: beside its bar, or in it.
func (c *canvas) beside(o *ops.Op, named bool) {
	text := fmt.Sprintf("%s %s", o.F, o.Key)
	for _, part := range []any{o.Args, o.Result} {
		if s := ops.Short(part); s != "" {
			text += " " + s
		}
	}
	switch {
	case o.Kind == history.Info:
		text += ", nobody knows what became of it"
	case o.Kind == history.Fail:
		text += ", refused " + o.Code
	}
	if o.Session != "" {
		text += ", session " + o.Session
	}
	if o.Fence != 0 {
		text += fmt.Sprintf(", fence %d", o.Fence)
	}
	if o.Revision != 0 {
		text += fmt.Sprintf(", revision %d", o.Revision)
	}
	text = fmt.Sprintf("%s by %d at %s", text, o.Process, cmp.Or(o.Node, "no node"))
	class, letter := "name", 6.6 // width of one, about
	if named {
		class, letter = "name named", 7.6
	}
	before, in, after := c.x(o.Call)-8, c.x(o.Ended)-c.x(o.Call)-8, width-c.x(o.Ended)-8
	fit := func(room float64) string { return short(text, int(math.Max(room/letter, 4))) }
	switch {
	case in > before && in > after:
		c.label(c.x(o.Call)+6, c.y+10, "inside", fit(in))
	case after >= before:
		c.label(c.x(o.Ended)+6, c.y+11, class, fit(after))
	default:
		c.label(c.x(o.Call)-6, c.y+11, class+" end", fit(before))
	}
}
