package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/node"
	"github.com/prytany/prytany/internal/storage"
)

func TestAGroupGrowsToFiveAndShrinksToThree(t *testing.T) {
	c := many(t, nil)
	makeGroup(t, c, "n1", "g", 3)
	works(t, c, "g", "a")
	for i, size := range []int{5, 3} {
		via := fmt.Sprintf("n%d", i+1)
		eventually(t, "PATCH", url(t, c, via)+"/v1/groups/g", fmt.Sprintf(`{"replicas":%d}`, size), 200, 202)
		for _, s := range c.States() {
			if g := settled(t, c, s.Name, "g", size); g.Replicas != size {
				t.Errorf("%s says that %d are wanted, not %d", s.Name, g.Replicas, size)
			}
		}
		works(t, c, "g", string(rune('b'+i)))
	}
	if got := eventually(t, "GET", url(t, c, "n5")+"/v1/groups/g/config/an4", "", 200); got != "n4" {
		t.Errorf("what was written first is %q", got)
	}
}

// led returns the groups that running nodes say they lead themselves, without main.
func led(t *testing.T, c *Cluster) (by map[string]string, count map[string]int) {
	t.Helper()
	by, count = map[string]string{}, map[string]int{}
	for _, s := range c.States() {
		if s.State != "up" {
			continue
		}
		var page api.Groups
		body := must(t, 200, "GET", s.URL+"/v1/groups?limit=1000", "")
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatalf("%s: %s", s.Name, body)
		}
		for _, g := range page.Groups {
			if g.Leader == s.Name && g.Name != "main" {
				by[g.Name] = s.Name
				count[s.Name]++
			}
		}
	}
	return by, count
}

// A rebalance spreads leads and members, and a second one finds nothing to do.
func TestRebalance(t *testing.T) {
	c := many(t, nil)
	const n = 20
	for i := range n {
		makeGroup(t, c, "n2", fmt.Sprintf("g%d", i), 3)
	}
	for i := range n { // n1 leads all that it can
		name := fmt.Sprintf("g%d", i)
		if g := (api.Group{}); get(t, c, "n1", name, &g) == 200 && g.Here != nil {
			eventually(t, "POST", url(t, c, "n1")+"/v1/groups/"+name+"/leader:transfer", `{"to":"n1"}`, 200)
		}
	}
	until(t, "all are led", func() bool { by, _ := led(t, c); return len(by) == n })
	var first api.Rebalanced
	body := must(t, 200, "POST", url(t, c, "n3")+"/v1/groups:rebalance", `{}`)
	if err := json.Unmarshal([]byte(body), &first); err != nil || len(first.Steps) == 0 {
		t.Fatalf("%v %s", err, body)
	}
	// A step may fail, members move after the answer, and a lead may move by itself; then it is
	// asked once more.
	var leads map[string]int
	defer func() { t.Log("groups that each node leads:", leads) }()
	until(t, "nothing to do, and all spread", func() bool {
		for i := range n {
			var g api.Group
			if get(t, c, "n4", fmt.Sprintf("g%d", i), &g) != 200 || g.Move != nil {
				return false
			}
		}
		var again api.Rebalanced
		status, body := call(t, "POST", url(t, c, "n5")+"/v1/groups:rebalance", `{}`)
		if status != 200 || json.Unmarshal([]byte(body), &again) != nil || len(again.Steps) > 0 {
			return false
		}
		var by map[string]string
		by, leads = led(t, c)
		for _, s := range c.States() {
			if k := leads[s.Name]; k < n/5-2 || k > n/5+2 {
				return false
			}
		}
		return len(by) == n
	})
	works(t, c, "g0", "a")
}

