// Package check reads what requests say, and holds it against the limits.
package check

import (
	"fmt"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// A Checker notes the first thing that is wrong with a request in Bad; from then on
// what its methods return means nothing, so that a caller looks at Bad once, at the
// end.
type Checker struct {
	Lim locks.Limits
	Bad *api.Problem
}

// Reject notes what is wrong, unless something is already.
func (c *Checker) Reject(p *api.Problem) {
	if c.Bad == nil {
		c.Bad = p
	}
}

// Invalid notes that field is wrong.
func (c *Checker) Invalid(field, value, limit, format string, args ...any) {
	c.Reject(problems.New(api.CodeInvalid, field, value, limit, format, args...))
}

// Unescape decodes a part of the path, once.
func (c *Checker) Unescape(field, raw string) string {
	s, err := url.PathUnescape(raw)
	if err != nil {
		c.Invalid(field, raw, "", "%s is not encoded as a path is: %v", field, err)
	}
	return s
}

// Name returns a name that may exist: neither empty nor too long, UTF-8.
func (c *Checker) Name(field, s string) string {
	if s != "" && len(s) <= c.Lim.MaxName && utf8.ValidString(s) {
		return s
	}
	limit := "1 to " + strconv.Itoa(c.Lim.MaxName) + " bytes"
	switch {
	case s == "":
		c.Invalid(field, s, limit, "%s is empty; it must have %s", field, limit)
	case len(s) > c.Lim.MaxName:
		c.Invalid(field, s, limit, "%s has %d bytes; it must have %s", field, len(s), limit)
	default:
		c.Invalid(field, s, "UTF-8", "%s is not UTF-8", field)
	}
	return s
}

// GroupName returns a name that a group may have.
func (c *Checker) GroupName(field, s string) string {
	if !api.ValidGroupName(s) {
		c.Invalid(field, s, api.GroupName, "%s must have %s; got %q", field, api.GroupName, problems.Short(s))
	}
	return s
}

// Text returns a text of at most limit bytes.
func (c *Checker) Text(field, s string, limit int) string {
	switch {
	case len(s) > limit:
		c.Invalid(field, s, strconv.Itoa(limit)+" bytes", "%s has %d bytes; it may have %d", field, len(s), limit)
	case !utf8.ValidString(s):
		c.Invalid(field, s, "UTF-8", "%s is not UTF-8", field)
	}
	return s
}

// Duration reads a duration within bounds; "" is 0 and always fine.
func (c *Checker) Duration(field, s string, low, high time.Duration) time.Duration {
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err == nil && d >= low && d <= high {
		return d
	}
	limit := fmt.Sprintf("%v to %v", low, high)
	if err != nil {
		c.Invalid(field, s, limit, `%s must be a duration such as "15s" or "1h30m", from %s; got %q`, field, limit, problems.Short(s))
		return 0
	}
	c.Invalid(field, s, limit, "%s must be from %s; got %q", field, limit, problems.Short(s))
	return 0
}

// Number reads a decimal number within bounds.
func (c *Checker) Number(field, s string, low, high uint64) uint64 {
	n, err := api.ParseNumber(s)
	if err != nil || n < low || n > high {
		limit := fmt.Sprintf("%d to %d", low, high)
		c.Invalid(field, s, limit, "%s must be a number from %s; got %q", field, limit, problems.Short(s))
		return 0
	}
	return n
}

// JSONNumber checks a revision or fence from JSON.
func (c *Checker) JSONNumber(field string, n, low uint64) uint64 {
	return c.Number(field, strconv.FormatUint(n, 10), low, api.MaxNumber)
}
