package service

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/prytany/prytany/locks"
)

const (
	maxKey         = 255 // bytes of an Idempotency-Key
	maxContentType = 255
)

// invalid is the error of a request whose field can never be accepted.
func invalid(field, format string, args ...any) *locks.Error {
	return &locks.Error{Code: locks.Invalid, Field: field, Detail: field + ": " + fmt.Sprintf(format, args...)}
}

func checkName(field, name string, limit int) error {
	switch {
	case name == "":
		return invalid(field, "must not be empty")
	case len(name) > limit:
		return invalid(field, "at most %d bytes; these are %d", limit, len(name))
	case !utf8.ValidString(name):
		return invalid(field, "must be UTF-8")
	}
	return nil
}

// checkText is for what may be empty.
func checkText(field, text string, limit int) error {
	if text == "" {
		return nil
	}
	return checkName(field, text, limit)
}

// checkTTL returns d or its default.
func checkTTL(l locks.Limits, d time.Duration) (time.Duration, error) {
	if d == 0 {
		return min(max(l.DefaultTTL, l.MinTTL), l.MaxTTL), nil
	}
	if d < l.MinTTL || d > l.MaxTTL {
		return 0, invalid("ttl", "from %v to %v; this is %v", l.MinTTL, l.MaxTTL, d)
	}
	return d, nil
}

func checkUpTo(field string, d, limit time.Duration) error {
	if d < 0 || d > limit {
		return invalid(field, "from 0s to %v; this is %v", limit, d)
	}
	return nil
}
