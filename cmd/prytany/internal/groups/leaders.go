package groups

import (
	"context"
	"slices"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

// findLeaders asks further nodes for the leaders that the first one did not know,
// because it has no part in those groups. What nobody tells stays unknown.
func (a app) findLeaders(ctx context.Context, c *client.Client, groups []api.Group) {
	lacking := func(g api.Group) bool { return g.Leader == "" }
	if !slices.ContainsFunc(groups, lacking) {
		return
	}
	m, err := cli.Fetch[api.Members](ctx, c, client.Call{Path: "members"})
	if err != nil {
		return
	}
	for _, node := range m.Members {
		can := func(g api.Group) bool { return lacking(g) && hasID(g, node.ID) }
		if node.HTTP == "" || node.Gossip != "alive" || node.Link == "self" || !slices.ContainsFunc(groups, can) {
			continue
		}
		there, err := a.ClientAt(node.HTTP)
		if err != nil {
			continue
		}
		takeLeaders(ctx, there, groups)
	}
}

// takeLeaders fills in the leaders that one node knows.
func takeLeaders(ctx context.Context, c *client.Client, groups []api.Group) {
	var known []api.Group
	if len(groups) == 1 {
		g, err := fetchGroup(ctx, c, groups[0].Name)
		if err != nil {
			return
		}
		known = []api.Group{g}
	} else {
		var err error
		if known, err = listGroups(ctx, c, ""); err != nil {
			return
		}
	}
	by := make(map[string]api.Group, len(known))
	for _, g := range known {
		by[g.Name] = g
	}
	for i, g := range groups {
		if k := by[g.Name]; g.Leader == "" && k.ID == g.ID {
			groups[i].Leader, groups[i].LeaderURL = k.Leader, k.LeaderURL
		}
	}
}
