package httpapi

import (
	"hash/fnv"
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// header returns the value of a header that may be there once.
func (c *call) header(name string) string {
	v := c.r.Header.Values(name)
	switch {
	case len(v) == 0:
		return ""
	case len(v) > 1:
		c.invalid(name, v[1], "once", "the header %s is there %d times", name, len(v))
	case !utf8.ValidString(v[0]):
		c.invalid(name, v[0], "UTF-8", "the header %s is not UTF-8", name)
	}
	return strings.TrimSpace(v[0])
}

// A condition is an If-Match or If-None-Match.
type condition struct {
	given bool
	any   bool // "*"
	tags  []uint64
}

// condition reads header name. Weak tags are for caches alone: they cannot
// guard a change.
func (c *call) condition(name string, weakToo bool) condition {
	values := c.r.Header.Values(name)
	if len(values) == 0 {
		return condition{}
	}
	all := strings.TrimSpace(strings.Join(values, ","))
	if all == "*" {
		return condition{given: true, any: true}
	}
	out := condition{given: true}
	for part := range strings.SplitSeq(all, ",") {
		n, weak, err := api.ParseETag(part)
		if err != nil || weak && !weakToo {
			c.invalid(name, all, `"<number>"`, `%s takes an ETag such as "41", as an earlier reply gave it; got %s`, name, short(all))
			return condition{}
		}
		out.tags = append(out.tags, n)
	}
	return out
}

// one returns the only tag of a condition; "*" and lists are refused.
func (c *call) one(name string, cond condition) uint64 {
	if cond.any || len(cond.tags) != 1 {
		c.invalid(name, c.r.Header.Get(name), `"<number>"`, `%s takes exactly one ETag here, such as "41"`, name)
		return 0
	}
	if n := cond.tags[0]; n > 0 || name != "If-Match" {
		return n
	}
	c.invalid(name, c.r.Header.Get(name), `"<number>" from 1`, "nothing has revision 0; for an entry that is absent send If-None-Match: *")
	return 0
}

// unconditional refuses conditions that the method would ignore.
func (c *call) unconditional(names ...string) {
	for _, name := range names {
		if v := c.r.Header.Get(name); v != "" {
			c.invalid(name, v, "absent", "%s %s does not take %s", c.r.Method, c.route, name)
		}
	}
}

// session reads a Prytany-Session. An empty one is refused: the entry would
// outlive whom it was meant to end with.
func (c *call) session() string {
	v := c.header(api.HeaderSession)
	if v == "" && len(c.r.Header.Values(api.HeaderSession)) > 0 {
		c.invalid(api.HeaderSession, v, "the id of a session", "%s is empty", api.HeaderSession)
	}
	return c.checkText(api.HeaderSession, v, c.s.lim.MaxName)
}

// guard reads a Prytany-Guard.
func (c *call) guard() *locks.Guard {
	v := c.header(api.HeaderGuard)
	if v == "" {
		if len(c.r.Header.Values(api.HeaderGuard)) > 0 {
			c.invalid(api.HeaderGuard, v, "", "%s is empty", api.HeaderGuard)
		}
		return nil
	}
	name, fence, err := api.ParseGuard(v)
	if err != nil {
		c.invalid(api.HeaderGuard, v, "<lock>;fence=<number>", "%s: %v; got %q", api.HeaderGuard, err, short(v))
		return nil
	}
	return &locks.Guard{Lock: c.checkName(api.HeaderGuard, name), Fence: fence}
}

// contentType returns the type that a config value is kept with. What curl -d
// says by itself means nothing.
func (c *call) contentType() string {
	v := c.header("Content-Type")
	if v == "" {
		return api.TypeBytes
	}
	media, _, err := mime.ParseMediaType(v)
	if err != nil || len(v) > 255 || !strings.Contains(media, "/") {
		c.invalid("Content-Type", v, "a media type of at most 255 bytes", "Content-Type must be a media type such as text/plain")
	}
	if media == "application/x-www-form-urlencoded" {
		return api.TypeBytes
	}
	return v
}

// wantsJSON reports whether the client asks for JSON by name.
func (c *call) wantsJSON() bool {
	for part := range strings.SplitSeq(strings.Join(c.r.Header.Values("Accept"), ","), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil || media != api.TypeJSON {
			continue
		}
		q, err := strconv.ParseFloat(orDefault(params["q"], "1"), 64)
		return err == nil && q > 0
	}
	return false
}

// common reads the Idempotency-Key and, if there is one, sums up everything in
// the request that a retry must repeat.
func (c *call) common() locks.Common {
	v := c.header(api.HeaderIdempotencyKey)
	if v == "" {
		if len(c.r.Header.Values(api.HeaderIdempotencyKey)) > 0 {
			c.badKey(v)
		}
		return locks.Common{}
	}
	key := v
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(v[1 : len(v)-1])
	}
	printable := strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) < 0
	if key == "" || len(key) > api.MaxIdempotencyKey || !printable {
		c.badKey(v)
	}
	return locks.Common{IdempotencyKey: key, RequestHash: c.hash()}
}

