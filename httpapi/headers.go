package httpapi

import (
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prytany/prytany/httpapi/internal/check"
	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// header returns the value of a header that may be there once.
func (c *call) header(name string) string {
	v := c.values(name)
	switch {
	case len(v) == 0:
		return ""
	case len(v) > 1:
		c.Invalid(name, v[1], "once", "the header %s is there %d times", name, len(v))
	case !utf8.ValidString(v[0]):
		c.Invalid(name, v[0], "UTF-8", "the header %s is not UTF-8", name)
	}
	return strings.TrimSpace(v[0])
}

// values returns all values of a header. name is as [http.CanonicalHeaderKey] has it,
// or one of the constants of package api: it is not made so here.
func (c *call) values(name string) []string {
	if name == api.HeaderLastEventID { // the only one that is written otherwise
		name = "Last-Event-Id"
	}
	return c.r.Header[name]
}

// need is one for a change that must name the grant it is about; without the
// header it is refused as such.
func (c *call) need(name, detail string) uint64 {
	if match := c.condition(name, false); match.Given {
		return c.one(name, match)
	}
	c.Reject(problems.New(api.CodeFenceRequired, name, "", `"<fence>"`, "%s", detail))
	return 0
}

// condition reads header name of this request.
func (c *call) condition(name string, weakToo bool) check.Condition {
	return c.Condition(name, c.values(name), weakToo)
}

// one returns the only tag of a condition; "*" and lists are refused.
func (c *call) one(name string, cond check.Condition) uint64 {
	if cond.Any || len(cond.Tags) != 1 {
		c.Invalid(name, c.r.Header.Get(name), `"<number>"`, `%s takes exactly one ETag here, such as "41"`, name)
		return 0
	}
	if n := cond.Tags[0]; n > 0 || name != "If-Match" {
		return n
	}
	c.Invalid(name, c.r.Header.Get(name), `"<number>" from 1`, "nothing has revision 0; for an entry that is absent send If-None-Match: *")
	return 0
}

// conditions are the headers without which a request would mean something
// else: none of them is ever ignored.
var conditions = []string{"If-Match", "If-None-Match", api.HeaderSession, api.HeaderGuard}

// checkHeaders refuses conditions that the method would ignore.
func (c *call) checkHeaders() {
	for _, name := range conditions {
		if !slices.Contains(c.method.headers, name) {
			c.unconditional(name)
		}
	}
}

// unconditional refuses conditions that this request does not take.
func (c *call) unconditional(names ...string) {
	for _, name := range names {
		if v := c.values(name); len(v) > 0 {
			c.Invalid(name, v[0], "absent", "%s %s does not take %s", c.r.Method, c.route, name)
		}
	}
}

// session reads a Prytany-Session. An empty one is refused: the entry would
// outlive whom it was meant to end with.
func (c *call) session() string {
	v := c.header(api.HeaderSession)
	if v == "" && len(c.values(api.HeaderSession)) > 0 {
		c.Invalid(api.HeaderSession, v, "the id of a session", "%s is empty", api.HeaderSession)
	}
	return c.Text(api.HeaderSession, v, c.s.lim.MaxName)
}

// guard reads a Prytany-Guard.
func (c *call) guard() *locks.Guard {
	v := c.header(api.HeaderGuard)
	if v == "" {
		if len(c.values(api.HeaderGuard)) > 0 {
			c.Invalid(api.HeaderGuard, v, "", "%s is empty", api.HeaderGuard)
		}
		return nil
	}
	name, fence, err := api.ParseGuard(v)
	if err != nil {
		c.Invalid(api.HeaderGuard, v, "<lock>;fence=<number>", "%s: %v; got %q", api.HeaderGuard, err, problems.Short(v))
		return nil
	}
	return &locks.Guard{Lock: c.Name(api.HeaderGuard, name), Fence: fence}
}

// contentType returns the type that a config value is kept with. What curl -d
// says by itself means nothing.
func (c *call) contentType() string {
	v := c.header("Content-Type")
	if v == "" || v == api.TypeBytes {
		return api.TypeBytes
	}
	c.MediaType("Content-Type", v)
	if media, _, _ := mime.ParseMediaType(v); media == "application/x-www-form-urlencoded" {
		return api.TypeBytes
	}
	return v
}

// accepts reports whether the client asks for a media type by name.
func (c *call) accepts(want string) bool {
	list := c.values("Accept")
	if len(list) == 0 || len(list) == 1 && list[0] == "*/*" {
		return false
	}
	for part := range strings.SplitSeq(strings.Join(list, ","), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil || media != want {
			continue
		}
		q, err := strconv.ParseFloat(orDefault(params["q"], "1"), 64)
		return err == nil && q > 0
	}
	return false
}

// wantsJSON reports whether the client asks for JSON by name.
func (c *call) wantsJSON() bool { return c.accepts(api.TypeJSON) }

// streamType is the type of stream that the client asks for by name, "" if none.
func (c *call) streamType() string {
	for _, t := range []string{api.TypeSSE, api.TypeNDJSON} {
		if c.accepts(t) {
			return t
		}
	}
	return ""
}

// common reads the Idempotency-Key and, if there is one, sums up everything in
// the request that a retry must repeat.
func (c *call) common() service.Common {
	v := c.header(api.HeaderIdempotencyKey)
	if v == "" {
		if len(c.values(api.HeaderIdempotencyKey)) > 0 {
			c.badKey(v)
		}
		return service.Common{}
	}
	key := v
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		key = v[1 : len(v)-1]
		if strings.Contains(key, `\`) {
			key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(key)
		}
	}
	printable := strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) < 0
	if key == "" || len(key) > api.MaxIdempotencyKey || !printable {
		c.badKey(v)
	}
	return service.Common{IdempotencyKey: key, RequestHash: c.hash()}
}

func (c *call) badKey(v string) {
	limit := "1 to " + strconv.Itoa(api.MaxIdempotencyKey) + " printable ASCII bytes"
	c.Invalid(api.HeaderIdempotencyKey, v, limit, "%s must have %s", api.HeaderIdempotencyKey, limit)
}

// hash sums up what was asked. How long to wait is not part of it.
func (c *call) hash() uint64 {
	h := check.NewSum().Add(c.r.Method).Add(c.route).Add(c.group).Add(c.name)
	if len(c.query) > 0 {
		for _, name := range slices.Sorted(maps.Keys(c.query)) {
			if name != "wait" && name != "hold" && name != "since" {
				h = h.Add(name).Add(c.query.Get(name))
			}
		}
	}
	for _, name := range [...]string{"If-Match", "If-None-Match", "Content-Type", api.HeaderSession, api.HeaderGuard} {
		h = h.Add(name).Add(strings.Join(c.values(name), ","))
	}
	return uint64(h.AddBytes(c.body))
}

// read decodes how a read is to be done. tag is the header that a long poll
// compares with, "" if there is none.
func (c *call) read(poll bool) (rd service.Read, seen check.Condition) {
	switch v := c.query.Get("consistency"); {
	case v == "stale":
		rd.Stale = true
	case v == "linearizable" || !c.query.Has("consistency"):
	default:
		c.Invalid("consistency", v, "linearizable or stale", "consistency is linearizable or stale; got %q", problems.Short(v))
	}
	if c.query.Has("min_revision") {
		rd.MinRevision = c.Number("min_revision", c.query.Get("min_revision"), 0, api.MaxNumber)
	}
	if !poll {
		return rd, check.Condition{}
	}
	seen = c.condition("If-None-Match", true)
	rd.Wait = c.wait()
	if rd.Wait > 0 && seen.Given {
		rd.Not, rd.HasNot = c.one("If-None-Match", seen), true
	}
	return rd, seen
}

// wait decodes ?wait=.
func (c *call) wait() time.Duration { return c.period("wait", c.s.lim.MaxWait) }

// period decodes a query parameter that is a duration of at most limit.
func (c *call) period(name string, limit time.Duration) time.Duration {
	if !c.query.Has(name) {
		return 0
	}
	v := c.query.Get(name)
	if v == "" {
		c.Invalid(name, v, "0s to "+limit.String(), `%s is a duration such as "30s"`, name)
	}
	return c.Duration(name, v, 0, limit)
}

// list decodes what to list.
func (c *call) list() (service.List, service.Read) {
	rd, _ := c.read(false)
	l := service.List{
		Prefix: c.Text("prefix", c.query.Get("prefix"), c.s.lim.MaxName),
		Token:  c.query.Get("cursor"),
	}
	if c.query.Has("limit") {
		l.Limit = int(c.Number("limit", c.query.Get("limit"), 1, uint64(c.s.lim.MaxList)))
	}
	return l, rd
}
