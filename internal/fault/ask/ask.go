// Package ask puts questions to a node that is being broken: beside what is measured
// or checked, once, and without the client library, which would ask another node.
package ask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/prytany/prytany/internal/api"
)

// Do sends one request to the node at url and returns its answer, whatever the status.
// c bounds the time; an error says that there is no answer.
func Do(ctx context.Context, c *http.Client, url, method, path, body string) (status int, reply []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	reply, err = io.ReadAll(resp.Body)
	return resp.StatusCode, reply, err
}

// Status asks the node at url how it stands, and how in group main.
func Status(ctx context.Context, c *http.Client, url string) (st api.Status, main api.GroupStatus, err error) {
	code, body, err := Do(ctx, c, url, http.MethodGet, "/v1/status", "")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("status: %d", code)
	}
	if err == nil {
		err = json.Unmarshal(body, &st)
	}
	if err != nil {
		return st, main, err
	}
	for _, g := range st.Groups {
		if g.Group == api.MainGroup {
			return st, g, nil
		}
	}
	return st, main, errors.New("status: no group main")
}
