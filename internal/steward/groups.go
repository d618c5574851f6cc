package steward

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/internal/placement"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// command has the directory run c. It tries again while nothing has happened, and
// after an unknown outcome too: every command of the directory may be repeated, see
// [Steward.begin] for the one whose answer may then be about itself. Errors are
// [*api.Problem]s.
func (s *Steward) command(ctx context.Context, c directory.Command) (directory.Result, error) {
	unknown := false // what became of an attempt
	for {
		res, err := s.cfg.Host.Propose(ctx, paxos.Main, directory.Encode(c))
		if err == nil {
			out, err := directory.DecodeResult(res.Payload)
			if err != nil || out.Code == directory.Unreadable {
				return out, refuse(api.CodeInternal, "the leader of main runs a version that does not know this command of the directory")
			}
			return out, nil
		}
		unknown = unknown || !paxos.Refused(err)
		if again(ctx, err) {
			continue
		}
		switch {
		case unknown:
			return directory.Result{}, refuse(api.CodeOutcomeUnknown, "the group main, which holds the directory, did not answer in time")
		case errors.Is(err, paxos.ErrOverloaded):
			return directory.Result{}, refuse(api.CodeOverloaded, "the group main, which holds the directory, has too much to do")
		}
		return directory.Result{}, refuse(api.CodeNoLeader, "the group main, which holds the directory, has no leader at present")
	}
}

