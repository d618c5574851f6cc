package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

// A directory stands in for a cluster: what a test put into it is what it tells, and
// each change is carried out at the third look.
type directory struct {
	mu     sync.Mutex
	groups []*api.Group
	after  map[string]func(*api.Group) // what becomes of a group, when it has been looked at often enough
	looks  map[string]int
	asked  []string // method, path and body of all that was not a GET
	refuse *api.Problem
	steps  []api.RebalanceStep
	change api.MemberChange
	page   int
	where  string // URL of n3
}

func (d *directory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if r.Method != http.MethodGet {
		d.asked = append(d.asked, strings.TrimSpace(r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/v1/")+" "+string(body)))
		if d.refuse != nil {
			d.refuse.Status = http.StatusConflict
			answer(w, d.refuse.Status, d.refuse)
			return
		}
	}
	name, verb, _ := strings.Cut(strings.TrimPrefix(path, "groups/"), ":")
	switch {
	case r.Method == http.MethodGet && path == "members":
		answer(w, 200, api.Members{Members: []api.Member{
			{ID: "000000000000000a", Name: "n1", Zone: "a", Gossip: "alive", Link: "self", Roles: map[string]string{"main": "leader"}, Groups: 2},
			{ID: "000000000000000b", Name: "n2", Zone: "b", Gossip: "dead", Link: "down", Roles: map[string]string{"main": "follower"}, Groups: 2},
			{ID: "000000000000000c", Name: "n3", HTTP: d.where, Zone: "b", Gossip: "alive", Link: "up", Roles: map[string]string{"main": "none"}, Removed: true},
		}})
	case r.Method == http.MethodGet && path == "status":
		answer(w, 200, api.Status{Name: "n1", Groups: []api.GroupStatus{{Group: "main", Role: "leader", Voters: []string{"n1", "n2"}}},
			Counts: api.GroupCounts{Here: 3, Leads: 2, Leaderless: 1, Known: 7}})
	case r.Method == http.MethodGet && path == "groups":
		d.list(w, r)
	case path == "groups:rebalance":
		var in api.Rebalance
		_ = json.Unmarshal(body, &in)
		answer(w, 200, api.Rebalanced{DryRun: in.DryRun, Steps: append([]api.RebalanceStep{}, d.steps...)})
	case r.Method == http.MethodPost && path == "groups":
		var in api.CreateGroup
		_ = json.Unmarshal(body, &in)
		answer(w, 201, api.Group{Name: in.Name, Replicas: in.Replicas, Zones: in.Zones, Near: in.Near, Leader: "n1", Members: voters("n1", "n2")})
	case strings.HasPrefix(path, "members"):
		answer(w, 200, d.change)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	default:
		d.one(w, r, name, verb)
	}
}

func (d *directory) one(w http.ResponseWriter, r *http.Request, name, verb string) {
	g := d.find(name)
	switch {
	case g == nil:
		answer(w, 404, &api.Problem{Status: 404, Code: api.CodeGroupUnknown, Detail: "there is no group \"" + name + "\"", Applied: api.AppliedNo})
		return
	case r.Method == http.MethodGet:
		d.looked(g)
	case verb == "move":
		g.Move = &api.Move{Add: "n4", Remove: "n2", Why: "because"}
	}
	answer(w, 200, g)
}

func (d *directory) find(name string) *api.Group {
	for _, g := range d.groups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// looked counts a look at g.
func (d *directory) looked(g *api.Group) {
	if d.looks == nil {
		d.looks = map[string]int{}
	}
	if d.looks[g.Name]++; d.looks[g.Name] == 3 && d.after[g.Name] != nil {
		d.after[g.Name](g)
	}
}

func (d *directory) list(w http.ResponseWriter, r *http.Request) {
	out := api.Groups{Groups: []api.Group{}}
	for _, g := range d.groups {
		if !strings.HasPrefix(g.Name, r.FormValue("prefix")) || g.Name <= r.FormValue("cursor") {
			continue
		}
		if len(out.Groups) == d.page && d.page > 0 {
			out.Cursor = out.Groups[len(out.Groups)-1].Name
			break
		}
		d.looked(g)
		out.Groups = append(out.Groups, *g)
	}
	answer(w, 200, out)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func voters(names ...string) (list []api.GroupMember) {
	for _, n := range names {
		list = append(list, api.GroupMember{ID: "000000000000000" + string('a'+n[1]-'1'), Name: n, Gossip: "alive"})
	}
	return list
}

// call runs the command against d.
func (d *directory) call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	srv := httptest.NewServer(d)
	defer srv.Close()
	t.Setenv("PRYTANY_ADDR", srv.URL)
	var out, talk strings.Builder
	ctx, cancel := context.WithCancel(t.Context()) // with a deadline, no request would have one of its own
	defer cancel()
	defer time.AfterFunc(patience, cancel).Stop()
	code = run(ctx, args, cli.Streams{Stdout: &out, Stderr: &talk}, nil)
	return code, out.String(), strings.ReplaceAll(talk.String(), cli.Self()+" ", "prytany ")
}

func example() *directory {
	return &directory{groups: []*api.Group{
		{Name: "main", ID: 1, Replicas: 3, Config: 2, Leader: "n1", Members: voters("n1", "n2")},
		{Name: "web", ID: 17, Replicas: 3, Config: 4, Leader: "n2", LeaderURL: "http://n2", Zones: []string{"a"}, Near: "n1",
			Members: []api.GroupMember{{ID: "a", Name: "n1", Gossip: "alive", Zone: "a"}, {ID: "000000000000000b", Name: "n2", Gossip: "dead"}},
			Move:    &api.Move{Add: "n4", Why: "too few"}, Here: &api.GroupStatus{Group: "web", Role: "follower", Ballot: "3.1", Voters: []string{"n1", "n2"}}},
		{Name: "zoo", ID: 18, Replicas: 1, Members: voters("n3")},
	}}
}

// What is asked of the server, what is told on both streams, and the exit code.
func TestGroupCommands(t *testing.T) {
	for _, tc := range []struct {
		args   string
		code   int
		asked  string // "" means that nothing is changed
		stdout string // lines that must be in it, blanks squeezed
		stderr string
	}{
		{"groups", 0, "", "NAME REPLICAS MEMBERS LEADER MOVE\nweb 3 n1,n2(dead) n2 +n4\nzoo 1 n3 - -", ""},
		{"group list w -o wide", 0, "", "NAME REPLICAS MEMBERS LEADER MOVE ID CONFIG ZONES NEAR\nweb 3 n1,n2(dead) n2 +n4 17 4 a n1", ""},
		{"groups -o name", 0, "", "main\nweb\nzoo", ""},
		{"groups x", 0, "", "NAME REPLICAS MEMBERS LEADER MOVE", ""},
		{"groups -o jsonl", 0, "", `{"name":"zoo","id":18,"replicas":1,"config":0,"members":[{"id":"000000000000000c","name":"n3","gossip":"alive"}]}`, ""},
		{"groups a b", 2, "", "", `prytany: groups: too many arguments: "b"`},
		{"group show web", 0, "", "group web (id 17): 3 voters wanted, configuration 4\nNO QUORUM, 1 of 2 voters alive; leader n2 (http://n2)\n" +
			"wishes zones a, near n1\nmove +n4: too few\nhere follower, ballot 3.1, revision 0, slot 0 decided, 0 applied; 0 sessions, 0 locks\nNODE ROLE GOSSIP ZONE ID\nn2 leader dead - 000000000000000b", ""},
		{"group show zoo", 0, "", "here the node that answers has no part in it\nquorum, 1 of 1 voters alive, survives 0 more failures; no leader known", ""},
		{"group show no", 3, "", "", "prytany: there is no group no\ntry: prytany groups"},
		{"group show", 2, "", "", "prytany: group show: missing NAME"},
		{"group", 0, "", "rebalance Spread voters and leaders better over the nodes, or say how", ""},
		{"group sho web", 2, "", "", `prytany: group: there is no command "sho"` + "\ntry: prytany group show"},
		{"group create web --replicas 5 --zone a,b --zone c --near n2", 0, `POST groups {"name":"web","replicas":5,"zones":["a","b","c"],"near":"n2"}`, "web 5 n1,n2 n1 -", ""},
		{"group create web", 0, `POST groups {"name":"web"}`, "web 0 n1,n2 n1 -", ""},
		{"group create web --replicas 0", 2, "", "", "prytany: group create: --replicas 0: want 1 or more"},
		{"group create web --zone=", 2, "", "", "prytany: group create: --zone is empty\ntry: prytany group create web"},
		{"group create web --near=", 2, "", "", "prytany: group create: --near is empty"},
		{"group create", 2, "", "", "prytany: group create: missing NAME"},
		{"group delete web", 2, "", "", "prytany: group delete: everything in web is lost; say --yes if that is what you want"},
		{"group delete web --yes", 0, "DELETE groups/web", "", ""},
		{"group move web", 2, "", "", "prytany: group move: missing --from NODE"},
		{"group move web --from n2 --to n4 --no-wait", 0, `POST groups/web:move {"from":"n2","to":"n4"}`, "web 3 n1,n2(dead) n2 +n4 -n2", ""},
		{"group move web --from n2 --wait 0s", 6, `POST groups/web:move {"from":"n2"}`, "", "prytany: not carried out after 0s, and goes on: group web: n4 to become a voter, n2 to cease to be one\ntry: prytany groups --watch"},
		{"group move web --from n2 --wait=-1s", 2, "", "", "prytany: group move: --wait -1s: want 0s or more"},
		{"group move web --from n2 --wait 3s --no-wait", 2, "", "", "prytany: group move: either --no-wait or --wait, not both"},
		{"group resize web no", 2, "", "", `prytany: group resize: "no": want a number from 1`},
		{"group resize web 0", 2, "", "", `prytany: group resize: "0": want a number from 1`},
		{"group resize web 5 --no-wait", 0, `PATCH groups/web {"replicas":5}`, "web 3 n1,n2(dead) n2 +n4", ""},
		{"group rebalance", 0, `POST groups:rebalance {}`, "", "prytany: nothing to do: voters and leaders are where they should be"},
		{"group rebalance --limit 0", 2, "", "", "prytany: group rebalance: --limit 0: want 1 or more"},
		{"members", 0, "", "NAME HTTP GOSSIP LINK ROLE GROUPS RTT ZONE VERSION\nn1 - alive self leader 2 - a -\nn3 - alive up removed 0 - b -", ""},
		{"member list -o name", 0, "", "n1\nn2\nn3", ""},
		{"member remove n1", 2, "", "", "prytany: member remove: n1 is alive and votes in 2 groups; its process ends, for good; say --yes if that is what you want\ntry: prytany member remove n1 --yes"},
		{"member replace 000000000000000a", 2, "", "", "try: prytany member replace 000000000000000a --yes"},
		{"member replace n2 --by n4 --no-wait", 0, `POST members/n2:replace {"by":"n4"}`, "NODE BY GROUPS ID", ""},
		{"member replace n2 --force --no-wait", 0, `POST members/n2:replace?force=true {}`, "", ""},
		{"member remove n1 --yes --force --no-wait", 0, `DELETE members/n1?force=true`, "", ""},
		{"member add n4 --no-wait", 0, `POST members {"node":"n4"}`, "", ""},
		{"status", 0, "", "groups 7 known, 3 on this node: leads 2, 1 without a leader", ""},
		{"status -g web", 0, "", "group web: NO QUORUM, 1 of 2 voters reachable from here; no leader, ballot 3.1, configuration 0", ""},
		{"status -g zoo", 3, "", "", "prytany: node n1 has no part in group zoo\ntry: prytany group show zoo"},
		{"status --group no", 3, "", "", "prytany: there is no group no"},
		{"members -g web", 2, "", "", "prytany: members: --group: this command is about nodes or the whole cluster, not about one group\ntry: prytany members --help"},
		{"group list -g web", 2, "", "", "prytany: group list: --group: this command is about nodes or the whole cluster, not about one group"},
		{"get k -g", 2, "", "", "prytany: flag needs an argument: 'g' in -g"},
		{"get k --group=", 2, "", "", "prytany: --group is empty"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			d := example()
			code, stdout, stderr := d.call(t, strings.Fields(tc.args)...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			lines(t, "stdout", stdout, tc.stdout)
			lines(t, "stderr", stderr, tc.stderr)
			if asked := strings.Join(d.asked, "\n"); asked != tc.asked {
				t.Errorf("asked %q, want %q", asked, tc.asked)
			}
			if code != 0 && strings.Count(stderr, "\ntry: ") != 1 {
				t.Errorf("an error has one line that says what to try: %q", stderr)
			}
		})
	}
}

// lines wants each of the lines in text, blanks squeezed.
func lines(t *testing.T, what, text, want string) {
	t.Helper()
	have := map[string]bool{}
	for l := range strings.SplitSeq(text, "\n") {
		have[strings.Join(strings.Fields(l), " ")] = true
	}
	for l := range strings.SplitSeq(want, "\n") {
		if l != "" && !have[l] {
			t.Errorf("%s lacks %q:\n%s", what, l, text)
		}
	}
}

// A refusal tells what to do, and ends with the exit code of its kind.
func TestGroupRefusals(t *testing.T) {
	for code, want := range map[api.Code]int{
		api.CodeGroupExists: 4, api.CodeGroupBusy: 4, api.CodeTooFewNodes: 4, api.CodeNodeUnknown: 3, api.CodeNodeRemoved: 4, api.CodeQuorumAtRisk: 4,
		api.CodeMainGroup: 4, api.CodeTooManyGroups: 4, api.CodeGroupUnknown: 3,
	} {
		for _, args := range []string{
			"group create web", "group delete web --yes", "group move web --from n1", "group resize web 5", "group rebalance",
			"member add n4", "member remove n2", "member replace n2",
		} {
			d := example()
			d.refuse = &api.Problem{Code: code, Detail: "it will not do", Applied: api.AppliedNo}
			got, stdout, stderr := d.call(t, strings.Fields(args)...)
			stderr = regexp.MustCompile("there is no group .*").ReplaceAllString(stderr, d.refuse.Detail)
			if got != want || stdout != "" || !strings.HasPrefix(stderr, "prytany: it will not do\ntry: ") || strings.Count(stderr, "\n") != 2 {
				t.Errorf("%s, %s: exit code %d, want %d: %q %q", code, args, got, want, stdout, stderr)
			}
		}
	}
}

// A move is followed until it is done, each stage is told once, and what is shown is
// how it ended.
func TestWaitForAMove(t *testing.T) {
	d := example()
	d.after = map[string]func(*api.Group){"web": func(g *api.Group) { g.Move, g.Members, g.Config = nil, voters("n1", "n4"), 6 }}
	code, stdout, stderr := d.call(t, "group", "move", "web", "--from", "n2", "--to", "n4")
	if code != 0 || stderr != "waiting for group web: n4 to become a voter, n2 to cease to be one\n" {
		t.Errorf("exit code %d: %q", code, stderr)
	}
	lines(t, "stdout", stdout, "web 3 n1,n4 n2 -")
}

// A move that was given up is no success, and that it is not seen for a moment is no
// failure.
func TestMoveGivenUp(t *testing.T) {
	d := example()
	d.after = map[string]func(*api.Group){"web": func(g *api.Group) { g.Move = nil }}
	begin := time.Now()
	code, stdout, stderr := d.call(t, "group", "move", "web", "--from", "n2")
	if code != 4 || stdout != "" || time.Since(begin) < 3*time.Second {
		t.Errorf("exit code %d after %v: %q", code, time.Since(begin), stdout)
	}
	lines(t, "stderr", stderr, "prytany: group web: the move was given up\ntry: prytany group show web")
}

// Groups on many pages are waited for together.
func TestWaitForManyGroups(t *testing.T) {
	const n = 25
	d := &directory{page: 7, after: map[string]func(*api.Group){}, change: api.MemberChange{Node: "000000000000000b", Name: "n2", By: "n2"}}
	for i := range n {
		g := &api.Group{Name: fmt.Sprintf("g%02d", i), Members: voters("n1", "n2")}
		d.groups = append(d.groups, g)
		d.change.Groups = append(d.change.Groups, g.Name)
		d.after[g.Name] = func(g *api.Group) { g.Members = []api.GroupMember{{ID: "000000000000000f", Name: "n2"}} }
	}
	code, stdout, stderr := d.call(t, "member", "replace", "n2")
	if code != 0 || stderr != "waiting for 25 of 25 groups: g00, g01, g02…\n" {
		t.Errorf("exit code %d: %q", code, stderr)
	}
	lines(t, "stdout", stdout, "NODE BY GROUPS ID\nn2 n2 25 000000000000000b")
	for _, g := range d.groups {
		if d.looks[g.Name] != 3 {
			t.Errorf("%s was looked at %d times", g.Name, d.looks[g.Name])
		}
	}
}

// A rebalance tells its steps with their reasons, those that could not be begun too.
func TestRebalance(t *testing.T) {
	d := example()
	d.steps = []api.RebalanceStep{
		{Group: "zoo", Kind: "member", From: "n3", To: "n1", Why: "nearer"},
		{Group: "web", Kind: "lead", From: "n2", To: "n1", Why: "n2 leads 3 more"},
	}
	code, stdout, stderr := d.call(t, "group", "rebalance", "--dry-run")
	if code != 0 || stderr != "prytany: nothing was done; this is what would be:\n" || d.looks["zoo"] > 0 {
		t.Errorf("exit code %d: %q", code, stderr)
	}
	lines(t, "stdout", stdout, "GROUP STEP FROM TO WHY\nzoo vote n3 n1 nearer\nweb lead n2 n1 n2 leads 3 more")

	d.after = map[string]func(*api.Group){"zoo": func(g *api.Group) { g.Members = voters("n1") }}
	d.steps[1].Error = "busy"
	code, stdout, stderr = d.call(t, "group", "rebalance", "--limit", "7")
	if code != 4 || stderr != "prytany: 1 of 2 steps could not be begun\nwaiting for group zoo: n3 to cease to be a voter\n" {
		t.Errorf("exit code %d: %q", code, stderr)
	}
	lines(t, "stdout", stdout, "web lead n2 n1 n2 leads 3 more; not begun: busy")
	if want := `POST groups:rebalance {"limit":7}`; d.asked[1] != want {
		t.Errorf("asked %q", d.asked)
	}
}

// --group is the group that a command works in, and is part of the lines with curl.
func TestGroupFlag(t *testing.T) {
	txn := filepath.Join(t.TempDir(), "txn.json")
	if err := os.WriteFile(txn, []byte(`{"then":[{"put":"a","value":"1"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ args, want string }{
		{"get k -g web", "/v1/groups/web/config/k "},
		{"put k v --group web", "/v1/groups/web/config/k "},
		{"delete k -g web", "/v1/groups/web/config/k "},
		{"list app/ -g web", "/v1/groups/web/config?prefix=app%2F "},
		{"watch app/ -g web", "/v1/groups/web/watch/app/ "},
		{"txn @" + txn + " -g web", "/v1/groups/web/transactions "},
		{"locks -g web", "/v1/groups/web/locks "},
		{"unlock l --fence 3 -g web", "/v1/groups/web/locks/l "},
		{"lock l -g web", "/v1/groups/web/locks/l?wait=5m0s "},
		{"break l --yes -g web", "/v1/groups/web/locks/l?force=true "},
		{"yield l -g web", "/v1/groups/web/locks/l:yield "},
		{"explain l -g web", "/v1/groups/web/explain/locks/l "},
		{"fence r 3 -g web", "/v1/groups/web/fences/r "},
		{"elect e -g web", "/v1/groups/web/elections/e?wait=5m0s "},
		{"leader e -g web", "/v1/groups/web/elections/e "},
		{"session list -g web", "/v1/groups/web/sessions "},
		{"session create -g web", "/v1/groups/web/sessions "},
		{"transfer n2 -g web", "/v1/groups/web/leader:transfer "},
		{"get k -g main", "/v1/config/k "},
		{"group move web --from n1", "/v1/groups/web:move "},
		{"member replace n1 --by n2", "/v1/members/n1:replace "},
		{"events -g web", "/v1/events?limit=1000 "},
	} {
		code, stdout, stderr := example().call(t, append(strings.Fields(tc.args), "--curl")...)
		if line := strings.ReplaceAll(strings.TrimSpace(stdout), "'", "") + " "; code != 0 || !strings.Contains(line, tc.want) {
			t.Errorf("%s: exit code %d: %s%s", tc.args, code, stdout, stderr)
		}
	}
	t.Setenv("PRYTANY_GROUP", "web")
	if _, stdout, _ := example().call(t, "get", "k", "--curl"); !strings.Contains(stdout, "/v1/groups/web/config/k") {
		t.Errorf("from the environment: %s", stdout)
	}
	if code, stdout, stderr := example().call(t, "members", "-o", "name"); code != 0 || stdout != "n1\nn2\nn3\n" {
		t.Errorf("a group in the environment does not disturb what is the cluster's: %s", stderr)
	}
}

// Who leads a group that the asked node has no part in, a member of it is asked.
func TestLeadersAreFound(t *testing.T) {
	there := example()
	there.groups[2].Leader, there.groups[2].LeaderURL = "n3", "http://n3"
	srv := httptest.NewServer(there)
	defer srv.Close()
	d := example()
	d.where = srv.URL
	_, stdout, _ := d.call(t, "groups")
	lines(t, "groups", stdout, "zoo 1 n3 n3 -\nweb 3 n1,n2(dead) n2 +n4")
	_, stdout, _ = d.call(t, "group", "show", "zoo")
	lines(t, "group show", stdout, "quorum, 1 of 1 voters alive, survives 0 more failures; leader n3 (http://n3)\nn3 leader alive - 000000000000000c")
	srv.Close()
	if code, stdout, _ := d.call(t, "groups"); code != 0 || !strings.Contains(stdout, "zoo") {
		t.Errorf("that a node does not answer is no error: %d", code)
	}
}

// Completion knows groups, nodes and zones, after other arguments too.
func TestGroupCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"group show w": "web", "groups z": "zoo", "get -g w": "web", "group move web --from n2": "n2\tfollower", "group create x --zone b": "b",
		"member replace n1 --by n1": "n1\tleader", "member remove n1": "n1\tleader", "transfer -g web n1": "n1\tleader",
	} {
		stdout := ""
		for end := time.Now().Add(patience); !strings.HasPrefix(stdout, want+"\n"); { // it proposes nothing when an answer takes a second
			if time.Now().After(end) {
				t.Fatalf("%s: %q", args, stdout)
			}
			_, stdout, _ = example().call(t, append([]string{"__complete"}, strings.Fields(args)...)...)
		}
	}
}
