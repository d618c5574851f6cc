package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/api"
)

// fakeGroups notes what it is asked, and answers what the test says.
type fakeGroups struct {
	calls []any
	err   error
	group api.Group
	list  []api.Group
	more  bool
	step  []api.RebalanceStep
	block bool // until the context ends
}

type (
	listGroups struct {
		prefix, after string
		limit         int
	}
	getGroup    struct{ name string }
	createGroup struct {
		request string
		in      api.CreateGroup
	}
	deleteGroup struct{ request, name string }
	resizeGroup struct {
		name     string
		replicas int
	}
	moveGroup struct {
		name string
		in   api.MoveMember
	}
	addNode    struct{ node string }
	removeNode struct {
		node  string
		force bool
	}
	replaceNode struct {
		node, by string
		force    bool
	}
)

func (g *fakeGroups) note(ctx context.Context, call any) error {
	g.calls = append(g.calls, call)
	if g.block {
		<-ctx.Done()
		return ctx.Err()
	}
	return g.err
}

func (g *fakeGroups) List(prefix, after string, limit int) ([]api.Group, bool) {
	g.calls = append(g.calls, listGroups{prefix, after, limit})
	return g.list, g.more
}

func (g *fakeGroups) Get(name string) (api.Group, error) {
	return g.group, g.note(context.Background(), getGroup{name})
}

func (g *fakeGroups) Create(ctx context.Context, request string, c api.CreateGroup) (api.Group, error) {
	return g.group, g.note(ctx, createGroup{request, c})
}

func (g *fakeGroups) Delete(ctx context.Context, request, name string) error {
	return g.note(ctx, deleteGroup{request, name})
}

func (g *fakeGroups) Resize(ctx context.Context, name string, replicas int) (api.Group, error) {
	return g.group, g.note(ctx, resizeGroup{name, replicas})
}

func (g *fakeGroups) Move(ctx context.Context, name string, m api.MoveMember) (api.Group, error) {
	return g.group, g.note(ctx, moveGroup{name, m})
}

func (g *fakeGroups) Rebalance(ctx context.Context, r api.Rebalance) (api.Rebalanced, error) {
	return api.Rebalanced{DryRun: r.DryRun, Steps: g.step}, g.note(ctx, r)
}

func (g *fakeGroups) AddMember(ctx context.Context, node string) (api.MemberChange, error) {
	return api.MemberChange{Node: "00000000000000a1"}, g.note(ctx, addNode{node})
}

func (g *fakeGroups) RemoveMember(ctx context.Context, node string, force bool) (api.MemberChange, error) {
	return api.MemberChange{Node: "00000000000000a1", Groups: []string{"main"}}, g.note(ctx, removeNode{node, force})
}

func (g *fakeGroups) ReplaceMember(ctx context.Context, node, by string, force bool) (api.MemberChange, error) {
	return api.MemberChange{Node: "00000000000000a1", By: by}, g.note(ctx, replaceNode{node, by, force})
}

// grouped is a server with g, and locks that nobody is to call.
func grouped(g *fakeGroups) *Server {
	cfg := config(newFake())
	cfg.Groups = g
	return New(cfg)
}

var orders = api.Group{Name: "orders", ID: 2, Replicas: 1, Config: 1, Members: []api.GroupMember{{ID: "00000000000000a1", Name: "n1", Gossip: "alive"}}}

const ordersJSON = `{"name":"orders","id":2,"replicas":1,"config":1,"members":[{"id":"00000000000000a1","name":"n1","gossip":"alive"}]}`

