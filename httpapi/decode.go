package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prytany/prytany/internal/api"
)

// invalid notes that field is wrong.
func (c *call) invalid(field, value, limit, format string, args ...any) {
	c.reject(problem(api.CodeInvalid, field, value, limit, format, args...))
}

// unescape decodes a part of the path, once.
func (c *call) unescape(field, raw string) string {
	s, err := url.PathUnescape(raw)
	if err != nil {
		c.invalid(field, raw, "", "%s is not encoded as a path is: %v", field, err)
	}
	return s
}

// checkName returns a name that may exist: neither empty nor too long, UTF-8.
func (c *call) checkName(field, s string) string {
	limit := "1 to " + strconv.Itoa(c.s.lim.MaxName) + " bytes"
	switch {
	case s == "":
		c.invalid(field, s, limit, "%s is empty; it must have %s", field, limit)
	case len(s) > c.s.lim.MaxName:
		c.invalid(field, s, limit, "%s has %d bytes; it must have %s", field, len(s), limit)
	case !utf8.ValidString(s):
		c.invalid(field, s, "UTF-8", "%s is not UTF-8", field)
	}
	return s
}

// checkText returns a text of at most limit bytes.
func (c *call) checkText(field, s string, limit int) string {
	switch {
	case len(s) > limit:
		c.invalid(field, s, strconv.Itoa(limit)+" bytes", "%s has %d bytes; it may have %d", field, len(s), limit)
	case !utf8.ValidString(s):
		c.invalid(field, s, "UTF-8", "%s is not UTF-8", field)
	}
	return s
}

// duration reads a duration within bounds; "" is 0 and always fine.
func (c *call) duration(field, s string, low, high time.Duration) time.Duration {
	if s == "" {
		return 0
	}
	limit := fmt.Sprintf("%v to %v", low, high)
	d, err := time.ParseDuration(s)
	if err != nil {
		c.invalid(field, s, limit, `%s must be a duration such as "15s" or "1h30m", from %s; got %q`, field, limit, short(s))
		return 0
	}
	if d < low || d > high {
		c.invalid(field, s, limit, "%s must be from %s; got %q", field, limit, short(s))
		return 0
	}
	return d
}

// number reads a decimal number within bounds.
func (c *call) number(field, s string, low, high uint64) uint64 {
	n, err := api.ParseNumber(s)
	if err != nil || n < low || n > high {
		limit := fmt.Sprintf("%d to %d", low, high)
		c.invalid(field, s, limit, "%s must be a number from %s; got %q", field, limit, short(s))
		return 0
	}
	return n
}

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
		c.invalid(name, v, "true or false", "%s is true or false; got %q", name, short(v))
		return false
	}
}

// parseQuery decodes the query and refuses parameters that would be ignored.
func (c *call) parseQuery() {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		c.invalid("query", c.r.URL.RawQuery, "", "the query cannot be read: %v", err)
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
			c.invalid(name, q.Get(name), takes, "there is no query parameter %q here; there is: %s", short(name), takes)
		case len(q[name]) > 1:
			c.invalid(name, q[name][1], "once", "the query parameter %s is there %d times", name, len(q[name]))
		case !utf8.ValidString(q.Get(name)):
			c.invalid(name, q.Get(name), "UTF-8", "%s is not UTF-8", name)
		}
	}
	c.query = q
}

// readBody reads what the method takes, within its bound and in time.
func (c *call) readBody() {
	limit := 0
	switch c.method.body {
	case bodyJSON:
		limit = 8<<10 + 16*c.s.lim.MaxNote // a byte can take six in JSON
	case bodyValue:
		limit = c.s.lim.MaxValue
	}
	if e := c.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		c.reject(problem(api.CodeEncoding, "Content-Encoding", e, "identity", "send the body as it is, without Content-Encoding"))
		return
	}
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return
	}
	if c.r.ContentLength > int64(limit) {
		c.tooLarge(limit, strconv.FormatInt(c.r.ContentLength, 10)+" bytes")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.raw, c.r.Body, int64(limit)))
	switch {
	case err == nil:
		c.body = body
		c.control().clearRead()
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.reject(problem(api.CodeTimeout, "body", "", c.s.cfg.IOTimeout.String(), "the body did not come within %v", c.s.cfg.IOTimeout))
	default:
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			c.tooLarge(limit, "more than "+strconv.Itoa(limit)+" bytes")
			return
		}
		c.invalid("body", "", "", "the body was cut short after %d bytes: %v", len(body), err)
	}
}

func (c *call) tooLarge(limit int, size string) {
	if c.method.body == bodyNone {
		c.invalid("body", size, "0 bytes", "%s takes no body here", c.r.Method)
		return
	}
	c.reject(problem(api.CodeTooLarge, "body", size, strconv.Itoa(limit)+" bytes", "the body has %s; it may have %d bytes", size, limit))
}

// fields maps the names of a JSON object's members to where their values go:
// *string or *int.
type fields map[string]any

// object decodes the body, a flat JSON object with no members but those in
// want, each at most once. No body is an empty object. given says which are
// there.
func (c *call) object(want fields) (given map[string]bool) {
	given = map[string]bool{}
	if len(bytes.TrimSpace(c.body)) == 0 || c.bad != nil {
		return given
	}
	if !utf8.Valid(c.body) {
		c.invalid("body", "", "UTF-8", "the body is not UTF-8")
		return given
	}
	d := json.NewDecoder(bytes.NewReader(c.body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		c.invalid("body", string(c.body), "a JSON object", `the body must be a JSON object such as {"ttl":"15s"}`)
		return given
	}
	for d.More() {
		if !c.member(d, want, given) {
			return given
		}
	}
	if _, err := d.Token(); err != nil {
		c.invalid("body", "", "a JSON object", "the body is not JSON: %v", err)
		return given
	}
	if _, err := d.Token(); err != io.EOF {
		c.invalid("body", "", "a JSON object", "there is something after the JSON object")
	}
	return given
}

// member decodes one member of the object.
func (c *call) member(d *json.Decoder, want fields, seen map[string]bool) bool {
	var raw json.RawMessage
	t, err := d.Token()
	if err == nil {
		err = d.Decode(&raw)
	}
	name, _ := t.(string)
	to, known := want[name]
	switch {
	case err != nil:
		c.invalid("body", "", "a JSON object", "the body is not JSON: %v", err)
	case !known:
		takes := strings.Join(slices.Sorted(maps.Keys(want)), ", ")
		c.invalid(name, string(raw), takes, "there is no field %q here; there is: %s", short(name), orDefault(takes, "none"))
	case seen[name]:
		c.invalid(name, string(raw), "once", "the field %s is there twice", name)
	default:
		seen[name] = true
		if json.Unmarshal(raw, to) != nil || string(raw) == "null" {
			kind := "a string"
			if _, ok := to.(*int); ok {
				kind = "an integer"
			}
			c.invalid(name, string(raw), kind, "%s must be %s; got %s", name, kind, short(string(raw)))
		}
	}
	return c.bad == nil
}