// again waits a little, and reports whether to ask once more after err.
func again(ctx context.Context, err error) bool {
	if errors.Is(err, paxos.ErrStopped) {
		return false
	}
	select {
	case <-time.After(20 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

// freshWithin is how long to try to learn what the directory shows now: an election
// takes less.
const freshWithin = 5 * time.Second

// fresh waits until the directory here shows all that was decided before. Error: an
// [*api.Problem].
func (s *Steward) fresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, freshWithin)
	defer cancel()
	for {
		_, err := s.cfg.Host.Barrier(ctx, paxos.Main)
		switch {
		case err == nil:
			return nil
		case !again(ctx, err):
			return refuse(api.CodeNoLeader, "the group main, which holds the directory, has no leader at present")
		}
	}
}

// problemOf says why the directory has refused; nil if it has not.
func problemOf(r directory.Result) error {
	code := map[directory.Code]api.Code{
		directory.Exists: api.CodeGroupExists, directory.Unknown: api.CodeGroupUnknown, directory.Busy: api.CodeGroupBusy,
		directory.Stale: api.CodeGroupBusy, directory.Full: api.CodeTooManyGroups, directory.Invalid: api.CodeInvalid,
		directory.NodeRemoved: api.CodeNodeRemoved, directory.IsMain: api.CodeMainGroup,
	}[r.Code]
	switch {
	case r.Code == directory.OK, r.Code == directory.Unneeded:
		return nil
	case code == "":
		code = api.CodeInternal
	}
	return &api.Problem{Code: code, Detail: r.Detail}
}

// group finds a group by name. Error: an [*api.Problem].
func (s *Steward) group(name string) (*directory.Group, error) {
	if g := s.cfg.Directory.View().Named(name); g != nil {
		return g, nil
	}
	p := refuse(api.CodeGroupUnknown, "there is no group %q", name)
	p.Name = name
	return nil, p
}

// List implements httpapi.Groups.
func (s *Steward) List(prefix, after string, limit int) (out []api.Group, more bool) {
	v, peers := s.cfg.Directory.View(), s.cfg.Peers()
	all := v.Groups()
	from, _ := slices.BinarySearchFunc(all, &directory.Group{Name: max(prefix, after)}, byName)
	for _, g := range all[from:] {
		switch {
		case g.Name <= after:
			continue
		case !strings.HasPrefix(g.Name, prefix):
			return out, false
		case len(out) == limit:
			return out, true
		}
		out = append(out, s.show(v, peers, g, false))
	}
	return out, false
}

// Get implements httpapi.Groups.
func (s *Steward) Get(name string) (api.Group, error) {
	g, err := s.group(name)
	if err != nil {
		return api.Group{}, err
	}
	return s.show(s.cfg.Directory.View(), s.cfg.Peers(), g, true), nil
}

// show is a group for people. Who leads is known to those with a part in it alone.
func (s *Steward) show(v *directory.View, peers []Peer, g *directory.Group, here bool) api.Group {
	out := api.Group{
		Name: g.Name, ID: uint64(g.ID), Replicas: g.Replicas, Zones: g.Zones, Near: g.Near, Config: uint32(g.Config),
		Members: []api.GroupMember{},
	}
	members := g.Members
	st, part := s.cfg.Host.Group(g.ID)
	if part {
		if st.Membership.ID > g.Config {
			out.Config, members = uint32(st.Membership.ID), st.Membership.Voters
		}
		if st.Leader != 0 {
			out.Leader, out.LeaderURL = s.nameIn(v, peers, st.Leader), s.cfg.URL(st.Leader)
		}
	}
	if g.ID == paxos.Main && g.Replicas == 0 {
		out.Replicas = len(members)
	}
	for _, m := range members {
		to := api.GroupMember{ID: m.Node.String(), Name: m.Name, Gossip: "unknown"}
		if i := slices.IndexFunc(peers, func(p Peer) bool { return p.ID == m.Node }); i >= 0 {
			to.Name, to.Zone, to.Gossip = peers[i].Name, peers[i].Zone, peers[i].Gossip
		}
		out.Members = append(out.Members, to)
	}
	if p := g.Plan; p.ID != 0 {
		out.Move = &api.Move{Add: p.Add.Name, Why: p.Why}
		if p.Remove != 0 {
			out.Move.Remove = s.nameIn(v, peers, p.Remove)
		}
	}
	if st, ok := s.cfg.Here(g.ID); here && ok {
		out.Here = &st
	}
	return out
}

// Create implements httpapi.Groups.
func (s *Steward) Create(ctx context.Context, request string, c api.CreateGroup) (api.Group, error) {
	if err := s.fresh(ctx); err != nil {
		return api.Group{}, err
	}
	v, peers := s.cfg.Directory.View(), s.cfg.Peers()
	cmd := &directory.Create{Request: request, Name: c.Name, Replicas: c.Replicas, Zones: c.Zones}
	nodes := loadsOf(v).candidates(peers, 0)
	living := 0
	for _, n := range nodes {
		if n.Alive {
			living++
		}
	}
	if cmd.Replicas == 0 {
		cmd.Replicas = max(1, min(3, living))
	}
	w := placement.Wish{Replicas: cmd.Replicas, Zones: c.Zones}
	if c.Near != "" {
		id, err := s.resolve("near", c.Near, false)
		if err != nil {
			return api.Group{}, err
		}
		w.Near, cmd.Near = uint64(id), s.nameIn(v, peers, id)
	}
	chosen, _ := placement.Choose(nodes, s.cfg.RTT, w)
	if g := v.Named(c.Name); len(chosen) < cmd.Replicas && g == nil { // else the directory has an answer
		return api.Group{}, tooFew(cmd.Replicas, len(chosen), living)
	}
	for _, id := range chosen {
		cmd.Members = append(cmd.Members, member(peers, synod.NodeID(id)))
	}
	res, err := s.command(ctx, cmd)
	if err == nil {
		err = problemOf(res)
	}
	if err != nil {
		return api.Group{}, err
	}
	return s.led(ctx, c.Name)
}

// tooFew says that there are not enough nodes.
func tooFew(want, suitable, living int) error {
	p := refuse(api.CodeTooFewNodes, "%d members are wanted; %d nodes are alive, and %d of them are suitable", want, living, suitable)
	p.Field, p.Value, p.Limit = "replicas", fmt.Sprint(want), fmt.Sprint(suitable)
	return p
}

// led waits until a group has a leader, or ctx is about to end.
func (s *Steward) led(ctx context.Context, name string) (api.Group, error) {
	for i := 0; ; i++ {
		g, err := s.Get(name)
		switch {
		case err != nil && i > 100: // 2 s: the directory here should know by now, so it was deleted
			return g, err
		case g.Leader != "":
			return g, nil
		case err == nil && g.Here == nil && i%5 == 0:
			if there := s.askMember(ctx, g, i/5); there.Leader != "" {
				g.Leader, g.LeaderURL = there.Leader, there.LeaderURL
				return g, nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			if err != nil {
				return g, refuse(api.CodeOutcomeUnknown, "the group was made, and %s has not heard of it yet", s.cfg.Name)
			}
			return g, nil
		}
	}
}

// askMember asks one of the members of a group that are alive for what it knows.
func (s *Steward) askMember(ctx context.Context, g api.Group, turn int) (out api.Group) {
	var up []api.GroupMember
	for _, m := range g.Members {
		if m.Gossip == "alive" {
			up = append(up, m)
		}
	}
	if len(up) == 0 {
		return out
	}
	id, err := nodeID(up[turn%len(up)].ID)
	if err != nil {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.cfg.Ask(ctx, id, http.MethodGet, "/v1/groups/"+url.PathEscape(g.Name), nil, &out); err != nil {
		return api.Group{}
	}
	return out
}

// Delete implements httpapi.Groups.
func (s *Steward) Delete(ctx context.Context, request, name string) error {
	if err := s.fresh(ctx); err != nil {
		return err
	}
	var id paxos.GroupID // 0: it may have been deleted by this request
	g, unknown := s.group(name)
	if unknown == nil {
		id = g.ID
	}
	res, err := s.command(ctx, &directory.Delete{Request: request, ID: id})
	switch {
	case err != nil:
		return err
	case res.Code == directory.Unknown && unknown != nil:
		return unknown
	}
	return problemOf(res)
}

// Resize implements httpapi.Groups.
func (s *Steward) Resize(ctx context.Context, name string, replicas int) (api.Group, error) {
	if err := s.fresh(ctx); err != nil {
		return api.Group{}, err
	}
	g, err := s.group(name)
	if err != nil {
		return api.Group{}, err
	}
	peers := s.cfg.Peers()
	nodes := loadsOf(s.cfg.Directory.View()).candidates(peers, 0)
	living := 0
	for _, n := range nodes {
		if n.Alive {
			living++
		}
	}
	w := wishOf(g, peers)
	w.Replicas = replicas
	for _, m := range g.Members {
		w.Keep = append(w.Keep, uint64(m.Node))
	}
	if chosen, _ := placement.Choose(nodes, s.cfg.RTT, w); len(chosen) < replicas && replicas > len(g.Members) {
		return api.Group{}, tooFew(replicas, len(chosen), living)
	}
	res, err := s.command(ctx, &directory.Resize{ID: g.ID, Replicas: replicas})
	if err == nil {
		err = problemOf(res)
	}
	if err != nil {
		return api.Group{}, err
	}
	return s.after(res), nil
}

// after is the group as it is after a command.
func (s *Steward) after(r directory.Result) api.Group {
	if r.Group == nil {
		return api.Group{}
	}
	return s.show(s.cfg.Directory.View(), s.cfg.Peers(), r.Group, true)
}

// Move implements httpapi.Groups. A change that stands still because its new member is
// not alive gives way to another one for the same member.
func (s *Steward) Move(ctx context.Context, name string, c api.MoveMember) (api.Group, error) {
	if err := s.fresh(ctx); err != nil {
		return api.Group{}, err
	}
	g, err := s.group(name)
	if err != nil {
		return api.Group{}, err
	}
	from, err := s.memberOf(g, c.From)
	if err != nil {
		return api.Group{}, err
	}
	add, why, err := s.target(g, from, c.To)
	if err != nil {
		return api.Group{}, err
	}
	if p := g.Plan; p.ID != 0 && p.Remove == from && p.Add.Node != add.Node && !alive(s.cfg.Peers())[p.Add.Node] {
		if _, err := s.command(ctx, &directory.Cancel{ID: g.ID, Plan: p.ID}); err != nil {
			return api.Group{}, err
		}
	}
	res, err := s.begin(ctx, g, directory.Plan{Add: add, Remove: from, Why: why})
	if err != nil {
		return api.Group{}, err
	}
	return s.after(res), nil
}

// begin begins a change. If an earlier attempt has done so already that is fine too.
func (s *Steward) begin(ctx context.Context, g *directory.Group, plan directory.Plan) (directory.Result, error) {
	return s.beginWanting(ctx, g, plan, 0)
}

// beginWanting is begin for a change after which replicas are wanted, if that is more
// than now.
func (s *Steward) beginWanting(ctx context.Context, g *directory.Group, plan directory.Plan, replicas int) (directory.Result, error) {
	res, err := s.command(ctx, &directory.Begin{ID: g.ID, Config: g.Config, Plan: plan, Replicas: replicas})
	if err != nil {
		return res, err
	}
	if res.Code == directory.Busy && res.Group != nil {
		if p := res.Group.Plan; p.Add.Node == plan.Add.Node && p.Remove == plan.Remove {
			return res, nil
		}
	}
	return res, problemOf(res)
}

// memberOf finds a member of g by name or id. Error: an [*api.Problem].
func (s *Steward) memberOf(g *directory.Group, who string) (synod.NodeID, error) {
	peers := s.cfg.Peers()
	var names []string
	for _, m := range g.Members {
		name := m.Name
		if now := member(peers, m.Node).Name; now != "" {
			name = now
		}
		if name == who || m.Node.String() == who {
			return m.Node, nil
		}
		names = append(names, name)
	}
	slices.Sort(names)
	p := refuse(api.CodeVoterUnknown, "it is not a member of %s; the members are %s", g.Name, strings.Join(names, ", "))
	p.Field, p.Value = "from", who
	return 0, p
}

// target is the node that a member moves to: to, or whichever suits best. Error: an
// [*api.Problem].
func (s *Steward) target(g *directory.Group, from synod.NodeID, to string) (paxos.Member, string, error) {
	v, peers := s.cfg.Directory.View(), s.cfg.Peers()
	if to == "" {
		m, why, ok := s.find(g, g.Members, loadsOf(v), peers, wish{losing: from})
		if !ok {
			return m, "", refuse(api.CodeTooFewNodes, "no other node is alive and suitable")
		}
		return m, "an operator moves a member; " + why, nil
	}
	id, err := s.newcomer("to", to)
	if err != nil {
		return paxos.Member{}, "", err
	}
	if seat(g.Members, id) {
		p := refuse(api.CodeInvalid, "it is a member of %s already", g.Name)
		p.Field, p.Value = "to", to
		return paxos.Member{}, "", p
	}
	return member(peers, id), "an operator moves a member", nil
}

// newcomer finds a living node that may become a member. Error: an [*api.Problem].
func (s *Steward) newcomer(field, who string) (synod.NodeID, error) {
	id, err := s.resolve(field, who, false)
	if err != nil {
		return 0, err
	}
	if _, gone := s.cfg.Directory.View().RemovedNode(id); gone {
		p := refuse(api.CodeNodeRemoved, "it was removed from the cluster; with an empty data directory it can join again, as a new node")
		p.Field, p.Value = field, who
		return 0, p
	}
	if !alive(s.cfg.Peers())[id] {
		p := refuse(api.CodeTooFewNodes, "it is not alive, as far as %s knows", s.cfg.Name)
		p.Field, p.Value = field, who
		return 0, p
	}
	return id, nil
}
