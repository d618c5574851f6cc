package leader

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// span is the median and the worst of the gaps.
func (s *sum) span() string {
	if len(s.gaps) == 0 {
		return "-"
	}
	return fmt.Sprintf("%d / %d", percentile(s.gaps, 50)/ms, percentile(s.gaps, 100)/ms)
}

func (s *sum) gap(p int) Instant { return percentile(s.gaps, p) / ms }

func (c *cell) line() string {
	return fmt.Sprintf("%s: killed %s, silent %s, leased %d, broken: %s, missed: %s", timesText(c.times), c.killed.span(), c.silent.span(), c.leased,
		kept(c.broken), kept(c.missed))
}

// head is the first line of the table of all cells.
const head = "heartbeat_ms,silence_ms,lease_ms,claim_delay_ms,kept,killed_median_ms,killed_worst_ms,silent_median_ms,silent_worst_ms," +
	"leased_permille,tcp10_changes_per_hour,tcp20_changes_per_hour,tcp30_changes_per_hour,messages_per_second_4_peers,broken,missed\n"

// table is all cells, for programs.
func table(cells []*cell) string {
	var b strings.Builder
	b.WriteString(head)
	for _, c := range cells {
		fmt.Fprintf(&b, "%d,%d,%d,%d,%v,%d,%d,%d,%d,%d", c.times.Heartbeat/millisecond, c.times.Silence/millisecond, c.times.Lease/millisecond,
			c.times.ClaimDelay/millisecond, c.broken == "", c.killed.gap(50), c.killed.gap(100), c.silent.gap(50), c.silent.gap(100), c.leased)
		for i := range c.tcp {
			fmt.Fprintf(&b, ",%.1f", c.tcp[i].hourly())
		}
		fmt.Fprintf(&b, ",%d,%q,%q\n", c.messages(4), c.broken, c.missed)
	}
	return b.String()
}

// An entry is a line of the table.
type entry struct {
	times          Config
	killed, silent [2]int64 // ms: median, worst
	leased         int64
	tcp            [3]float64
	messages       int64
	broken, missed string
}

// entries is the inverse of table.
func entries(t *testing.T, text []byte) (all []entry) {
	t.Helper()
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines[1:] {
		number := func(i int) float64 {
			v, err := strconv.ParseFloat(l[i], 64)
			if err != nil {
				t.Fatalf("line %q: %v", l, err)
			}
			return v
		}
		whole := func(i int) int64 { return int64(number(i)) }
		all = append(all, entry{
			times:  ms4(whole(0), whole(1), whole(2), whole(3)),
			killed: [2]int64{whole(5), whole(6)}, silent: [2]int64{whole(7), whole(8)},
			leased: whole(9), tcp: [3]float64{number(10), number(11), number(12)}, messages: whole(13),
			broken: l[14], missed: l[15],
		})
	}
	return all
}

// better reports whether a keeps everything and b has nothing that a has not: in
// the gap after a kill, the gap after silence, messages and leases.
func better(a, b entry) bool {
	atLeast := a.killed[0] <= b.killed[0] && a.silent[0] <= b.silent[0] && a.times.Heartbeat >= b.times.Heartbeat && a.leased >= b.leased
	more := a.killed[0] < b.killed[0] || a.silent[0] < b.silent[0] || a.times.Heartbeat > b.times.Heartbeat || a.leased > b.leased
	return a.broken == "" && a.missed == "" && atLeast && more
}

