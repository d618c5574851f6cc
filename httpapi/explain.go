package httpapi

import (
	"errors"
	"net/http"

	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// explain answers why a lock is not granted to whoever asks now.
func (c *call) explain() error {
	rd, _ := c.read(false)
	session := ""
	if c.query.Has("session") {
		session = c.Name("session", c.query.Get("session"))
	}
	if c.Bad != nil {
		return c.Bad
	}
	l, m, err := c.locks.GetLock(c.ctx, c.name, rd)
	c.meta(m)
	if e, ok := errors.AsType[*locks.Error](err); ok && e.Code == locks.LockUnknown {
		return c.json(http.StatusOK, api.Explanation{Name: c.name, Free: true, Reasons: []api.Reason{}})
	}
	if err != nil {
		return err
	}
	reasons, position := reply.Explain(l, session)
	lock := reply.Lock(l)
	return c.json(http.StatusOK, api.Explanation{Name: c.name, Free: len(reasons) == 0, Reasons: reasons, Position: position, Lock: &lock})
}
