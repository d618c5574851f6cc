package report

import (
	"cmp"
	"fmt"
	"html/template"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
)

// The measures of a drawing, in its own units.
const (
	width    = 1240
	left     = 170 // of the names of lanes
	laneGap  = 8
	laneHigh = 46 // of a node
	rows     = 14 // of a lane: calls beyond that are drawn over each other
	maxLock  = 24 // lanes of locks
)

func keys[M ~map[K]V, K comparable, V any](m M) iter.Seq[K] { return maps.Keys(m) }

// A canvas collects the elements of a drawing.
type canvas struct {
	b     strings.Builder
	from  time.Duration
	until time.Duration
	left  int // where the axis of time begins
	y     int
}

// x is where a time is.
func (c *canvas) x(t time.Duration) float64 {
	t = min(max(t, c.from), c.until)
	return float64(c.left) + float64(t-c.from)/float64(max(c.until-c.from, 1))*float64(width-c.left-10)
}

// box draws a bar from one time to another; title is shown when a mouse rests on it.
func (c *canvas) box(class string, from, to time.Duration, y, high int, title string) {
	x := c.x(from)
	fmt.Fprintf(&c.b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s</title></rect>`+"\n",
		class, x, y, max(c.x(to)-x, 1.2), high, template.HTMLEscapeString(clean(title)))
}

func (c *canvas) label(x float64, y int, class, text string) {
	fmt.Fprintf(&c.b, `<text class="%s" x="%.1f" y="%d">%s</text>`+"\n", class, x, y, template.HTMLEscapeString(clean(text)))
}

// clean makes text what XML can hold.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0xfffe || r == 0xffff {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// done returns the drawing.
func (c *canvas) done(title string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n%s</svg>",
		width, c.y+10, template.HTMLEscapeString(title), c.b.String()))
}

// timeline draws the run.
func timeline(h *ops.History, bad map[uint64]bool) template.HTML {
	c := &canvas{until: h.Until, left: left, y: 20}
	step := niceStep(h.Until, 18)
	windows := h.Windows()
	// The height is known only in the end: lines and shades of faults reach far down,
	// and the drawing is cut off there.
	for _, w := range windows {
		c.box("shade", w.Begin, w.End, 24, 4000, strings.Join(append([]string{w.Name}, w.Nodes...), " "))
	}
	for t := time.Duration(0); t <= h.Until; t += step {
		fmt.Fprintf(&c.b, `<line class="grid" x1="%.1f" x2="%.1f" y1="24" y2="4000"/>`+"\n", c.x(t), c.x(t))
		c.label(c.x(t), 16, "tick mid", t.String())
	}
	breaches(c, h, bad)
	faults(c, windows)
	nodes(c, h, bad)
	locks(c, h)
	return c.done("the run on an axis of time")
}

// niceStep returns a step of time of which about n fit.
func niceStep(d time.Duration, n int) time.Duration {
	for _, s := range []time.Duration{
		time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
		10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute,
	} {
		if d/s <= time.Duration(n) {
			return s
		}
	}
	return max(d/time.Duration(n), time.Hour)
}

// breaches marks when calls began that a check names.
func breaches(c *canvas, h *ops.History, bad map[uint64]bool) {
	if len(bad) == 0 {
		return
	}
	c.label(4, c.y+16, "name named", "named by a check")
	for _, o := range h.Ops {
		if bad[o.Seq] {
			x := c.x(o.Call)
			fmt.Fprintf(&c.b, `<path class="mark" d="M%.1f %d l-5 -9 h10 z"><title>%s</title></path>`+"\n", x, c.y+18, template.HTMLEscapeString(clean(o.String())))
		}
	}
	c.y += 14
}

func faults(c *canvas, windows []ops.Window) {
	c.y += 10
	for i, w := range windows {
		if i >= 40 {
			c.label(left, c.y+10, "name", fmt.Sprintf("and %d faults more", len(windows)-i))
			c.y += 14
			break
		}
		c.label(4, c.y+10, "name", short(strings.Join(append([]string{w.Name}, w.Nodes...), " "), 26))
		class := "fault"
		if !w.Ended {
			class = "fault open"
		}
		c.box(class, w.Begin, w.End, c.y+1, 10, fmt.Sprintf("%s of %s, from %v to %v", w.Name, strings.Join(w.Nodes, " "), w.Begin, w.End))
		c.y += 15
	}
	c.y += laneGap
}

func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// nodes draws a lane for each node: the calls that it was asked.
func nodes(c *canvas, h *ops.History, bad map[uint64]bool) {
	names := slices.Clone(h.Run.Nodes)
	byNode := map[string][]*ops.Op{}
	for _, o := range h.Ops {
		if !o.Service() {
			continue
		}
		if !slices.Contains(names, o.Node) {
			names = append(names, o.Node)
		}
		byNode[o.Node] = append(byNode[o.Node], o)
	}
	for _, name := range names {
		c.label(4, c.y+14, "name", short(cmp.Or(name, "by the client library"), 26))
		c.label(4, c.y+27, "small", fmt.Sprintf("%d calls", len(byNode[name])))
		at, used := stack(byNode[name])
		high := min(max(laneHigh/used, 2), 9)
		dots := map[string]bool{} // calls that fill less than a point of one that is drawn are not
		for i, o := range byNode[name] {
			class := string(o.Kind)
			if bad[o.Seq] {
				class += " bad"
			} else if x := c.x(o.Call); c.x(o.Ended)-x < 1 {
				dot := fmt.Sprint(class, at[i], int(2*x))
				if dots[dot] {
					continue
				}
				dots[dot] = true
			}
			c.box(class, o.Call, o.Ended, c.y+at[i]*high, high-1, o.String())
		}
		c.y += laneHigh + laneGap
	}
}

// stack puts calls that overlap into rows, and returns the row of each, and how many
// there are.
func stack(calls []*ops.Op) (at []int, used int) {
	var free [rows]time.Duration
	used = 1
	for _, o := range calls {
		row := 0
		for i := range free {
			if free[i] <= o.Call {
				row = i
				break
			}
		}
		free[row], used = o.Ended, max(used, row+1)
		at = append(at, row)
	}
	return at, used
}

// lane is the name of the lane of a lock: workloads use one after the other, under names
// that end in a point and a number.
func lane(lock string) string {
	if i := strings.LastIndexByte(lock, '.'); i > 0 && i < len(lock)-1 && strings.Trim(lock[i+1:], "0123456789") == "" {
		return lock[:i]
	}
	return lock
}

// locks draws a lane for each lock, or for locks that were used one after the other: who was told that it has it, and who believed to.
func locks(c *canvas, h *ops.History) {
	type tenure struct {
		lock     string
		session  string
		fence    uint64
		from, to time.Duration
	}
	held, believed := map[string][]tenure{}, map[string][]tenure{}
	for _, o := range h.Ops {
		switch {
		case o.F == history.Acquire && o.Kind == history.OK:
			held[lane(o.Key)] = append(held[lane(o.Key)], tenure{o.Key, o.Session, o.Fence, o.End, h.Until})
		case o.F == history.AcquireAll && o.Kind == history.OK:
			r, _ := history.Decode[history.AcquireAllResult](o.Result)
			for lock, fence := range r.Fences {
				held[lane(lock)] = append(held[lane(lock)], tenure{lock, o.Session, fence, o.End, h.Until})
			}
		case o.F == history.Transfer && o.Kind == history.OK:
			for i := range held[lane(o.Key)] {
				if t := &held[lane(o.Key)][i]; t.lock == o.Key && t.fence < o.Fence {
					t.to = min(t.to, o.Call)
				}
			}
			held[lane(o.Key)] = append(held[lane(o.Key)], tenure{o.Key, o.Session, o.Fence, o.End, h.Until})
		case o.F == history.Release && o.Kind == history.OK:
			for i := range held[lane(o.Key)] {
				if t := &held[lane(o.Key)][i]; t.lock == o.Key && t.fence == o.Fence && t.session == o.Session {
					t.to = min(t.to, o.Call)
				}
			}
		case o.F == history.Belief:
			believed[lane(o.Key)] = append(believed[lane(o.Key)], tenure{o.Key, o.Session, o.Fence, o.Call, o.Ended})
		}
	}
	lives := ops.Lives(h, 0)
	names := slices.SortedFunc(keys(held), func(a, b string) int { // in the order of their use
		return cmp.Or(cmp.Compare(held[a][0].from, held[b][0].from), cmp.Compare(a, b))
	})
	for i, name := range names {
		if i >= maxLock {
			c.label(left, c.y+10, "name", fmt.Sprintf("and %d locks more", len(held)-i))
			c.y += 14
			return
		}
		c.label(4, c.y+11, "name", short(name, 26))
		for n, t := range held[name] {
			end := t.to
			if l := lives[t.session]; l != nil && l.AtLeast > 0 {
				end = min(end, max(l.AtLeast, t.from))
			}
			c.box(fmt.Sprintf("held tone%d", n%2), t.from, end, c.y, 9, fmt.Sprintf("%s held by %s with fence %d, until its release, or as long as its lease was acknowledged", t.lock, t.session, t.fence))
		}
		for _, t := range believed[name] {
			c.box("belief", t.from, t.to, c.y+10, 4, fmt.Sprintf("%s believes to hold %s with fence %d, from %v to %v", t.session, t.lock, t.fence, t.from, t.to))
		}
		c.y += 20
	}
}

// plots draws latencies and rates.
func plots(h *ops.History) template.HTML {
	c := &canvas{until: h.Until, left: left}
	const high = 170
	for _, w := range h.Windows() {
		c.box("shade", w.Begin, w.End, 0, 2*high+40, w.Name)
	}
	for i, ms := range []float64{1, 10, 100, 1000, 10000} {
		y := high - i*high/5
		fmt.Fprintf(&c.b, `<line class="grid" x1="%d" x2="%d" y1="%d" y2="%d"/>`+"\n", left, width, y, y)
		c.label(left-8, y+4, "small end", map[bool]string{true: fmt.Sprintf("%g ms", ms), false: fmt.Sprintf("%g s", ms/1000)}[ms < 1000])
	}
	// Points on the same spot are drawn once: a long run stays readable.
	seen := map[[3]int]bool{}
	rate := map[string][]int{}
	const buckets = 120
	for _, o := range h.Ops {
		if !o.Service() {
			continue
		}
		kind := string(o.Kind)
		x := c.x(o.Call)
		y := high - logMS(o.Ended-o.Call)*high/5
		if spot := [3]int{int(x), int(y / 2), int(kind[0])}; !seen[spot] {
			seen[spot] = true
			fmt.Fprintf(&c.b, `<circle class="%s" cx="%.1f" cy="%.1f" r="1.6"/>`+"\n", kind, x, max(y, 0))
		}
		if rate[kind] == nil {
			rate[kind] = make([]int, buckets)
		}
		rate[kind][min(int(int64(o.Ended)*buckets/int64(max(c.until, 1))), buckets-1)]++
	}
	top := 1
	for _, n := range rate {
		top = max(top, slices.Max(n))
	}
	base := 2*high + 20
	perSecond := float64(buckets) / max(c.until.Seconds(), 1e-9)
	c.label(4, 12, "name", "latency of each call")
	c.label(4, base-high+12, "name", "answers a second")
	c.label(left-8, base-high+28, "small end", fmt.Sprintf("%.0f", float64(top)*perSecond))
	c.label(left-8, base, "small end", "0")
	for _, kind := range []string{"ok", "fail", "info"} {
		if rate[kind] == nil {
			continue
		}
		var points []string
		for i, n := range rate[kind] {
			x := left + (float64(i)+0.5)/buckets*(width-left-10)
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, float64(base)-float64(n)/float64(top)*(high-20)))
		}
		fmt.Fprintf(&c.b, `<polyline class="line %s" points="%s"/>`+"\n", kind, strings.Join(points, " "))
	}
	c.y = base
	return c.done("latencies above, rates below")
}

// logMS is the logarithm of a time in milliseconds, 0 for less than one.
func logMS(d time.Duration) float64 { return math.Log10(max(float64(d)/1e6, 1)) }
