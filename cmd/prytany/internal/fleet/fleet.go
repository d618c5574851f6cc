// Package fleet has the commands that ask every node for what it knows itself,
// because no node can tell it for the others: what they saw, and how far they are
// from each other. The command that moves the lead is here, too.
package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/cmd/prytany/internal/curl"
	"github.com/prytany/prytany/internal/api"
)

// An app is one run of the command.
type app struct {
	*cli.App
	http *http.Client
}

// Commands returns the commands of this package.
func Commands(c *cli.App) []*cobra.Command {
	a := app{c, (&cli.Reach{Say: func(string, ...any) {}}).HTTPClient()}
	return []*cobra.Command{a.eventsCommand(), a.rttCommand(), a.transferCommand()}
}

// members asks some node who belongs to the cluster. With names only those.
func (a app) members(ctx context.Context, c *client.Client, names []string) ([]api.Member, error) {
	m, err := cli.Fetch[api.Members](ctx, c, client.Call{Path: "members"})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return m.Members, nil
	}
	var known []string
	for _, x := range m.Members {
		known = append(known, x.Name, x.ID)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, cli.Failure(cli.CodeNotFound, "there is no node %q", name).Try("prytany members -o name")
		}
	}
	return slices.DeleteFunc(m.Members, func(x api.Member) bool {
		return !slices.Contains(names, x.Name) && !slices.Contains(names, x.ID)
	}), nil
}

// askEvery reads path from each of the members at once, and says whose answer is
// missing: nil in what it returns. It fails if none answers.
func askEvery[T any](ctx context.Context, a app, members []api.Member, path string) ([]*T, error) {
	answers, errs := make([]*T, len(members)), make([]error, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { answers[i], errs[i] = askOne[T](ctx, a, m, path) })
	}
	all.Wait()
	some := false
	for i, m := range members {
		if errs[i] != nil {
			a.missing(m, errs[i])
		}
		some = some || errs[i] == nil
	}
	if !some {
		return answers, cli.Failure(cli.CodeUnavailable, "no node answers").Try("prytany doctor")
	}
	return answers, nil
}

// missing says that a node has no part in what is shown.
func (a app) missing(m api.Member, err error) {
	a.Say("prytany: %s does not answer: %v", m.Name, cli.RootCause(err))
}

// errNoAddress says why a node cannot be asked.
var errNoAddress = errors.New("its address is not known")

// askWithin bounds how long one node may take.
const askWithin = 3 * time.Second

// askOne reads path from one node.
func askOne[T any](ctx context.Context, a app, m api.Member, path string) (*T, error) {
	ctx, cancel := context.WithTimeout(ctx, min(askWithin, a.Timeout))
	defer cancel()
	resp, err := a.get(ctx, m, path, http.Header{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	out := new(T)
	if err := json.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("its answer makes no sense: %w", err)
	}
	return out, nil
}

// get begins to read path from a node. Refusals are *api.Problem.
func (a app) get(ctx context.Context, m api.Member, path string, h http.Header) (*http.Response, error) {
	if m.HTTP == "" {
		return nil, errNoAddress
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(m.HTTP, "/")+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header = h
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	p := &api.Problem{}
	if err != nil || json.Unmarshal(text, p) != nil || p.Code == "" {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	return nil, p
}

// showCurl prints how to ask each address for path.
func (a app) showCurl(c *client.Client, path string, accept string) error {
	for _, u := range c.Endpoints() {
		req, err := http.NewRequest(http.MethodGet, u+path, nil)
		if err != nil {
			return err
		}
		if accept != "" {
			req.Header.Set("Accept", accept)
		}
		if _, err := fmt.Fprintln(a.Stdout, curl.Line(req, nil)); err != nil {
			return err
		}
	}
	return nil
}
