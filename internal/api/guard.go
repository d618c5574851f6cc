package api

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

var errGuard = errors.New("want <lock>;fence=<number>, with the lock's name encoded as in a path")

// FormatGuard returns the value of a [HeaderGuard]: the lock's name, encoded
// as a path segment, and the fence of the grant: "nightly;fence=37".
func FormatGuard(lock string, fence uint64) string {
	// PathEscape keeps everything but the characters that would end a segment
	// or be ambiguous; ';' is among those it escapes.
	return url.PathEscape(lock) + ";fence=" + strconv.FormatUint(fence, 10)
}

// ParseGuard is the inverse of FormatGuard. Slashes may stay unescaped.
func ParseGuard(s string) (lock string, fence uint64, err error) {
	name, number, ok := strings.Cut(s, ";")
	if !ok {
		return "", 0, errGuard
	}
	number, ok = strings.CutPrefix(strings.TrimSpace(number), "fence=")
	if !ok {
		return "", 0, errGuard
	}
	lock, err = url.PathUnescape(strings.TrimSpace(name))
	if err != nil || lock == "" {
		return "", 0, errGuard
	}
	fence, err = ParseNumber(number)
	if err != nil || fence == 0 {
		return "", 0, errGuard
	}
	return lock, fence, nil
}

// MaxNumber is the highest revision, slot or fence: the last integer that
// JavaScript counts to without a gap.
const MaxNumber = 1<<53 - 1

// ParseNumber reads a revision, slot or fence: decimal digits, nothing else.
func ParseNumber(s string) (uint64, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, errors.New("want a decimal number")
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > MaxNumber {
		return 0, errors.New("want a number of at most 9007199254740991")
	}
	return n, nil
}

// FormatETag returns the ETag of revision or fence n.
func FormatETag(n uint64) string { return `"` + strconv.FormatUint(n, 10) + `"` }

// ParseETag reads one ETag of ours: a quoted number, or a bare one, because
// quotes are easily lost in a shell. A weak tag W/"7" says so.
func ParseETag(s string) (n uint64, weak bool, err error) {
	s, weak = strings.CutPrefix(strings.TrimSpace(s), "W/")
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	n, err = ParseNumber(s)
	return n, weak, err
}
