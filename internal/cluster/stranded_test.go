package cluster

import (
	"testing"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/node"
)

// A node that was away while all voters of main were replaced finds the new ones by
// gossip, though it knows none of them as a voter and those that it knows are gone.
func TestANodeFindsMainAfterAllItsVotersWereReplaced(t *testing.T) {
	c, err := Start(Config{Nodes: 3, Dir: t.TempDir(), Node: node.Config{Voters: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	ready(t, c)
	var g api.Group
	until(t, "all know main", func() bool {
		for _, s := range c.States() {
			if get(t, c, s.Name, "main", &g) != 200 || len(g.Members) != 1 || g.Leader == "" {
				return false
			}
		}
		return true
	})
	first := g.Members[0].Name
	spares := outside(c, g)
	late, next := spares[0], spares[1]
	if err := c.Kill(late); err != nil {
		t.Fatal(err)
	}
	eventually(t, "POST", url(t, c, next)+"/v1/groups/main:move", `{"from":"`+first+`","to":"`+next+`"}`, 202)
	until(t, "the other one is main", func() bool {
		return get(t, c, next, "main", &g) == 200 && len(g.Members) == 1 && has(g, next) && g.Leader == next
	})
	if err := c.Kill(first); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(late); err != nil {
		t.Fatal(err)
	}
	until(t, "it has found main", func() bool {
		return get(t, c, late, "main", &g) == 200 && has(g, next) && g.Leader == next
	})
}
