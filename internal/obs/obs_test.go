package obs

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// busy returns Metrics in which every metric has a value, and its log.
func busy(t *testing.T, level slog.Level) (*Metrics, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	m := New(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})))
	for k := paxos.EvCampaign; k <= paxos.EvCatchUp; k++ {
		m.Observe(paxos.Main, paxos.Event{Kind: k, Ballot: synod.Ballot{Round: 7, Member: 2}, Slot: 41, Node: 3})
	}
	for k := leader.EvLinkUp; k <= leader.EvMend; k++ {
		m.Observe(2, leader.Event{Kind: k, Group: 2, Node: 5, Ballot: synod.Ballot{Round: 8, Member: 1}, Reason: "no answer for too long"})
	}
	m.Observe(paxos.Main, "something else")
	m.SetBuild("v1.2.3")
	m.ObserveHTTP("/v1/locks/{name}", 409, 3*time.Millisecond)
	m.ObserveHandOver(2, true)
	m.ObserveFsync(400 * time.Microsecond)
	m.WatchGroups(func() []GroupState {
		return []GroupState{{Group: paxos.Main, Applied: 41, Revision: 40, InFlight: 1, Sessions: 2, Locks: 3, Waiters: 4, Entries: 5, Bytes: 6,
			Waiting: 7, Answers: 8, Own: 9, Bells: 10}}
	}, func() Totals { return Totals{Here: 3, Leads: 2, Leaderless: 1, Known: 9} })
	m.WatchOpen(func() map[string]int { return map[string]int{"normal": 3, "stream": 4} })
	return m, &log
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("scrape: %d %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func TestScrape(t *testing.T) {
	m, _ := busy(t, slog.LevelDebug)
	text := scrape(t, m)
	for _, want := range []string{
		`prytany_campaigns_total{group="main"} 1`,
		`prytany_groups 3`,
		`prytany_groups_led 2`,
		`prytany_groups_leaderless 1`,
		`prytany_groups_known 9`,
		`prytany_leaderships_total{group="main"} 1`,
		`prytany_step_downs_total{group="main"} 1`,
		`prytany_leading{group="main"} 0`,
		`prytany_ballot_round{group="main"} 7`,
		`prytany_decided_slot{group="main"} 41`,
		`prytany_reconfigurations_total{group="main"} 1`,
		`prytany_snapshots_installed_total{group="main"} 1`,
		`prytany_catch_ups_total{group="main"} 1`,
		`prytany_leader_changes_total{group="2"} 1`,
		`prytany_leader_events_total{event="claim",group="2"} 1`,
		`prytany_leased{group="2"} 0`,
		`prytany_hand_overs_total{group="2",outcome="done"} 1`,
		`prytany_leader_events_total{event="nearer",group="2"} 1`,
		"prytany_fit 1",
		`prytany_link_up{peer="0000000000000005"} 0`,
		`prytany_link_changes_total{to="down"} 1`,
		`prytany_http_requests_total{code="409",route="/v1/locks/{name}"} 1`,
		`prytany_http_request_duration_seconds_bucket{route="/v1/locks/{name}",le="0.005"} 1`,
		`prytany_fsync_duration_seconds_count 1`,
		`prytany_build_info{goversion="go`,
		`prytany_applied_slot{group="main"} 41`,
		`prytany_revision{group="main"} 40`,
		`prytany_in_flight_slots{group="main"} 1`,
		`prytany_sessions{group="main"} 2`,
		`prytany_locks_held{group="main"} 3`,
		`prytany_waiters{group="main"} 4`,
		`prytany_config_entries{group="main"} 5`,
		`prytany_state_bytes{group="main"} 6`,
		`prytany_waiting_requests{group="main"} 7`,
		`prytany_kept_answers{group="main"} 8`,
		`prytany_kept_own_answers{group="main"} 9`,
		`prytany_subscriptions{group="main"} 10`,
		`prytany_http_open_requests{class="normal"} 3`,
		`prytany_http_open_requests{class="stream"} 4`,
		"go_gc_heap_live_bytes",
		"go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("scrape lacks %s", want)
		}
	}
	m.Forget("0000000000000005")
	if text := scrape(t, m); strings.Contains(text, "prytany_link_up{") {
		t.Error("a forgotten peer is still there")
	}
}