// markdown is, for people, the cells that no other beats and those around the
// defaults, all with the default claim delay.
func markdown(all []entry) string {
	var b strings.Builder
	b.WriteString("| T / W·T / D / δ, ms | killed, median / worst, ms | silent, median / worst, ms | leased while all are slow | changes an hour, TCP with 10, 20, 30 % loss | messages a second, 4 peers | first row broken, or bound missed |\n|---|---|---|---|---|---|---|\n")
	all = slices.DeleteFunc(slices.Clone(all), func(e entry) bool { return e.times.ClaimDelay != before.ClaimDelay })
	for _, e := range all {
		best := e.broken == "" && e.missed == "" && !slices.ContainsFunc(all, func(o entry) bool { return better(o, e) })
		near := func(times Config) bool {
			return e.times.Heartbeat == times.Heartbeat && (e.times.Silence == times.Silence || e.times.Lease == times.Lease)
		}
		note := ""
		switch {
		case sameTimes(e.times, chosen):
			note = " (chosen)"
		case sameTimes(e.times, before):
			note = " (before)"
		case best:
			note = " (frontier)"
		case near(before), e.times.Heartbeat != before.Heartbeat && e.times.Silence == before.Silence:
		default:
			continue
		}
		leased := fmt.Sprintf("%.1f %%", float64(e.leased)/10)
		if e.broken != "" {
			leased = ""
		}
		fmt.Fprintf(&b, "| %s%s | %d / %d | %d / %d | %s | %.0f, %.0f, %.0f | %d | %s |\n", timesText(e.times), note, e.killed[0], e.killed[1],
			e.silent[0], e.silent[1], leased, e.tcp[0], e.tcp[1], e.tcp[2], e.messages, cmp.Or(e.broken, e.missed, "nothing"))
	}
	return b.String()
}

