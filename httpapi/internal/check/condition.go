package check

import (
	"slices"
	"strings"

	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/internal/api"
)

// A Condition is an If-Match or If-None-Match.
type Condition struct {
	Given bool
	Any   bool // "*"
	Tags  []uint64
}

// Condition reads header name, which has these values. Weak tags are for caches alone: they cannot
// guard a change.
func (c *Checker) Condition(name string, values []string, weakToo bool) Condition {
	if len(values) == 0 {
		return Condition{}
	}
	all := strings.TrimSpace(strings.Join(values, ","))
	if all == "*" {
		return Condition{Given: true, Any: true}
	}
	out := Condition{Given: true}
	for part := range strings.SplitSeq(all, ",") {
		n, weak, err := api.ParseETag(part)
		if err != nil || weak && !weakToo {
			c.Invalid(name, all, `"<number>"`, `%s takes an ETag such as "41", as an earlier reply gave it; got %s`, name, problems.Short(all))
			return Condition{}
		}
		out.Tags = append(out.Tags, n)
	}
	return out
}

// Matches reports whether the client has revision n already.
func (k Condition) Matches(n uint64) bool { return k.Given && (k.Any || slices.Contains(k.Tags, n)) }
