package httpapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/prytany/prytany/httpapi/internal/check"
	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
)

// Groups is what a node can do for groups and members. Errors may be
// [*api.Problem]s. request is an id that makes a repeated request get the first
// answer.
type Groups interface {
	// List returns the groups whose names begin with prefix and come after the given
	// one, at most limit, by name, and whether there are more.
	List(prefix, after string, limit int) (groups []api.Group, more bool)
	Get(name string) (api.Group, error)
	// Create returns when the group has a leader, or ctx ends.
	Create(ctx context.Context, request string, c api.CreateGroup) (api.Group, error)
	Delete(ctx context.Context, request, name string) error
	// Resize, Move and the changes of members return when the change is decided; it is
	// carried out afterwards, and shows in Get.
	Resize(ctx context.Context, name string, replicas int) (api.Group, error)
	Move(ctx context.Context, name string, m api.MoveMember) (api.Group, error)
	Rebalance(ctx context.Context, r api.Rebalance) (api.Rebalanced, error)
	AddMember(ctx context.Context, node string) (api.MemberChange, error)
	RemoveMember(ctx context.Context, node string, force bool) (api.MemberChange, error)
	ReplaceMember(ctx context.Context, node, by string, force bool) (api.MemberChange, error)
}

// aGroup makes lists of g say [] where they are empty.
func aGroup(g api.Group) api.Group {
	g.Members = reply.Each(g.Members, same)
	if g.Here != nil {
		here := *g.Here
		here.Voters = reply.Each(here.Voters, same)
		g.Here = &here
	}
	return g
}

func (c *call) listGroups() error {
	prefix := c.Text("prefix", c.query.Get("prefix"), api.MaxGroupName)
	after := c.Text("cursor", c.query.Get("cursor"), api.MaxGroupName)
	limit := c.s.lim.MaxList
	if c.query.Has("limit") {
		limit = int(c.Number("limit", c.query.Get("limit"), 1, uint64(limit)))
	}
	if c.Bad != nil {
		return c.Bad
	}
	list, more := c.s.cfg.Groups.List(prefix, after, limit)
	out := api.Groups{Groups: reply.Each(list, aGroup)}
	if more && len(list) > 0 {
		out.Cursor = list[len(list)-1].Name
	}
	return c.json(http.StatusOK, out)
}

func (c *call) getGroup() error {
	c.GroupName("group", c.name)
	if c.Bad != nil {
		return c.Bad
	}
	g, err := c.s.cfg.Groups.Get(c.name)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, aGroup(g))
}

func (c *call) createGroup() error {
	var in api.CreateGroup
	var zones []json.RawMessage
	given := c.object(check.Fields{"name": &in.Name, "replicas": &in.Replicas, "zones": &zones, "near": &in.Near})
	c.GroupName("name", in.Name)
	c.countReplicas(in.Replicas, 0)
	in.Zones = c.zones(zones)
	if given["near"] {
		c.Name("near", in.Near)
	}
	request := c.request()
	if c.Bad != nil {
		return c.Bad
	}
	g, err := c.s.cfg.Groups.Create(c.ctx, request, in)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/groups/"+g.Name)
	return c.json(http.StatusCreated, aGroup(g))
}

