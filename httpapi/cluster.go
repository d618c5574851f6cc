package httpapi

import (
	"net/http"
	"strings"

	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
)

func (c *call) status() error {
	var st api.Status
	if c.s.cfg.Status != nil {
		st = c.s.cfg.Status()
	}
	st.Groups, st.Links = reply.Each(st.Groups, same), reply.Each(st.Links, same)
	return c.json(http.StatusOK, st)
}

func (c *call) members() error {
	var list []api.Member
	if c.s.cfg.Members != nil {
		list = c.s.cfg.Members()
	}
	return c.json(http.StatusOK, api.Members{Members: reply.Each(list, same)})
}

// live says that the process answers; nothing else, lest a cluster without a
// leader be restarted node by node.
func (c *call) live() error {
	c.flag("verbose")
	if c.Bad != nil {
		return c.Bad
	}
	return c.send(http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

// ready says whether the node can serve.
func (c *call) ready() error {
	verbose := c.flag("verbose")
	if c.Bad != nil {
		return c.Bad
	}
	out := api.Ready{Ready: true, Checks: []api.Check{}}
	if c.s.cfg.Ready != nil {
		out.Checks = reply.Each(c.s.cfg.Ready(), same)
	}
	var failing []string
	var lines strings.Builder
	for _, k := range out.Checks {
		if k.OK {
			lines.WriteString("[+] " + k.Name + " ok\n")
			continue
		}
		out.Ready = false
		failing = append(failing, strings.TrimSuffix(k.Name+": "+k.Detail, ": "))
		lines.WriteString("[-] " + strings.TrimSuffix(k.Name+" failed: "+k.Detail, ": ") + "\n")
	}
	status := http.StatusOK
	if !out.Ready {
		status = http.StatusServiceUnavailable
		c.w.Header().Set("Retry-After", "1")
	}
	const text = "text/plain; charset=utf-8"
	switch {
	case verbose && c.wantsJSON():
		return c.json(status, out)
	case verbose && out.Ready:
		return c.send(status, text, []byte(lines.String()+"ready\n"))
	case verbose:
		return c.send(status, text, []byte(lines.String()+"not ready\n"))
	case out.Ready:
		return c.send(status, text, []byte("ready\n"))
	}
	return problems.New(api.CodeNotReady, "", "", "", "%s", strings.Join(failing, "; "))
}

func (c *call) metrics() error {
	c.limitWrite()
	c.w.Header().Del("Cache-Control")
	c.s.cfg.Metrics.ServeHTTP(c.w, c.r)
	return nil
}
