package httpapi

import (
	"net/http"

	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/locks/service"
)

func (c *call) transact() error {
	var req service.Txn
	req.If, req.Then, req.Else = c.Transaction(c.body)
	req.Common = c.common()
	if c.Bad != nil {
		return c.Bad
	}
	res, m, err := c.locks.Txn(c.ctx, req)
	c.meta(m)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, reply.Transacted(res, m.Revision))
}