func (c *call) badKey(v string) {
	limit := "1 to " + strconv.Itoa(api.MaxIdempotencyKey) + " printable ASCII bytes"
	c.invalid(api.HeaderIdempotencyKey, v, limit, "%s must have %s", api.HeaderIdempotencyKey, limit)
}

// hash is FNV-1a over what was asked: each part with its length, so that no
// two lists of parts look the same. How long to wait is not part of it.
func (c *call) hash() uint64 {
	h := fnv.New64a()
	add := func(parts ...string) {
		for _, p := range parts {
			_, _ = h.Write(strconv.AppendInt(nil, int64(len(p)), 10))
			_, _ = h.Write([]byte{':'})
			_, _ = h.Write([]byte(p))
		}
	}
	add(c.r.Method, c.route, c.group, c.name)
	for _, name := range slices.Sorted(maps.Keys(c.query)) {
		if name != "wait" {
			add(name, c.query.Get(name))
		}
	}
	for _, name := range []string{"If-Match", "If-None-Match", "Content-Type", api.HeaderSession, api.HeaderGuard} {
		add(name, strings.Join(c.r.Header.Values(name), ","))
	}
	add(string(c.body))
	return h.Sum64()
}

// read decodes how a read is to be done. tag is the header that a long poll
// compares with, "" if there is none.
func (c *call) read(poll bool) (rd locks.Read, seen condition) {
	switch v := c.query.Get("consistency"); {
	case v == "stale":
		rd.Stale = true
	case v == "linearizable" || !c.query.Has("consistency"):
	default:
		c.invalid("consistency", v, "linearizable or stale", "consistency is linearizable or stale; got %q", short(v))
	}
	if c.query.Has("min_revision") {
		rd.MinRevision = c.number("min_revision", c.query.Get("min_revision"), 0, api.MaxNumber)
	}
	if !poll {
		return rd, condition{}
	}
	seen = c.condition("If-None-Match", true)
	rd.Wait = c.wait()
	if rd.Wait > 0 && seen.given {
		rd.Not, rd.HasNot = c.one("If-None-Match", seen), true
	}
	return rd, seen
}

// wait decodes ?wait=.
func (c *call) wait() time.Duration {
	if !c.query.Has("wait") {
		return 0
	}
	v := c.query.Get("wait")
	if v == "" {
		c.invalid("wait", v, "0s to "+c.s.lim.MaxWait.String(), `wait is a duration such as "30s"`)
	}
	return c.duration("wait", v, 0, c.s.lim.MaxWait)
}

// matches reports whether the client has revision n already.
func (k condition) matches(n uint64) bool { return k.given && (k.any || slices.Contains(k.tags, n)) }

// list decodes what to list.
func (c *call) list() (locks.List, locks.Read) {
	rd, _ := c.read(false)
	l := locks.List{
		Prefix: c.checkText("prefix", c.query.Get("prefix"), c.s.lim.MaxName),
		Token:  c.query.Get("cursor"),
	}
	if c.query.Has("limit") {
		l.Limit = int(c.number("limit", c.query.Get("limit"), 1, uint64(c.s.lim.MaxList)))
	}
	return l, rd
}