func TestANodeThatDoesNotVoteIsMadeAMemberOfMain(t *testing.T) {
	c := many(t, nil)
	main := settled(t, c, "n1", "main", 3)
	out := outside(c, main)
	for range 2 { // it may be said twice
		must(t, 202, "POST", url(t, c, out[1])+"/v1/members", fmt.Sprintf(`{"node":%q}`, out[0]))
		if main = settled(t, c, "n1", "main", 4); !has(main, out[0]) || main.Replicas != 4 {
			t.Fatalf("%+v", main)
		}
	}
	works(t, c, "main", "a")
	// It counts: three of four suffice, and two do not.
	for _, down := range others(c, out[0])[:1] {
		if err := c.Kill(down); err != nil {
			t.Fatal(err)
		}
	}
	works(t, c, "main", "b")
}

func TestAQuorumAtRiskIsKeptUnlessForced(t *testing.T) {
	c := many(t, nil)
	g := makeGroup(t, c, "n1", "g", 3)
	works(t, c, "g", "a")
	down, next := g.Members[0].Name, g.Members[1].Name
	via := outside(c, g)[0]
	if err := c.Kill(down); err != nil {
		t.Fatal(err)
	}
	until(t, down+" is dead", func() bool {
		_, body := call(t, "GET", url(t, c, via)+"/v1/groups/g", "")
		return strings.Contains(body, `"dead"`)
	})
	status, body := answer(t, "DELETE", url(t, c, via)+"/v1/members/"+next, "")
	if status != 409 || !strings.Contains(body, "quorum-at-risk") || !strings.Contains(body, " g") {
		t.Fatalf("%d %s", status, body)
	}
	must(t, 202, "DELETE", url(t, c, via)+"/v1/members/"+down, "") // the dead one may go
	until(t, down+" is a member no more", func() bool {
		return get(t, c, via, "g", &g) == 200 && len(g.Members) == 3 && g.Move == nil && !has(g, down)
	})
	works(t, c, "g", "b")
	// Now four are left. With two of them down a third may only go by force, and its
	// groups wait for those who come back.
	other := ""
	for _, m := range g.Members {
		if m.Name != via {
			other = m.Name
		}
	}
	must(t, 202, "DELETE", url(t, c, via)+"/v1/members/"+other+"?force=true", "")
	until(t, other+" has stopped", func() bool { return c.Ended(other) != nil })
	if err := c.Ended(other); !errors.Is(err, storage.ErrRemoved) {
		t.Errorf("%s ended with %v", other, err)
	}
	until(t, "the three others have g", func() bool {
		return get(t, c, via, "g", &g) == 200 && len(g.Members) == 3 && g.Move == nil && !has(g, other)
	})
	works(t, c, "g", "c")
}

// A node that is started from an old copy of its directory stops, says which command
// replaces it, and is replaced by one with an empty disk.
func TestANodeOnAnOldCopyOfItsDiskIsReplaced(t *testing.T) {
	c := many(t, nil)
	g := makeGroup(t, c, "n1", "g", 3)
	works(t, c, "g", "a")
	old := g.Members[0].Name
	via := outside(c, g)[0]
	dir := filepath.Join(c.cfg.Dir, old)
	saved := filepath.Join(t.TempDir(), "copy")
	if err := c.Kill(old); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(saved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(old); err != nil {
		t.Fatal(err)
	}
	ready(t, c)
	works(t, c, "g", "b")
	if err := c.Kill(old); err != nil {
		t.Fatal(err)
	}
	works(t, c, "g", "c")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(saved)); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(old); err != nil {
		t.Fatal(err)
	}
	until(t, old+" has stopped", func() bool { return c.Ended(old) != nil })
	if err := c.Ended(old); !errors.Is(err, storage.ErrQuarantined) || !strings.Contains(err.Error(), "prytany member replace "+old) {
		t.Fatalf("it ended with %v", err)
	}
	if err := c.Kill(old); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(old); !errors.Is(err, storage.ErrQuarantined) {
		t.Fatalf("started again: %v", err)
	}
	works(t, c, "g", "d")
	if get(t, c, via, "g", &g) != 200 || idOf(g, old) == "" {
		t.Fatalf("%s is no member: %+v", old, g)
	}
	before := idOf(g, old)
	if err := c.Wipe(old); err != nil {
		t.Fatal(err)
	}
	until(t, "the new "+old+" is told of its seat", func() bool {
		_, body := call(t, "GET", url(t, c, old)+"/readyz?verbose", "")
		return strings.Contains(body, "prytany member replace "+old)
	})
	showsAnother(t, c, via, old, before)
	must(t, 202, "POST", url(t, c, via)+"/v1/members/"+old+":replace", `{}`)
	until(t, "the new "+old+" votes", func() bool {
		return get(t, c, via, "g", &g) == 200 && len(g.Members) == 3 && g.Move == nil && has(g, old) && idOf(g, old) != before
	})
	until(t, "it is ready", func() bool { return c.Node(old).Ready() })
	works(t, c, "g", "e")
}

