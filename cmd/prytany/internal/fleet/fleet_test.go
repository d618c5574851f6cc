package fleet

import (
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

func TestQuorumLine(t *testing.T) {
	led := []api.Member{{Name: "n1", Roles: map[string]string{"main": "follower"}}, {Name: "n2", Roles: map[string]string{"main": "leader"}}}
	row := func(node string, quorum float64) api.RTT { return api.RTT{Node: node, QuorumMS: quorum} }
	for _, tc := range []struct {
		rows    []api.RTT
		members []api.Member
		want    string
	}{
		{[]api.RTT{row("n1", 20.5), row("n2", 0.25), row("n3", 0)}, led, "n2 0.25ms (nearest, leads), n1 20.50ms"},
		{[]api.RTT{row("n1", 0.25), row("n2", 20.5)}, led, "n1 0.25ms (nearest), n2 20.50ms (leads)"},
		{[]api.RTT{row("n1", 0.25), row("n2", 0)}, led, "n1 0.25ms (nearest), n2 leads"},
		{[]api.RTT{row("n2", 1), row("n1", 1)}, nil, "n1 1.00ms (nearest), n2 1.00ms, nobody leads"},
		{[]api.RTT{row("n1", 0)}, nil, "not known yet, or not in reach"},
	} {
		if got := quorumLine(tc.rows, tc.members); got != "to a quorum and back: "+tc.want {
			t.Errorf("%+v: %s", tc.rows, got)
		}
	}
}

// Events of several nodes are ordered by their clocks, those of one by their ids
// whatever its clock did.
func TestOrderOfEvents(t *testing.T) {
	e := func(node string, id uint64, time string) api.NodeEvent {
		return api.NodeEvent{Node: node, ID: id, Time: time, Kind: "k"}
	}
	early, late, odd := e("n1", 7, "2026-01-02T03:04:05.1Z"), e("n2", 3, "2026-01-02T04:04:05.05+01:00"), e("n3", 1, "yesterday")
	all := []api.NodeEvent{early, late, odd}
	slices.SortStableFunc(all, compareTimes)
	if all[0] != odd || all[1] != late || all[2] != early {
		t.Errorf("%+v", all)
	}
	back := e("n1", 8, "2026-01-02T03:04:04.1Z")
	if compareTimes(early, back) >= 0 {
		t.Error("a clock that was set back changes the order of one node's events")
	}
	if got := shownTime(late.Time) + shownTime(odd.Time); got != "2026-01-02T03:04:05.050Zyesterday" {
		t.Error(got)
	}
}

// What nodes say cannot command the terminal of who looks.
func TestPaper(t *testing.T) {
	var out strings.Builder
	a := app{App: &cli.App{Streams: cli.Streams{Stdout: &out}, Output: "table"}}
	p := a.newPaper([]api.Member{{Name: "node-1"}})
	for range 2 {
		if err := p.print(api.NodeEvent{Time: "2026-01-02T03:04:05Z", Node: "node-1", Kind: "link-up", Peer: "n2", Text: "a\x1b[2Jb"}); err != nil {
			t.Fatal(err)
		}
	}
	const line = "2026-01-02T03:04:05.000Z  node-1  link-up     -      n2      a\\x1b[2Jb\n"
	if want := "TIME                      NODE    EVENT       GROUP  ABOUT   TEXT\n" + line + line; out.String() != want {
		t.Errorf("%s", out.String())
	}
}
