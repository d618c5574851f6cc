package groups

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

const (
	// lookEvery is how often a command that waits looks again.
	lookEvery = 250 * time.Millisecond
	// givenUpAfter is for how long a change that was begun may not be seen by the
	// node that is asked before it counts as given up.
	givenUpAfter = 3 * time.Second
)

// A waiting is how long to wait for a change to be carried out.
type waiting struct {
	most time.Duration
	not  bool
}

func (w *waiting) define(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&w.most, "wait", time.Minute, "wait so long for it to be carried out")
	cmd.Flags().BoolVar(&w.not, "no-wait", false, "return as soon as it is decided")
	cmd.MarkFlagsMutuallyExclusive("wait", "no-wait")
}

// check refuses what cannot be waited.
func (w *waiting) check(cmd *cobra.Command) error {
	if w.most < 0 {
		return cli.Usage("%s: --wait %s: want 0s or more", cli.CommandName(cmd), w.most).Try(cmd.CommandPath() + " --wait 60s")
	}
	return nil
}

// A change is what a command waits for in some groups.
type change struct {
	groups  []string
	pending func(api.Group) string // what is still to come; "" if nothing
	begun   bool                   // a move shows in the groups until it is done, or given up
}

// await looks at the groups until the change is carried out in all of them, and
// says what it waits for. It returns what it saw last.
func (a app) await(ctx context.Context, c *client.Client, w waiting, ch change) ([]api.Group, error) {
	if w.not || a.Curl || len(ch.groups) == 0 {
		return nil, nil
	}
	end := time.Now().Add(w.most)
	var lost time.Time // since when a change that was begun has not been seen
	said := ""
	for {
		groups, open, err := look(ctx, c, ch)
		switch {
		case ctx.Err() != nil:
			return nil, errors.Join(err, context.Cause(ctx))
		case err != nil && !errors.Is(err, client.ErrUnavailable):
			return nil, err
		case err == nil && len(open) == 0:
			return groups, nil
		case err != nil:
			open = []string{"an answer"}
		}
		text := openText(open, len(ch.groups))
		if text != said {
			a.Say("waiting for %s", text)
			said = text
		}
		if ch.begun && err == nil && len(groups) == 1 && groups[0].Move == nil {
			if lost.IsZero() {
				lost = time.Now()
			}
			if time.Since(lost) > givenUpAfter {
				return nil, cli.Failure(cli.CodeRefused, "group %s: the move was given up", groups[0].Name).Try("prytany group show " + cli.Shown(groups[0].Name))
			}
		} else {
			lost = time.Time{}
		}
		if time.Now().Add(lookEvery).After(end) {
			return nil, cli.Failure(cli.CodeUnknown, "not carried out after %s, and goes on: %s", w.most, text).Try("prytany groups --watch")
		}
		cli.Pause(ctx, lookEvery)
	}
}

// look reads the groups of a change and says in which what is still to come. Groups
// that were deleted meanwhile are left out.
func look(ctx context.Context, c *client.Client, ch change) (groups []api.Group, open []string, err error) {
	if len(ch.groups) == 1 {
		g, err := fetchGroup(ctx, c, ch.groups[0])
		if errors.Is(err, client.ErrNotFound) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		groups = []api.Group{g}
	} else {
		all, err := listGroups(ctx, c, "")
		if err != nil {
			return nil, nil, err
		}
		wanted := make(map[string]bool, len(ch.groups))
		for _, name := range ch.groups {
			wanted[name] = true
		}
		for _, g := range all {
			if wanted[g.Name] {
				groups = append(groups, g)
			}
		}
	}
	for _, g := range groups {
		if text := ch.pending(g); text != "" {
			open = append(open, "group "+g.Name+": "+text)
		}
	}
	return groups, open, nil
}

// openText names what is still to come, in one line.
func openText(open []string, of int) string {
	if len(open) == 1 {
		return open[0]
	}
	const most = 3
	text := fmt.Sprintf("%d of %d groups: ", len(open), of)
	for i, s := range open {
		if i == most {
			return text + "…"
		}
		if i > 0 {
			text += ", "
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(s, "group "), ": ")
		text += name
	}
	return text
}

// has reports whether the node called by name or id is a voter of g.
func has(g api.Group, node string) bool {
	for _, m := range g.Members {
		if m.Name == node || m.ID == node {
			return true
		}
	}
	return false
}

// hasID is the same for an id alone: a node that takes another's place may have its
// name.
func hasID(g api.Group, id string) bool {
	for _, m := range g.Members {
		if m.ID == id {
			return true
		}
	}
	return false
}

// moving says what the change under way in g is about.
func moving(g api.Group) string {
	if g.Move == nil {
		return ""
	}
	var parts []string
	if add := g.Move.Add; add != "" {
		parts = append(parts, add+" to become a voter")
	}
	if remove := g.Move.Remove; remove != "" {
		parts = append(parts, remove+" to cease to be one")
	}
	return strings.Join(parts, ", ")
}