// Each request about groups and members reaches Groups as it was meant.
func TestGroupRequests(t *testing.T) {
	change := `{"node":"00000000000000a1","groups":[]}`
	for _, tc := range []struct {
		method, target, body string
		want                 any
		status               int
		reply                string
	}{
		{"GET", "/v1/groups", "", listGroups{"", "", 1000}, 200, `{"groups":[` + ordersJSON + `],"cursor":"orders"}`},
		{"GET", "/v1/groups?prefix=o&limit=1&cursor=a", "", listGroups{"o", "a", 1}, 200, ""},
		{"HEAD", "/v1/groups", "", listGroups{"", "", 1000}, 200, ""},
		{"GET", "/v1/groups/orders", "", getGroup{"orders"}, 200, ordersJSON},
		{"GET", "/v1/groups/%6frders", "", getGroup{"orders"}, 200, ordersJSON},
		{"HEAD", "/v1/groups/main", "", getGroup{"main"}, 200, ""},
		{"PATCH", "/v1/groups/orders", `{"replicas":9}`, resizeGroup{"orders", 9}, 200, ordersJSON},
		{"POST", "/v1/groups/orders:move", `{"from":"n1"}`, moveGroup{"orders", api.MoveMember{From: "n1"}}, 202, ordersJSON},
		{"POST", "/v1/groups/orders:move", `{"from":"n1","to":"n4"}`, moveGroup{"orders", api.MoveMember{From: "n1", To: "n4"}}, 202, ""},
		{"POST", "/v1/groups:rebalance", "", api.Rebalance{}, 200, `{"dry_run":false,"steps":[]}`},
		{"POST", "/v1/groups:rebalance", `{"dry_run":true,"limit":1000}`, api.Rebalance{DryRun: true, Limit: 1000}, 200, ""},
		{"POST", "/v1/members", `{"node":"n4"}`, addNode{"n4"}, 202, change},
		{"DELETE", "/v1/members/n4", "", removeNode{"n4", false}, 202, `{"node":"00000000000000a1","groups":["main"]}`},
		{"DELETE", "/v1/members/n4:replace?force=true", "", removeNode{"n4:replace", true}, 202, ""},
		{"POST", "/v1/members/n4:replace", "", replaceNode{"n4", "", false}, 202, change},
		{"POST", "/v1/members/n%2F4:replace?force", `{"by":"n5"}`, replaceNode{"n/4", "n5", true}, 202, ""},
	} {
		g := &fakeGroups{group: orders, list: []api.Group{orders}, more: true}
		rec := send(t, grouped(g), tc.method, tc.target, tc.body)
		if rec.Code != tc.status || len(g.calls) != 1 || !reflect.DeepEqual(g.calls[0], tc.want) {
			t.Errorf("%s %s: %d, asked for %+v, want %d, %+v\n%s", tc.method, tc.target, rec.Code, g.calls, tc.status, tc.want, rec.Body)
		}
		if got := strings.TrimSpace(rec.Body.String()); tc.reply != "" && got != tc.reply {
			t.Errorf("%s %s: %s\nwant %s", tc.method, tc.target, got, tc.reply)
		}
	}
}

