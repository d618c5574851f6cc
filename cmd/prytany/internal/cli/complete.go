package cli

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

// completeWithin bounds what a press of the tab key may cost.
const completeWithin = time.Second

// Completer completes the first argument of a command.
type Completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// CompleteFrom completes with what list finds in the group. Whatever goes wrong,
// there are just no proposals.
func (a *App) CompleteFrom(list func(context.Context, *client.Client, string) ([]string, error)) Completer {
	return a.complete(a.Client, list)
}

// completeNode is the same for what belongs to nodes and not to a group.
func (a *App) completeNode(list func(context.Context, *client.Client, string) ([]string, error)) Completer {
	return a.complete(a.NodeClient, list)
}

// ForFlag makes a completer of arguments one of a flag, whatever arguments there
// are.
func ForFlag(c Completer) Completer {
	return func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return c(cmd, nil, begun)
	}
}

func (a *App) complete(client func() (*client.Client, error), list func(context.Context, *client.Client, string) ([]string, error)) Completer {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
		defer cancel()
		a.Stderr = nil // the terminal shows a half-typed line
		if g := os.Getenv(envName("group")); g != "" && !cmd.Flags().Changed("group") {
			a.Group = g
		}
		c, err := client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := list(ctx, c, begun)
		if err != nil {
			names = nil
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteLocks completes with locks.
func (a *App) CompleteLocks() Completer {
	return a.CompleteFrom(func(ctx context.Context, c *client.Client, begun string) ([]string, error) {
		return FetchAll(ctx, c, "locks", begun, func(b []byte) (names []string, next string, err error) {
			var p api.Locks
			err = json.Unmarshal(b, &p)
			for _, l := range p.Locks {
				names = append(names, l.Name)
			}
			return names, p.Next, err
		})
	})
}

// CompleteKeys completes with keys.
func (a *App) CompleteKeys() Completer {
	return a.CompleteFrom(func(ctx context.Context, c *client.Client, begun string) ([]string, error) {
		return FetchAll(ctx, c, "config", begun, func(b []byte) (keys []string, next string, err error) {
			var p api.Entries
			err = json.Unmarshal(b, &p)
			for _, e := range p.Entries {
				keys = append(keys, e.Key)
			}
			return keys, p.Next, err
		})
	})
}

// CompleteSessions completes with sessions.
func (a *App) CompleteSessions() Completer {
	return a.CompleteFrom(func(ctx context.Context, c *client.Client, begun string) ([]string, error) {
		return FetchAll(ctx, c, "sessions", "", func(b []byte) (ids []string, next string, err error) {
			var p api.Sessions
			err = json.Unmarshal(b, &p)
			for _, s := range p.Sessions {
				if strings.HasPrefix(s.ID, begun) {
					ids = append(ids, s.ID+"\t"+s.Name)
				}
			}
			return ids, p.Next, err
		})
	})
}

// CompleteNodes completes with the names of nodes.
func (a *App) CompleteNodes() Completer {
	return a.completeNode(func(ctx context.Context, c *client.Client, begun string) (names []string, err error) {
		m, err := Fetch[api.Members](ctx, c, client.Call{Path: "members"})
		for _, n := range m.Members {
			if strings.HasPrefix(n.Name, begun) {
				names = append(names, n.Name+"\t"+n.Roles[api.MainGroup])
			}
		}
		return names, err
	})
}

// CompleteZones completes with the zones in which there are nodes.
func (a *App) CompleteZones() Completer {
	return a.completeNode(func(ctx context.Context, c *client.Client, begun string) (zones []string, err error) {
		m, err := Fetch[api.Members](ctx, c, client.Call{Path: "members"})
		for _, n := range m.Members {
			if n.Zone != "" && strings.HasPrefix(n.Zone, begun) && !slices.Contains(zones, n.Zone) {
				zones = append(zones, n.Zone)
			}
		}
		return zones, err
	})
}

// CompleteGroups completes with the names of groups.
func (a *App) CompleteGroups() Completer {
	return a.completeNode(func(ctx context.Context, c *client.Client, begun string) ([]string, error) {
		return FetchAll(ctx, c, "groups", begun, func(b []byte) (names []string, next string, err error) {
			var p api.Groups
			err = json.Unmarshal(b, &p)
			for _, g := range p.Groups {
				names = append(names, g.Name)
			}
			return names, p.Cursor, err
		})
	})
}

// CompleteElections completes with what somebody leads: an election is a lock.
func (a *App) CompleteElections() Completer {
	return a.CompleteFrom(func(ctx context.Context, c *client.Client, begun string) ([]string, error) {
		return FetchAll(ctx, c, "locks", begun, func(b []byte) (names []string, next string, err error) {
			var p api.Locks
			err = json.Unmarshal(b, &p)
			for _, l := range p.Locks {
				text := l.Name
				if len(l.Holders) > 0 {
					text += "\t" + l.Holders[0].Value
				}
				names = append(names, text)
			}
			return names, p.Next, err
		})
	})
}
