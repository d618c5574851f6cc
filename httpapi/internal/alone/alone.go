// Package alone says what there is to say of groups where there is main alone.
package alone

import (
	"context"
	"strings"

	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/internal/api"
)

// Groups has main alone, and refuses to change anything. It is what httpapi calls
// Groups; contexts and ids of requests mean nothing to it.
type Groups struct {
	LeaderURL func(group string) string
}

func (a Groups) main() api.Group {
	return api.Group{Name: api.MainGroup, ID: 1, Replicas: 1, LeaderURL: a.LeaderURL(api.MainGroup)}
}

// List returns main, if it is in that part of the list.
func (a Groups) List(prefix, after string, limit int) ([]api.Group, bool) {
	if !strings.HasPrefix(api.MainGroup, prefix) || after >= api.MainGroup {
		return nil, false
	}
	return []api.Group{a.main()}, false
}

// Get returns main.
func (a Groups) Get(name string) (api.Group, error) {
	if name != api.MainGroup {
		return api.Group{}, problems.New(api.CodeGroupUnknown, "group", name, "", "there is no group %q", name)
	}
	return a.main(), nil
}

func (a Groups) refused() error {
	return problems.New(api.CodeMainGroup, "", "", "", "this node serves the group main alone, whose members cannot be changed here")
}

// Create refuses.
func (a Groups) Create(context.Context, string, api.CreateGroup) (api.Group, error) {
	return api.Group{}, a.refused()
}

// Delete finds no group but main, which is refused before.
func (a Groups) Delete(_ context.Context, _, name string) error {
	_, err := a.Get(name)
	return err
}

// Resize refuses.
func (a Groups) Resize(_ context.Context, name string, _ int) (api.Group, error) {
	if _, err := a.Get(name); err != nil {
		return api.Group{}, err
	}
	return api.Group{}, a.refused()
}

// Move refuses.
func (a Groups) Move(ctx context.Context, name string, _ api.MoveMember) (api.Group, error) {
	return a.Resize(ctx, name, 0)
}

// Rebalance finds nothing to improve.
func (a Groups) Rebalance(_ context.Context, r api.Rebalance) (api.Rebalanced, error) {
	return api.Rebalanced{DryRun: r.DryRun}, nil
}

// AddMember refuses.
func (a Groups) AddMember(context.Context, string) (api.MemberChange, error) {
	return api.MemberChange{}, a.refused()
}

// RemoveMember refuses.
func (a Groups) RemoveMember(context.Context, string, bool) (api.MemberChange, error) {
	return api.MemberChange{}, a.refused()
}

// ReplaceMember refuses.
func (a Groups) ReplaceMember(context.Context, string, string, bool) (api.MemberChange, error) {
	return api.MemberChange{}, a.refused()
}