// request returns the id under which the directory remembers what it answered. With
// an Idempotency-Key it is the same for the same request, and another one for any
// other.
func (c *call) request() string {
	common := c.common()
	if common.IdempotencyKey == "" {
		return rand.Text()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%016x%s", common.RequestHash, common.IdempotencyKey))
	return hex.EncodeToString(sum[:16])
}

// countReplicas checks a wanted number of voters. Where 0 is allowed it stands for a
// number that was not said.
func (c *call) countReplicas(n, low int) {
	if n < low || n > api.MaxReplicas {
		limit := fmt.Sprintf("1 to %d", api.MaxReplicas)
		c.Invalid("replicas", strconv.Itoa(n), limit, "replicas must be from %s; got %d", limit, n)
	}
}

// zones decodes the zones of a group.
func (c *call) zones(list []json.RawMessage) (out []string) {
	if n := len(list); n > api.MaxZones {
		limit := fmt.Sprintf("at most %d", api.MaxZones)
		c.Invalid("zones", strconv.Itoa(n), limit, "zones must list %s; there are %d", limit, n)
		return nil
	}
	for i, zone := range c.Texts("zones", list) {
		if c.Name(check.At("zones", i), zone); slices.Contains(out, zone) {
			c.Invalid(check.At("zones", i), zone, "once", "%s is a zone that is there already", check.At("zones", i))
		}
		out = append(out, zone)
	}
	return out
}

func (c *call) deleteGroup() error {
	c.GroupName("group", c.name)
	request := c.request()
	switch {
	case c.Bad != nil:
		return c.Bad
	case c.name == api.MainGroup:
		return problems.New(api.CodeMainGroup, "group", c.name, "", "main has the list of all groups and cannot be deleted")
	}
	if err := c.s.cfg.Groups.Delete(c.ctx, request, c.name); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// harmless notes that the request may be sent again, whatever has become of it:
// Groups takes it for one that is done already, or refuses it as such.
func (c *call) harmless() {
	yes := true
	c.repeatable = &yes
}

func (c *call) resizeGroup() error {
	var in api.ResizeGroup
	c.object(check.Fields{"replicas": &in.Replicas})
	c.GroupName("group", c.name)
	c.countReplicas(in.Replicas, 1)
	if c.Bad != nil {
		return c.Bad
	}
	c.harmless()
	g, err := c.s.cfg.Groups.Resize(c.ctx, c.name, in.Replicas)
	if err != nil {
		return err
	}
	if g.Move == nil && len(g.Members) == g.Replicas {
		return c.json(http.StatusOK, aGroup(g))
	}
	return c.json(http.StatusAccepted, aGroup(g))
}

func (c *call) moveMember() error {
	var in api.MoveMember
	given := c.object(check.Fields{"from": &in.From, "to": &in.To})
	c.GroupName("group", c.name)
	c.Name("from", in.From)
	if given["to"] {
		c.Name("to", in.To)
	}
	if c.Bad != nil {
		return c.Bad
	}
	c.harmless()
	g, err := c.s.cfg.Groups.Move(c.ctx, c.name, in)
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, aGroup(g))
}

func (c *call) rebalance() error {
	var in api.Rebalance
	c.object(check.Fields{"dry_run": &in.DryRun, "limit": &in.Limit})
	if n := in.Limit; n < 0 || n > api.MaxSteps {
		limit := fmt.Sprintf("1 to %d", api.MaxSteps)
		c.Invalid("limit", strconv.Itoa(n), limit, "limit must be from %s; got %d", limit, n)
	}
	if c.Bad != nil {
		return c.Bad
	}
	c.harmless()
	out, err := c.s.cfg.Groups.Rebalance(c.ctx, in)
	if err != nil {
		return err
	}
	out.Steps = reply.Each(out.Steps, same)
	return c.json(http.StatusOK, out)
}

func (c *call) addMember() error {
	var in api.AddMember
	c.object(check.Fields{"node": &in.Node})
	c.Name("node", in.Node)
	if c.Bad != nil {
		return c.Bad
	}
	c.harmless()
	return c.accept(c.s.cfg.Groups.AddMember(c.ctx, in.Node))
}

func (c *call) removeMember() error {
	force := c.flag("force")
	if c.Bad != nil {
		return c.Bad
	}
	c.harmless()
	return c.accept(c.s.cfg.Groups.RemoveMember(c.ctx, c.name, force))
}

func (c *call) replaceMember() error {
	var in api.ReplaceMember
	given := c.object(check.Fields{"by": &in.By})
	force := c.flag("force")
	if given["by"] {
		c.Name("by", in.By)
	}
	if c.Bad != nil {
		return c.Bad
	}
	c.harmless()
	return c.accept(c.s.cfg.Groups.ReplaceMember(c.ctx, c.name, in.By, force))
}

// accept replies with a change of a member that is to be carried out.
func (c *call) accept(m api.MemberChange, err error) error {
	if err != nil {
		return err
	}
	m.Groups = reply.Each(m.Groups, same)
	return c.json(http.StatusAccepted, m)
}
