package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/node"
	"github.com/prytany/prytany/internal/storage"
)

// many runs five nodes, of which three vote in main.
func many(t *testing.T, with func(*node.Config)) *Cluster {
	t.Helper()
	cfg := Config{Nodes: 5, Dir: t.TempDir(), Node: node.Config{Voters: 3}}
	if with != nil {
		with(&cfg.Node)
	}
	c, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	ready(t, c)
	until(t, "three voters of main", func() bool {
		var g api.Group
		return get(t, c, "n1", "main", &g) == 200 && len(g.Members) == 3 && g.Config > 0
	})
	until(t, "all see all", func() bool {
		for _, s := range c.States() {
			var all api.Members
			_, body := call(t, "GET", s.URL+"/v1/members", "")
			if json.Unmarshal([]byte(body), &all) != nil || len(all.Members) != 5 {
				return false
			}
		}
		return true
	})
	return c
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

// get asks a node for a group.
func get(t *testing.T, c *Cluster, at, name string, g *api.Group) int {
	t.Helper()
	*g = api.Group{}
	status, body := call(t, "GET", url(t, c, at)+"/v1/groups/"+name, "")
	if status == 200 {
		if err := json.Unmarshal([]byte(body), g); err != nil {
			t.Fatal(err)
		}
	}
	return status
}

// makeGroup makes a group at a node. Its answer names a leader, unless none was found in time.
func makeGroup(t *testing.T, c *Cluster, at, name string, replicas int) (g api.Group) {
	t.Helper()
	body := must(t, 201, "POST", url(t, c, at)+"/v1/groups", fmt.Sprintf(`{"name":%q,"replicas":%d}`, name, replicas))
	if err := json.Unmarshal([]byte(body), &g); err != nil {
		t.Fatal(err)
	}
	if g.Leader == "" {
		member := g.Members[0].Name
		until(t, "a leader of "+name, func() bool { return get(t, c, member, name, &g) == 200 && g.Leader != "" })
	}
	return g
}

// settled waits until the group has these many members and no change is under way, and
// returns it as node at sees it.
func settled(t *testing.T, c *Cluster, at, name string, members int) (g api.Group) {
	t.Helper()
	until(t, fmt.Sprintf("%d members of %s", members, name), func() bool {
		return get(t, c, at, name, &g) == 200 && len(g.Members) == members && g.Move == nil
	})
	return g
}

func has(g api.Group, name string) bool {
	for _, m := range g.Members {
		if m.Name == name {
			return true
		}
	}
	return false
}

// outside returns the names of the nodes without a vote in g.
func outside(c *Cluster, g api.Group) (names []string) {
	for _, s := range c.States() {
		if !has(g, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

// works has every running node write and read in a group.
func works(t *testing.T, c *Cluster, name, key string) {
	t.Helper()
	for _, s := range c.States() {
		if s.State != "up" || c.Ended(s.Name) != nil {
			continue
		}
		at := s.URL + "/v1/groups/" + name
		eventually(t, "PUT", at+"/config/"+key+s.Name, s.Name, 200, 201)
		for _, other := range c.States() {
			if other.State == "up" && c.Ended(other.Name) == nil {
				if got := eventually(t, "GET", other.URL+"/v1/groups/"+name+"/config/"+key+s.Name, "", 200); got != s.Name {
					t.Fatalf("%s says that %s is %q", other.Name, key+s.Name, got)
				}
			}
		}
		// 409: an attempt whose answer was lost has it.
		eventually(t, "PUT", at+"/locks/"+key+s.Name, `{"ttl":"60s"}`, 200, 409)
	}
}

// eventually repeats a request that is refused or whose outcome is unknown.
func eventually(t *testing.T, method, url, body string, want ...int) string {
	t.Helper()
	var status int
	var got string
	until(t, method+" "+url, func() bool {
		status, got = call(t, method, url, body)
		for _, w := range want {
			if status == w {
				return true
			}
		}
		if status < 500 && !again(status, got) {
			t.Fatalf("%s %s: %d %s", method, url, status, got)
		}
		return false
	})
	return got
}

// answer repeats a request until somebody has an answer to it, whatever that is.
func answer(t *testing.T, method, url, body string) (status int, got string) {
	t.Helper()
	until(t, method+" "+url, func() bool {
		status, got = call(t, method, url, body)
		return status != 0 && status != 421 && status < 500
	})
	return status, got
}

func TestGroupsAreMadeAndUsedFromAnywhere(t *testing.T) {
	c := many(t, nil)
	first := makeGroup(t, c, "n1", "g1", 3)
	if len(first.Members) != 3 || first.Leader == "" {
		t.Fatalf("%+v", first)
	}
	out := outside(c, first)
	// Made on a node that is in neither the group nor main's voters, maybe.
	for i := range 6 {
		g := makeGroup(t, c, out[i%2], fmt.Sprintf("h%d", i), 0)
		if len(g.Members) != 3 || g.Leader == "" || g.ID <= first.ID {
			t.Errorf("%+v", g)
		}
	}
	works(t, c, "g1", "a")
	works(t, c, "h3", "a")
	if status, _ := answer(t, "GET", url(t, c, "n1")+"/v1/groups/h2/config/an1", ""); status != 404 {
		t.Errorf("what was written to h3 is in h2: %d", status)
	}
	if status, body := answer(t, "POST", url(t, c, "n2")+"/v1/groups", `{"name":"g1"}`); status != 409 || !strings.Contains(body, "group-exists") {
		t.Errorf("made twice: %d %s", status, body)
	}
	if status, body := answer(t, "POST", url(t, c, "n2")+"/v1/groups", `{"name":"wide","replicas":7}`); status != 409 || !strings.Contains(body, "too-few-nodes") {
		t.Errorf("seven of five: %d %s", status, body)
	}
	if status, _ := answer(t, "GET", url(t, c, "n2")+"/v1/groups/nosuch/config/k", ""); status != 404 {
		t.Errorf("an unknown group: %d", status)
	}
	must(t, 204, "DELETE", url(t, c, out[0])+"/v1/groups/g1", "")
	for _, s := range c.States() {
		until(t, "g1 is gone from "+s.Name, func() bool {
			status, _ := call(t, "GET", s.URL+"/v1/groups/g1/config/an1", "")
			return status == 404
		})
	}
	restartAll(t, c)
	for _, s := range c.States() {
		until(t, "g1 is not back at "+s.Name, func() bool {
			status, _ := call(t, "GET", s.URL+"/v1/groups/g1", "")
			return status == 404
		})
		if got := eventually(t, "GET", s.URL+"/v1/groups/h3/config/an1", "", 200); got != "n1" {
			t.Errorf("%s says %q after all have restarted", s.Name, got)
		}
	}
	until(t, "each has a part in its groups and no other", func() bool {
		here := 0
		for _, s := range c.States() {
			var st api.Status
			_, body := call(t, "GET", s.URL+"/v1/status", "")
			if json.Unmarshal([]byte(body), &st) != nil {
				return false
			}
			here += st.Counts.Here
		}
		return here == 5+6*3 // main everywhere, and six groups of three
	})
}

func restartAll(t *testing.T, c *Cluster) {
	t.Helper()
	for _, s := range c.States() {
		if err := c.Kill(s.Name); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range c.States() {
		if err := c.Restart(s.Name); err != nil {
			t.Fatal(err)
		}
	}
	ready(t, c)
}

func TestMembersMoveAndGroupsGrowAndShrink(t *testing.T) {
	c := many(t, nil)
	g := makeGroup(t, c, "n1", "g", 3)
	works(t, c, "g", "a")
	from, out := g.Leader, outside(c, g) // the hardest one to move: the leader
	eventually(t, "POST", url(t, c, out[0])+"/v1/groups/g:move", fmt.Sprintf(`{"from":%q,"to":%q}`, from, out[1]), 202)
	until(t, "the move", func() bool {
		return get(t, c, "n2", "g", &g) == 200 && has(g, out[1]) && !has(g, from) && g.Move == nil
	})
	works(t, c, "g", "b")
	until(t, "who has moved away gives up its part", func() bool { return get(t, c, from, "g", &g) == 200 && g.Here == nil })

	eventually(t, "PATCH", url(t, c, from)+"/v1/groups/g", `{"replicas":4}`, 200, 202)
	g = settled(t, c, "n3", "g", 4)
	works(t, c, "g", "c")
	eventually(t, "PATCH", url(t, c, from)+"/v1/groups/g", `{"replicas":2}`, 200, 202)
	g = settled(t, c, "n3", "g", 2)
	works(t, c, "g", "d")
	if got := eventually(t, "GET", url(t, c, "n5")+"/v1/groups/g/config/an4", "", 200); got != "n4" {
		t.Errorf("%q", got)
	}
}

// Of two moves that are asked for at a time one is refused, unless it is asked for so late that
// the other one has ended.
func TestOfTwoMovesOneIsTold(t *testing.T) {
	c := many(t, nil)
	g := makeGroup(t, c, "n1", "g", 3)
	out := outside(c, g)
	var all sync.WaitGroup
	var status [2]int
	var body [2]string
	for i := range 2 {
		at := url(t, c, c.States()[i].Name) + "/v1/groups/g:move"
		all.Go(func() {
			for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				status[i], body[i] = call(t, "POST", at, fmt.Sprintf(`{"from":%q,"to":%q}`, g.Members[i].Name, out[i]))
				if !again(status[i], body[i]) || strings.Contains(body[i], "group-busy") {
					return
				}
			}
		})
	}
	all.Wait()
	var begun []uint32 // the configurations at which moves were begun
	for i := range 2 {
		switch {
		case status[i] == 202:
			var at api.Group
			if err := json.Unmarshal([]byte(body[i]), &at); err != nil {
				t.Fatal(err)
			}
			begun = append(begun, at.Config)
		case status[i] != 409 || !strings.Contains(body[i], "group-busy"):
			t.Errorf("%d %s", status[i], body[i])
		}
	}
	if len(begun) == 0 || len(begun) == 2 && begun[0] == begun[1] {
		t.Errorf("%d moves were begun: %v", len(begun), body)
	}
	settled(t, c, "n1", "g", 3)
	works(t, c, "g", "a")
}

func TestALostNodeIsReplacedByOneWithItsName(t *testing.T) {
	c := many(t, nil)
	var led []string
	var groups []api.Group
	for i := range 6 {
		groups = append(groups, makeGroup(t, c, "n1", fmt.Sprintf("g%d", i), 3))
	}
	lost := groups[0].Members[0].Name
	for _, g := range groups {
		if !has(g, lost) {
			continue
		}
		name := g.Name
		led = append(led, name)
		call(t, "POST", url(t, c, lost)+"/v1/groups/"+name+"/leader:transfer", fmt.Sprintf(`{"to":%q}`, lost))
		works(t, c, name, "a")
	}
	old := c.Node(lost).ID()
	if err := c.Kill(lost); err != nil {
		t.Fatal(err)
	}
	for _, name := range led {
		works(t, c, name, "b")
	}
	if err := c.Wipe(lost); err != nil {
		t.Fatal(err)
	}
	until(t, "the new "+lost+" is told of its seat", func() bool {
		_, body := call(t, "GET", url(t, c, lost)+"/readyz?verbose", "")
		return strings.Contains(body, "prytany member replace "+lost)
	})
	via := others(c, lost)[0]
	showsAnother(t, c, via, lost, old.String())
	must(t, 202, "POST", url(t, c, via)+"/v1/members/"+lost+":replace", `{}`)
	if g := (api.Group{}); get(t, c, via, "main", &g) == 200 && has(g, lost) {
		led = append(led, "main")
	}
	for _, name := range led {
		until(t, "the new node's vote in "+name, func() bool {
			var g api.Group
			if get(t, c, via, name, &g) != 200 || len(g.Members) != 3 || g.Move != nil {
				return false
			}
			for _, m := range g.Members {
				if m.ID == old.String() {
					return false
				}
			}
			return has(g, lost)
		})
		if name != "main" {
			works(t, c, name, "c")
		}
	}
	until(t, "the new node is ready", func() bool { return c.Node(lost).Ready() })
}

func TestARemovedNodeStops(t *testing.T) {
	c := many(t, nil)
	g := makeGroup(t, c, "n1", "g", 3)
	gone := g.Members[0].Name
	via := others(c, gone)[0]
	must(t, 202, "DELETE", url(t, c, via)+"/v1/members/"+gone, "")
	until(t, gone+" has stopped", func() bool { return c.Ended(gone) != nil })
	if err := c.Ended(gone); !errors.Is(err, storage.ErrRemoved) {
		t.Errorf("%s ended with %v", gone, err)
	}
	if err := c.Kill(gone); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(gone); !errors.Is(err, storage.ErrRemoved) {
		t.Errorf("started again: %v", err)
	}
	if g := settled(t, c, via, "g", 3); has(g, gone) {
		t.Errorf("%s is a member yet", gone)
	}
	works(t, c, "g", "a")
	// Four are left; of three members of g one may go, and one may not if another is dead.
	g = settled(t, c, via, "g", 3)
	down := ""
	for _, m := range g.Members {
		if m.Name != via {
			down = m.Name
		}
	}
	if err := c.Kill(down); err != nil {
		t.Fatal(err)
	}
	until(t, down+" is dead", func() bool {
		_, body := call(t, "GET", url(t, c, via)+"/v1/groups/g", "")
		return strings.Contains(body, `"dead"`)
	})
	other := ""
	for _, m := range g.Members {
		if m.Name != down {
			other = m.Name
		}
	}
	status, body := answer(t, http.MethodDelete, url(t, c, via)+"/v1/members/"+other, "")
	if status != 409 || !strings.Contains(body, "quorum-at-risk") {
		t.Errorf("one of two that live: %d %s", status, body)
	}
}

func TestADeadMemberIsReplaced(t *testing.T) {
	c := many(t, func(cfg *node.Config) { cfg.ReplaceAfter, cfg.ReplaceFrom = time.Second, 3 })
	g := makeGroup(t, c, "n1", "g", 3)
	works(t, c, "g", "a")
	down := g.Leader
	if err := c.Kill(down); err != nil {
		t.Fatal(err)
	}
	via := others(c, down)[0]
	until(t, "another node in the place of "+down, func() bool {
		return get(t, c, via, "g", &g) == 200 && len(g.Members) == 3 && !has(g, down) && g.Move == nil
	})
	works(t, c, "g", "b")
	if err := c.Restart(down); err != nil {
		t.Fatal(err)
	}
	until(t, down+" gives up its part", func() bool { return get(t, c, down, "g", &g) == 200 && g.Here == nil })
	works(t, c, "g", "c")
}
