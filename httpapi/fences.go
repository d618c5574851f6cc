package httpapi

import (
	"net/http"

	"github.com/prytany/prytany/httpapi/internal/check"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks/service"
)

func (c *call) advanceFence() error {
	var in api.Fence
	given := c.object(check.Fields{"fence": &in.Fence})
	req := service.AdvanceFence{Common: c.common(), Resource: c.name, Fence: in.Fence}
	switch {
	case !given["fence"]:
		c.Invalid("fence", "", "a number from 1", "fence is missing")
	default:
		c.JSONNumber("fence", in.Fence, 1)
	}
	if c.Bad != nil {
		return c.Bad
	}
	highest, m, err := c.locks.AdvanceFence(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", api.FormatETag(highest))
	return c.json(http.StatusOK, api.Highest{Highest: highest})
}

func (c *call) getFence() error {
	rd, _ := c.read(false)
	if c.Bad != nil {
		return c.Bad
	}
	highest, m, err := c.locks.GetFence(c.ctx, c.name, rd)
	c.meta(m)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", api.FormatETag(highest))
	return c.json(http.StatusOK, api.Highest{Highest: highest})
}

func (c *call) forgetFence() error {
	req := service.ForgetFence{
		Common:   c.common(),
		Resource: c.name,
		Fence:    c.need("If-Match", `send If-Match with the highest fence that the resource has seen, such as "37"`),
	}
	if c.Bad != nil {
		return c.Bad
	}
	m, err := c.locks.ForgetFence(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
