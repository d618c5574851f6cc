package httpapi

import (
	_ "embed"
	"net/http"

	"github.com/prytany/prytany/internal/api"
)

// openAPI is docs/openapi.yaml as JSON. A test makes it.
//
//go:embed openapi.json
var openAPI []byte

// document serves the description of this API.
func (c *call) document() error { return c.send(http.StatusOK, api.TypeJSON, openAPI) }