// A resize that is not done yet is accepted; what is empty in a group is a list.
func TestGroupUnderWay(t *testing.T) {
	for name, group := range map[string]api.Group{
		"too few members": {Name: "orders", ID: 2, Replicas: 3},
		"a move":          {Name: "orders", ID: 2, Move: &api.Move{Add: "n4", Why: "asked for"}, Here: &api.GroupStatus{Group: "orders", Role: api.RoleNone}},
	} {
		rec := send(t, grouped(&fakeGroups{group: group}), "PATCH", "/v1/groups/orders", `{"replicas":3}`)
		if rec.Code != 202 || !strings.Contains(rec.Body.String(), `"members":[]`) {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
		if group.Here != nil && !strings.Contains(rec.Body.String(), `"voters":[]`) {
			t.Errorf("%s: %s", name, rec.Body)
		}
	}
	rec := send(t, grouped(&fakeGroups{}), "GET", "/v1/groups?cursor=zz", "")
	if got := rec.Body.String(); got != `{"groups":[]}`+"\n" {
		t.Error(got)
	}
}

// The id of a request is the same for the same request under one key alone.
func TestCreateGroup(t *testing.T) {
	g := &fakeGroups{group: orders}
	s := grouped(g)
	ids := map[string][]string{}
	for _, tc := range [][3]string{
		{"a", "k1", `{"name":"orders"}`}, {"a", `"k1"`, `{"name":"orders"}`}, {"b", "k2", `{"name":"orders"}`}, {"c", "k1", `{"name":"orders","replicas":3}`},
		{"d", "", `{"name":"orders"}`}, {"e", "", `{"name":"orders"}`},
	} {
		var headers []string
		if tc[1] != "" {
			headers = []string{"Idempotency-Key: " + tc[1]}
		}
		rec := send(t, s, "POST", "/v1/groups", tc[2], headers...)
		if rec.Code != 201 || rec.Header().Get("Location") != "/v1/groups/orders" || strings.TrimSpace(rec.Body.String()) != ordersJSON {
			t.Fatalf("%d %v %s", rec.Code, rec.Header(), rec.Body)
		}
		ids[tc[0]] = append(ids[tc[0]], g.calls[len(g.calls)-1].(createGroup).request)
	}
	seen := map[string]string{}
	for name, list := range ids {
		for _, id := range list {
			if other, ok := seen[id]; id == "" || len(id) > 64 || ok && other != name {
				t.Errorf("%s and %s have the id %q", name, other, id)
			}
			seen[id] = name
		}
	}
	if len(seen) != 5 {
		t.Errorf("%v: the same request has not the same id", ids)
	}

	in := `{"name":"orders","replicas":9,"zones":["a","b"],"near":"n1"}`
	send(t, s, "POST", "/v1/groups", in)
	got := g.calls[len(g.calls)-1].(createGroup).in
	if want := (api.CreateGroup{Name: "orders", Replicas: 9, Zones: []string{"a", "b"}, Near: "n1"}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	rec := send(t, s, "DELETE", "/v1/groups/orders", "", "Idempotency-Key: k1")
	if call := g.calls[len(g.calls)-1].(deleteGroup); rec.Code != 204 || call.name != "orders" || seen[call.request] != "" || call.request == "" {
		t.Errorf("%d %+v", rec.Code, call)
	}
}

// A refusal names the bounds that hold, not those of the decoder, for which 0 is what
// was not said, and fields that the request takes.
func TestGroupBoundsAreTold(t *testing.T) {
	for _, tc := range []struct{ method, target, body, detail, limit string }{
		{"POST", "/v1/groups", `{"name":"a","replicas":10}`, "replicas must be from 1 to 9; got 10", "1 to 9"},
		{"PATCH", "/v1/groups/orders", `{"replicas":0}`, "replicas must be from 1 to 9; got 0", "1 to 9"},
		{"POST", "/v1/groups:rebalance", `{"limit":-1}`, "limit must be from 1 to 1000; got -1", "1 to 1000"},
		{"POST", "/v1/groups", `[]`, "the body must be a JSON object; its fields here: name, near, replicas, zones", "a JSON object"},
	} {
		p := problemIn(t, send(t, grouped(&fakeGroups{group: orders}), tc.method, tc.target, tc.body))
		if p.Detail != tc.detail || p.Limit != tc.limit {
			t.Errorf("%s %s %s: %q, limit %q; want %q, %q", tc.method, tc.target, tc.body, p.Detail, p.Limit, tc.detail, tc.limit)
		}
	}
}

// Everything that is wrong with a request about groups and members is refused, with
// what, and reaches nobody.
func TestGroupsRefused(t *testing.T) {
	long := strings.Repeat("x", 65)
	zones := strings.TrimSuffix(strings.Repeat(`"z",`, 17), ",")
	for _, tc := range []refusal{
		{"PUT", "/v1/groups", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"POST", "/v1/groups/orders", "{}", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"GET", "/v1/groups:rebalance", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"GET", "/v1/members/n1", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"POST", "/v1/groups:compact", "{}", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/groups?next=a", "", nil, 400, api.CodeInvalid, "next"},
		{"GET", "/v1/groups?prefix=" + long, "", nil, 400, api.CodeInvalid, "prefix"},
		{"GET", "/v1/groups?cursor=" + long, "", nil, 400, api.CodeInvalid, "cursor"},
		{"GET", "/v1/groups?limit=1001", "", nil, 400, api.CodeInvalid, "limit"},
		{"GET", "/v1/groups/Orders", "", nil, 400, api.CodeInvalid, "group"},
		{"GET", "/v1/groups/orders:move", "", nil, 400, api.CodeInvalid, "group"},
		{"GET", "/v1/groups/" + long, "", nil, 400, api.CodeInvalid, "group"},
		{"GET", "/v1/groups/%2e%2e", "", nil, 400, api.CodeInvalid, "group"},
		{"GET", "/v1/groups/%ff", "", nil, 400, api.CodeInvalid, "group"},
		{"GET", "/v1/groups/orders?wait=1s", "", nil, 400, api.CodeInvalid, "wait"},
		{"GET", "/v1/groups/orders", "{}", nil, 400, api.CodeInvalid, "body"},
		{"DELETE", "/v1/groups/a%20b", "", nil, 400, api.CodeInvalid, "group"},
		{"DELETE", "/v1/groups/main", "", nil, 409, api.CodeMainGroup, "group"},
		{"DELETE", "/v1/groups/orders", "", []string{`If-Match: "3"`}, 400, api.CodeInvalid, "If-Match"},
		{"DELETE", "/v1/groups/orders", "", []string{"Idempotency-Key:"}, 400, api.CodeInvalid, api.HeaderIdempotencyKey},
		{"POST", "/v1/groups", "", nil, 400, api.CodeInvalid, "name"},
		{"POST", "/v1/groups", `{"name":""}`, nil, 400, api.CodeInvalid, "name"},
		{"POST", "/v1/groups", `{"name":"` + long + `"}`, nil, 400, api.CodeInvalid, "name"},
		{"POST", "/v1/groups", `{"name":"a/b"}`, nil, 400, api.CodeInvalid, "name"},
		{"POST", "/v1/groups", `{"name":"a","replicas":10}`, nil, 400, api.CodeInvalid, "replicas"},
		{"POST", "/v1/groups", `{"name":"a","replicas":-1}`, nil, 400, api.CodeInvalid, "replicas"},
		{"POST", "/v1/groups", `{"name":"a","replicas":"3"}`, nil, 400, api.CodeInvalid, "replicas"},
		{"POST", "/v1/groups", `{"name":"a","zones":[` + zones + `]}`, nil, 400, api.CodeInvalid, "zones"},
		{"POST", "/v1/groups", `{"name":"a","zones":["z","z"]}`, nil, 400, api.CodeInvalid, "zones[1]"},
		{"POST", "/v1/groups", `{"name":"a","zones":["z",""]}`, nil, 400, api.CodeInvalid, "zones[1]"},
		{"POST", "/v1/groups", `{"name":"a","zones":["z",3]}`, nil, 400, api.CodeInvalid, "zones[1]"},
		{"POST", "/v1/groups", `{"name":"a","near":""}`, nil, 400, api.CodeInvalid, "near"},
		{"POST", "/v1/groups", `{"name":"a","shards":2}`, nil, 400, api.CodeInvalid, "shards"},
		{"POST", "/v1/groups?wait=1s", `{"name":"a"}`, nil, 400, api.CodeInvalid, "wait"},
		{"POST", "/v1/groups", `{"name":"` + strings.Repeat("x", 49<<10) + `"}`, nil, 413, api.CodeTooLarge, "body"},
		{"POST", "/v1/groups", `{"name":"a"}`, []string{"Prytany-Forward: no"}, 400, api.CodeInvalid, api.HeaderForward},
		{"POST", "/v1/groups", `{"name":"a"}`, []string{"Sec-Fetch-Site: cross-site"}, 403, api.CodeForbiddenOrigin, "Origin"},
		{"PATCH", "/v1/groups/orders", "", nil, 400, api.CodeInvalid, "replicas"},
		{"PATCH", "/v1/groups/orders", `{"replicas":0}`, nil, 400, api.CodeInvalid, "replicas"},
		{"PATCH", "/v1/groups/orders", `{"replicas":10}`, nil, 400, api.CodeInvalid, "replicas"},
		{"PATCH", "/v1/groups/or%2Fders", `{"replicas":3}`, nil, 400, api.CodeInvalid, "group"},
		{"POST", "/v1/groups/orders:move", "", nil, 400, api.CodeInvalid, "from"},
		{"POST", "/v1/groups/orders:move", `{"from":"a","to":""}`, nil, 400, api.CodeInvalid, "to"},
		{"POST", "/v1/groups/ORDERS:move", `{"from":"a"}`, nil, 400, api.CodeInvalid, "group"},
		{"POST", "/v1/groups:rebalance", `{"limit":1001}`, nil, 400, api.CodeInvalid, "limit"},
		{"POST", "/v1/groups:rebalance", `{"limit":-1}`, nil, 400, api.CodeInvalid, "limit"},
		{"POST", "/v1/groups:rebalance", `{"dry_run":"yes"}`, nil, 400, api.CodeInvalid, "dry_run"},
		{"POST", "/v1/members", "", nil, 400, api.CodeInvalid, "node"},
		{"POST", "/v1/members", `{"node":"` + strings.Repeat("x", 513) + `"}`, nil, 400, api.CodeInvalid, "node"},
		{"DELETE", "/v1/members/", "", nil, 400, api.CodeInvalid, "id"},
		{"DELETE", "/v1/members/%ff", "", nil, 400, api.CodeInvalid, "id"},
		{"DELETE", "/v1/members/n1?force=maybe", "", nil, 400, api.CodeInvalid, "force"},
		{"POST", "/v1/members/n1:replace", `{"by":""}`, nil, 400, api.CodeInvalid, "by"},
		{"POST", "/v1/members/:replace", `{}`, nil, 400, api.CodeInvalid, "id"},
	} {
		g := &fakeGroups{group: orders}
		p := problemIn(t, send(t, grouped(g), tc.method, tc.target, tc.body, tc.headers...))
		if p.Status != tc.status || p.Code != tc.code || p.Field != tc.field || p.Applied != api.AppliedNo || p.Retryable {
			t.Errorf("%s %.60s %.60q %q: %d %s field %q, want %d %s field %q\n%s", tc.method, tc.target, tc.body, tc.headers,
				p.Status, p.Code, p.Field, tc.status, tc.code, tc.field, p.Detail)
		}
		if p.Status == 400 && p.Field != "body" && p.Limit == "" && p.Detail == "" {
			t.Errorf("%s %.60s: neither a limit nor a detail: %+v", tc.method, tc.target, p)
		}
		if len(g.calls) != 0 {
			t.Errorf("%s %.60s %.60q: refused, but made the call %+v", tc.method, tc.target, tc.body, g.calls)
		}
	}
}

// What Groups refuses is refused under its own status; what is lost is unknown, and
// may be sent again where that does no harm.
func TestGroupsFail(t *testing.T) {
	requests := [][3]string{
		{"POST", "/v1/groups", `{"name":"orders"}`}, {"DELETE", "/v1/groups/orders", ""}, {"PATCH", "/v1/groups/orders", `{"replicas":3}`},
		{"POST", "/v1/groups/orders:move", `{"from":"n1"}`}, {"POST", "/v1/groups:rebalance", ""}, {"POST", "/v1/members", `{"node":"n4"}`},
		{"DELETE", "/v1/members/n4", ""}, {"POST", "/v1/members/n4:replace", ""},
	}
	for i, r := range requests {
		for code, status := range map[api.Code]int{
			api.CodeGroupExists: 409, api.CodeGroupBusy: 409, api.CodeTooFewNodes: 409, api.CodeNodeUnknown: 404, api.CodeNodeRemoved: 409,
			api.CodeQuorumAtRisk: 409, api.CodeMainGroup: 409, api.CodeTooManyGroups: 409, api.CodeGroupUnknown: 404, api.CodeNoLeader: 503,
		} {
			g := &fakeGroups{err: fmt.Errorf("node: %w", &api.Problem{Code: code, Detail: "d"})}
			p := problemIn(t, send(t, grouped(g), r[0], r[1], r[2]))
			if p.Status != status || p.Code != code || p.Applied != api.AppliedNo || p.Detail != "d" {
				t.Errorf("%s %s: %+v, want %d %s", r[0], r[1], p, status, code)
			}
		}
		for _, key := range []bool{false, true} {
			var headers []string
			if key {
				headers = []string{"Idempotency-Key: k"}
			}
			p := problemIn(t, send(t, grouped(&fakeGroups{err: context.DeadlineExceeded}), r[0], r[1], r[2], headers...))
			if p.Status != 504 || p.Applied != api.AppliedUnknown || p.Retryable != (key || i > 1) {
				t.Errorf("%s %s, key %v: %+v", r[0], r[1], key, p)
			}
		}
		p := problemIn(t, send(t, grouped(&fakeGroups{err: errors.New("secret")}), r[0], r[1], r[2]))
		if p.Status != 500 || strings.Contains(p.Detail, "secret") {
			t.Errorf("%s %s: %+v", r[0], r[1], p)
		}
	}
}

// Who wants to go to the leader of main by itself is told where it is.
func TestGroupsForward(t *testing.T) {
	g := &fakeGroups{group: orders}
	cfg := config(newFake())
	cfg.Groups, cfg.IsLeader = g, func(group string) bool { return group != "main" }
	p := problemIn(t, send(t, New(cfg), "POST", "/v1/groups", `{"name":"orders"}`, "Prytany-Forward: ?0"))
	if p.Code != api.CodeNotLeader || p.Leader != "http://n2:7480" || len(g.calls) != 0 {
		t.Errorf("%+v %v", p, g.calls)
	}
	if rec := send(t, New(cfg), "POST", "/v1/groups", `{"name":"orders"}`); rec.Code != http.StatusCreated || rec.Header().Get(api.HeaderLeader) != "http://n2:7480" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
}

// Without Groups there is main alone, and it stays as it is.
func TestMainAlone(t *testing.T) {
	s := New(config(newFake()))
	for _, tc := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/v1/groups", "", 200, `"name":"main"`},
		{"GET", "/v1/groups?prefix=m&cursor=a", "", 200, `"name":"main"`},
		{"GET", "/v1/groups?prefix=n", "", 200, `{"groups":[]}`},
		{"GET", "/v1/groups?cursor=main", "", 200, `{"groups":[]}`},
		{"GET", "/v1/groups/main", "", 200, `"leader_url":"http://n2:7480"`},
		{"GET", "/v1/groups/orders", "", 404, "group-unknown"},
		{"POST", "/v1/groups", `{"name":"orders"}`, 409, "main-group"},
		{"DELETE", "/v1/groups/orders", "", 404, "group-unknown"},
		{"PATCH", "/v1/groups/orders", `{"replicas":3}`, 404, "group-unknown"},
		{"PATCH", "/v1/groups/main", `{"replicas":3}`, 409, "main-group"},
		{"POST", "/v1/groups/main:move", `{"from":"n1"}`, 409, "main-group"},
		{"POST", "/v1/groups:rebalance", "", 200, `"steps":[]`},
		{"POST", "/v1/members", `{"node":"n4"}`, 409, "main-group"},
		{"DELETE", "/v1/members/n4", "", 409, "main-group"},
		{"POST", "/v1/members/n4:replace", "", 409, "main-group"},
	} {
		if rec := send(t, s, tc.method, tc.target, tc.body); rec.Code != tc.status || !strings.Contains(rec.Body.String(), tc.want) {
			t.Errorf("%s %s: %d %s, want %d %s", tc.method, tc.target, rec.Code, rec.Body, tc.status, tc.want)
		}
	}
}
