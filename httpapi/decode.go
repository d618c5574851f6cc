package httpapi

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prytany/prytany/httpapi/internal/check"
	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/mutant"
)

// flag reads a query parameter that is true or false; ?name alone is true.
func (c *call) flag(name string) bool {
	if !c.query.Has(name) {
		return false
	}
	switch v := c.query.Get(name); v {
	case "", "true":
		return true
	case "false":
		return false
	default:
		c.Invalid(name, v, "true or false", "%s is true or false; got %q", name, problems.Short(v))
		return false
	}
}

// parseQuery decodes the query and refuses parameters that would be ignored.
func (c *call) parseQuery() {
	if c.r.URL.RawQuery == "" {
		return
	}
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		c.Invalid("query", c.r.URL.RawQuery, "", "the query cannot be read: %v", err)
		return
	}
	known := c.method.query
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case !slices.Contains(known, name):
			takes := "none"
			if len(known) > 0 {
				takes = strings.Join(known, ", ")
			}
			c.Invalid(name, q.Get(name), takes, "there is no query parameter %q here; there is: %s", problems.Short(name), takes)
		case len(q[name]) > 1:
			c.Invalid(name, q[name][1], "once", "the query parameter %s is there %d times", name, len(q[name]))
		case !utf8.ValidString(q.Get(name)):
			c.Invalid(name, q.Get(name), "UTF-8", "%s is not UTF-8", name)
		}
	}
	c.query = q
}

// bodyLimit is how long the body may be. A byte of text can take six in JSON.
func (c *call) bodyLimit() int {
	lim := &c.s.lim
	object := 8<<10 + 16*lim.MaxNote + 6*lim.MaxPublished
	switch c.method.body {
	case bodyJSON:
		return object
	case bodyNames:
		return object + 6*lim.MaxNames*lim.MaxName
	case bodyTxn:
		return object + 4*lim.MaxTxnBytes // few bytes need as many as six
	case bodyValue:
		return lim.MaxValue
	}
	return 0
}

// readBody reads what the method takes, within its bound and in time.
func (c *call) readBody() {
	limit := c.bodyLimit()
	if mutant.On(mutant.NoBodyLimit) {
		limit = 1 << 30
	}
	if e := c.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		c.Reject(problems.New(api.CodeEncoding, "Content-Encoding", e, "identity", "send the body as it is, without Content-Encoding"))
		return
	}
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return
	}
	if c.r.ContentLength > int64(limit) {
		c.tooLarge(limit, strconv.FormatInt(c.r.ContentLength, 10)+" bytes")
		return
	}
	body, err := check.ReadAll(http.MaxBytesReader(c.raw, c.r.Body, int64(limit)), c.r.ContentLength)
	switch {
	case err == nil:
		c.body = body
		c.control().ClearRead()
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.Reject(problems.New(api.CodeTimeout, "body", "", c.s.cfg.IOTimeout.String(), "the body did not come within %v", c.s.cfg.IOTimeout))
	default:
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			c.tooLarge(limit, "more than "+strconv.Itoa(limit)+" bytes")
			return
		}
		c.Invalid("body", "", "", "the body was cut short after %d bytes: %v", len(body), err)
	}
}

func (c *call) tooLarge(limit int, size string) {
	if c.method.body == bodyNone {
		c.Invalid("body", size, "0 bytes", "%s takes no body here", c.r.Method)
		return
	}
	c.Reject(problems.New(api.CodeTooLarge, "body", size, strconv.Itoa(limit)+" bytes", "the body has %s; it may have %d bytes", size, limit))
}

// object decodes the body.
func (c *call) object(want check.Fields) (given map[string]bool) { return c.Object(c.body, want) }