// TestSearchPlot draws what the search has written, and prints the cells that
// matter.
func TestSearchPlot(t *testing.T) {
	if !*search {
		t.Skip("only with -leader.search")
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(*searchOut, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	all := entries(t, read("failover-search.csv"))
	t.Log("\n" + markdown(all))
	write(t, "failover-search.svg", plot(all, curvesOf(t, read("failover-curves.csv"))))
}

// A chart maps values to a rectangle of an SVG.
type chart struct {
	b                    *strings.Builder
	left, top, w, h      float64
	minX, maxX, minY, mY float64
}

func (c *chart) x(v float64) float64 { return c.left + (v-c.minX)/(c.maxX-c.minX)*c.w }
func (c *chart) y(v float64) float64 { return c.top + c.h - (v-c.minY)/(c.mY-c.minY)*c.h }

func (c *chart) text(x, y float64, anchor, s string) {
	fmt.Fprintf(c.b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, s)
}

func (c *chart) lineTo(x1, y1, x2, y2 float64, style string) {
	fmt.Fprintf(c.b, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, style)
}

// axes draws a frame with a grid.
func (c *chart) axes(stepX float64, ys []float64, labelY func(float64) string, title, nameX, nameY string) {
	fmt.Fprintf(c.b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" stroke=\"#888\"/>\n", c.left, c.top, c.w, c.h)
	for v := math.Ceil(c.minX/stepX) * stepX; v <= c.maxX; v += stepX {
		c.lineTo(c.x(v), c.top, c.x(v), c.top+c.h, `stroke="#ddd"`)
		c.text(c.x(v), c.top+c.h+16, "middle", fmt.Sprintf("%.0f", v))
	}
	for _, v := range ys {
		c.lineTo(c.left, c.y(v), c.left+c.w, c.y(v), `stroke="#ddd"`)
		c.text(c.left-6, c.y(v)+4, "end", labelY(v))
	}
	fmt.Fprintf(c.b, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"15\" font-weight=\"bold\">%s</text>\n", c.left, c.top-14, title)
	c.text(c.left+c.w/2, c.top+c.h+36, "middle", nameX)
	fmt.Fprintf(c.b, "<text transform=\"translate(%.1f %.1f) rotate(-90)\" text-anchor=\"middle\">%s</text>\n", c.left-46, c.top+c.h/2, nameY)
}

var colours = []string{"#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98", "#566573"}

// The defaults before the search, and what it recommends.
var before, chosen = ms4(50, 400, 150, 10), ms4(50, 400, 100, 10)

// plot draws all cells, and the curves below.
func plot(cells []entry, lines []curve) string {
	var b strings.Builder
	b.WriteString("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 1030\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"900\" height=\"1030\" fill=\"#fff\"/>\n")
	scatter(&chart{b: &b, left: 80, top: 50, w: 780, h: 400, minX: 0, maxX: 350, minY: 200, mY: 750}, cells)
	drawCurves(&chart{b: &b, left: 80, top: 550, w: 780, h: 300, minX: 50, maxX: 800, minY: -0.2, mY: 3.2}, lines)
	b.WriteString("</svg>\n")
	return b.String()
}

func scatter(c *chart, cells []entry) {
	whole := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	c.axes(50, []float64{200, 300, 400, 500, 600, 700}, whole, "Time without a commit: filled cells keep every zero",
		"leader killed, its sockets closed: median, ms", "leader stopped or cut off: median, ms")
	c.lineTo(c.x(200), c.top, c.x(200), c.top+c.h, `stroke="#000" stroke-dasharray="4 3"`)
	c.lineTo(c.left, c.y(550), c.left+c.w, c.y(550), `stroke="#000" stroke-dasharray="4 3"`)
	c.text(c.x(200)+4, c.top+14, "start", "goal")
	periods := []int64{10, 25, 50, 100}
	for i, t := range periods {
		x := c.left + c.w - 150
		fmt.Fprintf(c.b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", x, c.top+16+float64(i)*18, colours[i])
		c.text(x+10, c.top+20+float64(i)*18, "start", fmt.Sprintf("heartbeat every %d ms", t))
	}
	for pass := range 2 { // those that keep everything on top
		for _, e := range cells {
			good := e.broken == ""
			x, y := float64(e.killed[0]), float64(e.silent[0])
			if good != (pass == 1) || x > c.maxX || y > c.mY {
				continue
			}
			colour := colours[slices.Index(periods, e.times.Heartbeat/millisecond)]
			style := fmt.Sprintf("fill=\"none\" stroke=\"%s\" stroke-opacity=\"0.5\"", colour)
			if good {
				style = fmt.Sprintf("fill=\"%s\" fill-opacity=\"0.8\"", colour)
			}
			fmt.Fprintf(c.b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" %s><title>%s</title></circle>\n", c.x(x), c.y(y), style, timesText(e.times))
		}
	}
	for _, e := range cells {
		x, y := c.x(float64(e.killed[0])), c.y(float64(e.silent[0]))
		label, up := "", 22.0
		switch {
		case sameTimes(e.times, chosen):
			label = "chosen: " + timesText(e.times)
		case sameTimes(e.times, before):
			label, up = "before: "+timesText(e.times), 42
		default:
			continue
		}
		fmt.Fprintf(c.b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"8\" fill=\"none\" stroke=\"#000\" stroke-width=\"1.5\"/>\n", x, y)
		c.lineTo(x, y-8, x, y-up, `stroke="#000"`)
		c.text(x, y-up-4, "middle", label)
	}
}

// drawCurves draws them over log10(1+changes).
func drawCurves(c *chart, lines []curve) {
	level := func(v float64) float64 { return math.Log10(1 + v) }
	var ys []float64
	for _, v := range []float64{0, 1, 10, 100, 1000} {
		ys = append(ys, level(v))
	}
	c.axes(100, ys, func(v float64) string { return fmt.Sprintf("%.0f", math.Pow(10, v)-1) }, "Changes of leader that nobody needs, in an hour of each fault",
		"silence limit, ms (lease 3 T)", "changes an hour")
	for i, l := range lines {
		style := fmt.Sprintf("fill=\"none\" stroke=\"%s\" stroke-width=\"2\"", colours[i%len(colours)])
		var points []string
		for _, p := range l.points {
			points = append(points, fmt.Sprintf("%.1f,%.1f", c.x(p[0]), c.y(level(p[1]))))
		}
		fmt.Fprintf(c.b, "<polyline points=\"%s\" %s/>\n", strings.Join(points, " "), style)
		x, y := c.left, c.top+c.h+60+float64(i)*18
		fmt.Fprintf(c.b, "<polyline points=\"%.1f,%.1f %.1f,%.1f\" %s/>\n", x, y-4, x+30, y-4, style)
		c.text(x+36, y, "start", l.name)
	}
}

// curvesOf reads what TestSearchCurves has written: name, ms, changes an hour.
func curvesOf(t *testing.T, text []byte) (all []curve) {
	t.Helper()
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines[1:] {
		x, errX := strconv.ParseFloat(l[1], 64)
		y, errY := strconv.ParseFloat(l[2], 64)
		if errX != nil || errY != nil {
			t.Fatalf("line %q makes no sense", l)
		}
		if len(all) == 0 || all[len(all)-1].name != l[0] {
			all = append(all, curve{name: l[0]})
		}
		c := &all[len(all)-1]
		c.points = append(c.points, [2]float64{x, y})
	}
	return all
}
