package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prytany/prytany/internal/api"
)

// listGroups asks one node for all groups, as far as it tells them.
func listGroups(ctx context.Context, hc *http.Client, base string) (all []api.Group, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	for cursor := ""; ; {
		_, body, err := get(ctx, hc, base+"/v1/groups?cursor="+url.QueryEscape(cursor))
		if err != nil {
			return all, err
		}
		var page api.Groups
		if err := json.Unmarshal(body, &page); err != nil {
			return all, err
		}
		all = append(all, page.Groups...)
		if cursor = page.Cursor; cursor == "" {
			return all, nil
		}
	}
}

// allGroups asks one node for all groups, and the others for the leaders that it does
// not know because it has no part in those groups.
func allGroups(ctx context.Context, hc *http.Client, alive []*node) (all []api.Group, err error) {
	for i, n := range alive {
		lacking := i == 0 || slices.ContainsFunc(all, func(g api.Group) bool { return g.Leader == "" })
		if !lacking {
			break
		}
		there, err := listGroups(ctx, hc, n.url)
		if i == 0 {
			if all = there; err != nil {
				return all, err
			}
			continue
		}
		leaders := make(map[uint64]string, len(there))
		for _, g := range there {
			leaders[g.ID] = g.Leader
		}
		for k, g := range all {
			if g.Leader == "" {
				all[k].Leader = leaders[g.ID]
			}
		}
	}
	return all, nil
}

// together reports whether two nodes vote in the same group, so that there must be a
// link between them.
func together(all []api.Group, a, b string) bool {
	return slices.ContainsFunc(all, func(g api.Group) bool {
		member := func(id string) bool {
			return slices.ContainsFunc(g.Members, func(m api.GroupMember) bool { return m.ID == id })
		}
		return member(a) && member(b)
	})
}

// groups looks at all groups but main, which has a check of its own.
func groups(all []api.Group, err error) Check {
	c := Check{Name: "groups"}
	if err != nil {
		c.Detail, c.Hint = "cannot be listed: "+cause(err).Error(), "ask again, and look at prytany groups"
		return c
	}
	all = slices.DeleteFunc(slices.Clone(all), func(g api.Group) bool { return g.Name == api.MainGroup })
	var stuck, headless, short, gone []string
	for _, g := range all {
		alive := 0
		for _, m := range g.Members {
			if m.Gossip == "alive" {
				alive++
			} else if !slices.Contains(gone, m.Name) {
				gone = append(gone, m.Name)
			}
		}
		switch {
		case alive < len(g.Members)/2+1:
			stuck = append(stuck, g.Name)
		case g.Leader == "":
			headless = append(headless, g.Name)
		case alive < g.Replicas:
			short = append(short, g.Name)
		}
	}
	back := "start " + strings.Join(gone, " and ") + " again; what is gone for good, prytany member replace takes out"
	switch {
	case len(stuck) > 0:
		c.Detail, c.Hint = some(stuck, all)+" no quorum", back
	case len(headless) > 0:
		c.Detail, c.Hint = some(headless, all)+" no leader", "wait a second and ask again; if that lasts, look at prytany events -g "+headless[0]
	case len(short) > 0 && len(gone) > 0:
		c.Detail, c.Hint = some(short, all)+" fewer voters alive than wanted", back
	case len(short) > 0:
		c.Detail, c.Hint = some(short, all)+" fewer voters than wanted", "a change may be under way, which prytany groups shows; else add nodes"
	default:
		c.OK, c.Detail = true, fmt.Sprintf("%d beside main, each with a leader and all its voters", len(all))
	}
	return c
}

// some is "2 of 12 groups (a, b) have".
func some(list []string, all []api.Group) string {
	const most = 5
	names := strings.Join(list[:min(len(list), most)], ", ")
	if len(list) > most {
		names += ", …"
	}
	return fmt.Sprintf("%d of %d (%s) have", len(list), len(all), names)
}
