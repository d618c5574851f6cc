package check

import (
	"strconv"
	"strings"
)

// plain decodes an object of the plainest kind, as almost all are: known members,
// each once, whose values are texts without escapes, short whole numbers that are not
// negative, and true or false. Of anything else it says nothing, and what it has put
// in want by then means nothing: objectAt decides. body is UTF-8. FuzzPlain holds it to what
// objectAt says.
func plain(body string, want Fields) (given map[string]bool, ok bool) {
	rest, ok := after(body, '{')
	if !ok {
		return nil, false
	}
	if end, ok := after(rest, '}'); ok {
		return nil, blank(end)
	}
	given = make(map[string]bool, 1)
	for {
		name, value, ok := quoted(rest)
		if !ok || want[name] == nil || given[name] {
			return nil, false
		}
		given[name] = true
		if value, ok = after(value, ':'); !ok {
			return nil, false
		}
		if rest, ok = plainValue(value, want[name]); !ok {
			return nil, false
		}
		if more, ok := after(rest, ','); ok {
			rest = more
			continue
		}
		end, ok := after(rest, '}')
		return given, ok && blank(end)
	}
}

// plainValue decodes the value that s begins with, and returns what comes behind it.
func plainValue(s string, to any) (rest string, ok bool) {
	switch to := to.(type) {
	case *string:
		*to, rest, ok = quoted(s)
		return rest, ok
	case *int:
		n, rest, ok := digits(s)
		*to = int(n)
		return rest, ok
	case *uint64:
		*to, rest, ok = digits(s)
		return rest, ok
	case *bool:
		s = strings.TrimLeft(s, space)
		if rest, ok = strings.CutPrefix(s, "true"); ok {
			*to = true
			return rest, true
		}
		*to = false
		return strings.CutPrefix(s, "false")
	}
	return "", false
}

// space is what may stand between the parts of JSON.
const space = " \t\r\n"

func blank(s string) bool { return strings.TrimLeft(s, space) == "" }

// after returns what comes behind the byte c, which s begins with.
func after(s string, c byte) (rest string, ok bool) {
	s = strings.TrimLeft(s, space)
	if s == "" || s[0] != c {
		return "", false
	}
	return s[1:], true
}

// quoted returns the text that s begins with.
func quoted(s string) (text, rest string, ok bool) {
	if s, ok = after(s, '"'); !ok {
		return "", "", false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			return s[:i], s[i+1:], true
		case c == '\\' || c < ' ':
			return "", "", false
		}
	}
	return "", "", false
}

// digits returns the number that s begins with. What has more to it than a few digits
// does not end where they do.
func digits(s string) (n uint64, rest string, ok bool) {
	const most = 9 // fit in an int, however small one is
	s = strings.TrimLeft(s, space)
	end := 0
	for end < len(s) && end <= most && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == 0 || end > most || end > 1 && s[0] == '0' {
		return 0, "", false
	}
	n, err := strconv.ParseUint(s[:end], 10, 64)
	return n, s[end:], err == nil
}
