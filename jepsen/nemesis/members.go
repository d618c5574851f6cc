//go:build linux

package nemesis

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/world"
)

// changeTime is within what time a change of members has to be carried out once the
// network is well.
const changeTime = 40 * time.Second

// members asks any node but n for the members of main, by id.
func members(ctx context.Context, s *strike, n *world.Node) (ids []string, err error) {
	for _, o := range s.world.Voters() {
		if o == n || !o.Running() {
			continue
		}
		var g api.Group
		var code int
		var body []byte
		if code, body, err = o.Ask(ctx, http.MethodGet, "/v1/groups/main", ""); err == nil && code != http.StatusOK {
			err = fmt.Errorf("members of main: %d %s", code, body)
		}
		if err == nil {
			err = json.Unmarshal(body, &g)
		}
		if err != nil {
			continue
		}
		for _, m := range g.Members {
			ids = append(ids, m.ID)
		}
		return ids, nil
	}
	return nil, fmt.Errorf("nobody tells who is in main: %w", err)
}

// change asks the other nodes for a change of members, until one takes it.
func change(ctx context.Context, s *strike, n *world.Node, method, path, body string) error {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	var last error
	for {
		for _, o := range s.world.Voters() {
			if o == n || !o.Running() {
				continue
			}
			code, reply, err := o.Ask(ctx, method, path, body)
			if err == nil && code < http.StatusMultipleChoices {
				return nil
			}
			last = fmt.Errorf("%s %s at %s: %d %s %w", method, path, o.Name, code, reply, err)
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// await waits until done, and fails with what was waited for.
func await(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	for {
		ok, err := done(ctx)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %v for %s: %v", changeTime, what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// identity is the node's id, once it answers.
func identity(ctx context.Context, n *world.Node) (id string, err error) {
	err = await(ctx, n.Name+" to tell its id", func(ctx context.Context) (bool, error) {
		st, _, err := n.Status(ctx)
		id = st.ID
		return err == nil && id != "", err
	})
	return id, err
}

// replace has a node that does not run come back with an empty disk and take all
// places of what it was.
func replace(ctx context.Context, s *strike, n *world.Node) error {
	if err := n.End(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	if err := n.Wipe(); err != nil {
		return err
	}
	if err := n.Start(n.Join()...); err != nil {
		return err
	}
	return takeOver(ctx, s, n)
}

// takeOver has n, which runs under a new identity, take the places of its old one.
func takeOver(ctx context.Context, s *strike, n *world.Node) error {
	id, err := identity(ctx, n)
	if err != nil {
		return err
	}
	if err := change(ctx, s, n, http.MethodPost, "/v1/members/"+n.Name+":replace", ""); err != nil {
		return err
	}
	return await(ctx, n.Name+" to take the places of what it was", func(ctx context.Context) (bool, error) {
		ids, err := members(ctx, s, n)
		return err == nil && slices.Contains(ids, id) && len(ids) == len(s.world.Voters()), err
	})
}

func replaced(ctx context.Context, s *strike) (end, error) {
	n := s.nodes[0]
	if err := n.End(ctx, syscall.SIGKILL); err != nil {
		return nil, err
	}
	if err := s.archive(n); err != nil {
		return start(s.nodes), err
	}
	return func(ctx context.Context) error { return replace(ctx, s, n) }, nil
}

// wiped has a node come back under its name with an empty disk, and sees that it is
// not taken for what it was.
func wiped(ctx context.Context, s *strike) (end, error) {
	n := s.nodes[0]
	if err := n.End(ctx, syscall.SIGKILL); err != nil {
		return nil, err
	}
	if err := s.archive(n); err != nil {
		return start(s.nodes), err
	}
	if err := n.Wipe(); err != nil {
		return nil, err
	}
	if err := n.Start(n.Join()...); err != nil {
		return nil, err
	}
	undo := func(ctx context.Context) error { return takeOver(ctx, s, n) }
	id, err := identity(ctx, n)
	if err != nil {
		return undo, err
	}
	for range 20 {
		ids, err := members(ctx, s, n)
		if err == nil && slices.Contains(ids, id) {
			s.breach("%s came back with an empty disk and votes, without a member replace", n.Name)
			break
		}
		sleep(ctx, 100*time.Millisecond)
	}
	return undo, nil
}

func added(ctx context.Context, s *strike) (end, error) {
	n := s.nodes[0]
	if err := n.Format(); err != nil {
		return nil, err
	}
	if err := n.Wipe(); err != nil {
		return nil, err
	}
	if err := n.Start(n.Join()...); err != nil {
		return nil, err
	}
	id, err := identity(ctx, n)
	undo := func(ctx context.Context) error { return remove(ctx, s, n, id) }
	if err != nil {
		return undo, err
	}
	if err := change(ctx, s, n, http.MethodPost, "/v1/members", fmt.Sprintf(`{"node":%q}`, n.Name)); err != nil {
		return undo, err
	}
	return undo, await(ctx, n.Name+" to vote", func(ctx context.Context) (bool, error) {
		ids, err := members(ctx, s, n)
		return err == nil && slices.Contains(ids, id), err
	})
}

// remove takes the spare out again; its process has to end by itself.
func remove(ctx context.Context, s *strike, n *world.Node, id string) error {
	gone := n.Gone()
	if err := change(ctx, s, n, http.MethodDelete, "/v1/members/"+id, ""); err != nil {
		return err
	}
	err := await(ctx, n.Name+" to be out", func(ctx context.Context) (bool, error) {
		ids, err := members(ctx, s, n)
		return err == nil && !slices.Contains(ids, id) && len(ids) == len(s.world.Voters()), err
	})
	if err != nil {
		return err
	}
	select {
	case <-gone:
	case <-ctx.Done():
	case <-time.After(changeTime):
		s.breach("%s was removed, and its process goes on %v later", n.Name, changeTime)
	}
	if err := n.End(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	// One more voter was wanted when it was added. Now that it is gone, none may take its place.
	return change(ctx, s, n, http.MethodPatch, "/v1/groups/main", fmt.Sprintf(`{"replicas":%d}`, len(s.world.Voters())))
}