// idOf returns the id of g's member of that name.
func idOf(g api.Group, name string) string {
	for _, m := range g.Members {
		if m.Name == name {
			return m.ID
		}
	}
	return ""
}

// showsAnother waits until a node has heard by gossip of one of that name that lives under
// another id than before: only then does it know who can replace that one.
func showsAnother(t *testing.T, c *Cluster, at, name, before string) {
	t.Helper()
	until(t, at+" shows another "+name, func() bool {
		var all api.Members
		status, body := call(t, "GET", url(t, c, at)+"/v1/members", "")
		return status == 200 && json.Unmarshal([]byte(body), &all) == nil && slices.ContainsFunc(all.Members, func(m api.Member) bool {
			return m.Name == name && m.ID != before && m.Gossip == "alive"
		})
	})
}

func TestADeadVoterOfMainIsReplaced(t *testing.T) {
	c := many(t, func(cfg *node.Config) { cfg.ReplaceAfter, cfg.ReplaceFrom = time.Second, 3 })
	down := leader(t, c)
	if err := c.Kill(down); err != nil {
		t.Fatal(err)
	}
	via := others(c, down)[0]
	until(t, "another voter of main in the place of "+down, func() bool {
		var g api.Group
		return get(t, c, via, "main", &g) == 200 && len(g.Members) == 3 && g.Move == nil && !has(g, down)
	})
	works(t, c, "main", "a")
}

// A node that is told to stop hands over all that it leads, and no group waits long.
func TestANodeThatStopsHandsAllItsGroupsOver(t *testing.T) {
	c, err := Start(Config{Nodes: 3, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	ready(t, c)
	until(t, "all are alive for all", func() bool {
		for _, s := range c.States() {
			var g api.Group
			get(t, c, s.Name, "main", &g)
			for _, m := range g.Members {
				if m.Gossip != "alive" {
					return false
				}
			}
			if len(g.Members) != 3 {
				return false
			}
		}
		return true
	})
	const n = 100
	for i := range n {
		makeGroup(t, c, fmt.Sprintf("n%d", 1+i%3), fmt.Sprintf("g%d", i), 3)
	}
	until(t, "n1 leads nearly all", func() bool {
		by, count := led(t, c)
		for i := range n {
			if name := fmt.Sprintf("g%d", i); by[name] != "n1" {
				eventually(t, "POST", url(t, c, "n1")+"/v1/groups/"+name+"/leader:transfer", `{"to":"n1"}`, 200)
			}
		}
		return count["n1"] >= n*9/10
	})
	began := time.Now()
	if err := c.Leave("n1"); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	// All have been handed over by now, but for what a slow machine had elected.
	until(t, "all are led by others", func() bool { by, _ := led(t, c); return len(by) == n })
	t.Logf("%d groups handed over in %v", n, took)
	if err := c.Restart("n1"); err != nil {
		t.Fatal(err)
	}
	ready(t, c)
	works(t, c, "g0", "a")
}