func TestLint(t *testing.T) {
	m, _ := busy(t, slog.LevelDebug)
	problems, err := promlint.New(strings.NewReader(scrape(t, m))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	// A gauge named like a counter, or no help, must not get past promlint.
	if bad, err := promlint.New(strings.NewReader("# TYPE x_total gauge\nx_total 1\n")).Lint(); err != nil || len(bad) == 0 {
		t.Errorf("promlint finds nothing wrong with nonsense: %v", err)
	}
}

// Labels come from sets that clients cannot grow.
func TestLabels(t *testing.T) {
	m, _ := busy(t, slog.LevelDebug)
	allowed := map[string]bool{"group": true, "event": true, "peer": true, "to": true, "outcome": true, "class": true, "route": true, "code": true, "le": true,
		"version": true, "goversion": true}
	label := regexp.MustCompile(`[{,]([a-z_]+)="`)
	for line := range strings.Lines(scrape(t, m)) {
		if !strings.HasPrefix(line, "prytany_") {
			continue
		}
		for _, l := range label.FindAllStringSubmatch(line, -1) {
			if !allowed[l[1]] {
				t.Errorf("label %q in %s", l[1], line)
			}
		}
	}
}

func TestLevels(t *testing.T) {
	for _, tc := range []struct {
		level      slog.Level
		want, lack []string
	}{
		{slog.LevelWarn, []string{"link is down", "wants another leader"}, []string{"link is up", "leading", "promised"}},
		{slog.LevelInfo, []string{"campaigning", "leading", "stepped down", "membership changed", "snapshot installed",
			"link is up", "follows another leader", `reason="no answer for too long"`, "ballot=8.1", "peer=0000000000000005"},
			[]string{"promised", "catching up", "supports a claim"}},
		{slog.LevelDebug, []string{"promised", "catching up", "supports a claim", "refuses a claim"}, []string{"decided"}},
	} {
		_, log := busy(t, tc.level)
		for _, s := range tc.want {
			if !strings.Contains(log.String(), s) {
				t.Errorf("level %v: no line with %q in\n%s", tc.level, s, log)
			}
		}
		for _, s := range tc.lack {
			if strings.Contains(log.String(), s) {
				t.Errorf("level %v: a line with %q in\n%s", tc.level, s, log)
			}
		}
	}
}

func TestTwoNodesInOneProcess(t *testing.T) {
	a, b := New(nil), New(nil)
	a.ObserveHTTP("/livez", 200, time.Millisecond)
	if strings.Contains(scrape(t, b), `route="/livez"`) {
		t.Error("nodes share a registry")
	}
}

// A scrape does not grow with the number of groups, and what is forgotten is gone.
func TestManyGroups(t *testing.T) {
	m := New(nil)
	m.SetNames(nil, func(g paxos.GroupID) string {
		if g == 5 {
			return "" // the directory has not arrived yet
		}
		return fmt.Sprintf("g%d", g)
	})
	all := func(g paxos.GroupID) {
		for k := paxos.EvCampaign; k <= paxos.EvCatchUp; k++ {
			m.Observe(g, paxos.Event{Kind: k})
		}
		for k := leader.EvLinkUp; k <= leader.EvMend; k++ {
			m.Observe(g, leader.Event{Kind: k, Group: uint64(g)})
		}
	}
	all(5)
	for g := paxos.GroupID(6); g < 1006; g++ {
		all(g)
	}
	m.WatchGroups(func() (out []GroupState) {
		for g := paxos.GroupID(5); g < 1006; g++ {
			out = append(out, GroupState{Group: g})
		}
		return out
	}, func() Totals { return Totals{} })
	text := scrape(t, m)
	if len(text) > 1<<20 {
		t.Errorf("a scrape has %d bytes", len(text))
	}
	for _, want := range []string{`prytany_campaigns_total{group="g6"} 1`, `prytany_campaigns_total{group="_others"} 901`, `prytany_revision{group="g105"} 0`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	for _, lack := range []string{`leading{group="_others"}`, `{group="g106"`, `{group=""`} {
		if strings.Contains(text, lack) {
			t.Errorf("there is %s", lack)
		}
	}
	m.ForgetGroup(6)
	all(200)
	if text := scrape(t, m); strings.Contains(text, `campaigns_total{group="g6"`) || !strings.Contains(text, `campaigns_total{group="g200"} 1`) {
		t.Error("a forgotten group keeps its place")
	}
}

// TestScrapeOfAClientThatIsGone is no fault of this node.
func TestScrapeOfAClientThatIsGone(t *testing.T) {
	m, log := busy(t, slog.LevelInfo)
	log.Reset()
	for _, err := range []error{net.ErrClosed, &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}} {
		m.Handler().ServeHTTP(deaf{httptest.NewRecorder(), err}, httptest.NewRequest("GET", "/metrics", nil))
		if log.Len() > 0 {
			t.Errorf("%v is in the log: %s", err, log)
		}
	}
	if m.Handler().ServeHTTP(deaf{httptest.NewRecorder(), io.ErrShortWrite}, httptest.NewRequest("GET", "/metrics", nil)); !strings.Contains(log.String(), "ERROR") {
		t.Errorf("another error is not in the log: %s", log)
	}
}

// deaf takes no answer.
type deaf struct {
	http.ResponseWriter
	err error
}

func (d deaf) Write([]byte) (int, error) { return 0, d.err }
