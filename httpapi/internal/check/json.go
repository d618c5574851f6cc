package check

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/prytany/prytany/httpapi/internal/problems"
)

// Fields maps the names of a JSON object's members to where their values go:
// *string, *int, *uint64, *bool or, for a list, *[]json.RawMessage.
type Fields map[string]any

// maxPlain bounds the bodies that are copied to be looked at once more, should they turn
// out not to be plain.
const maxPlain = 4 << 10

// Object decodes a body, a JSON object with no members but those in want,
// each at most once. No body is an empty object. given says which are there.
func (c *Checker) Object(body []byte, want Fields) (given map[string]bool) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if !utf8.Valid(body) {
		c.Invalid("body", "", "UTF-8", "the body is not UTF-8")
	}
	if len(body) <= maxPlain && c.Bad == nil {
		if given, ok := plain(string(body), want); ok {
			return given
		}
	}
	return c.objectAt("", body, want)
}

// objectAt is Object for what stands at path in the body.
func (c *Checker) objectAt(path string, text []byte, want Fields) (given map[string]bool) {
	given = map[string]bool{}
	if c.Bad != nil {
		return given
	}
	what, field := path, path
	if path == "" {
		what, field = "the body", "body"
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		c.Invalid(field, string(text), "a JSON object", "%s must be a JSON object; its fields here: %s", what, names(want))
		return given
	}
	for d.More() {
		if !c.member(d, path, want, given) {
			return given
		}
	}
	if _, err := d.Token(); err != nil {
		c.Invalid(field, "", "a JSON object", "%s is not JSON: %v", what, err)
		return given
	}
	if _, err := d.Token(); err != io.EOF {
		c.Invalid(field, "", "a JSON object", "there is something after the JSON object")
	}
	return given
}

// names lists the fields that an object may have.
func names(want Fields) string {
	return cmp.Or(strings.Join(slices.Sorted(maps.Keys(want)), ", "), "none")
}

// member decodes one member of the object at path.
func (c *Checker) member(d *json.Decoder, path string, want Fields, seen map[string]bool) bool {
	var raw json.RawMessage
	t, err := d.Token()
	if err == nil {
		err = d.Decode(&raw)
	}
	name, _ := t.(string)
	to, known := want[name]
	field := under(path, name)
	switch {
	case err != nil:
		c.Invalid("body", "", "a JSON object", "the body is not JSON: %v", err)
	case !known:
		takes := names(want)
		c.Invalid(field, string(raw), takes, "there is no field %q here; there is: %s", problems.Short(field), takes)
	case seen[name]:
		c.Invalid(field, string(raw), "once", "the field %s is there twice", field)
	default:
		seen[name] = true
		c.value(field, raw, to)
	}
	return c.Bad == nil
}

// under is the path of a member of the object at path.
func under(path, name string) string {
	if name == "" {
		name = `""`
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// value decodes what stands at field.
func (c *Checker) value(field string, raw json.RawMessage, to any) {
	if json.Unmarshal(raw, to) == nil && string(raw) != "null" {
		if _, text := to.(*string); text && halfCharacter(raw) {
			c.Invalid(field, string(raw), "Unicode", `%s has half of a surrogate pair, which is no character: %s`, field, problems.Short(string(raw)))
		}
		return
	}
	kind := "a string"
	switch to.(type) {
	case *int, *uint64:
		kind = "an integer"
	case *bool:
		kind = "true or false"
	case *[]json.RawMessage:
		kind = "a list"
	}
	c.Invalid(field, string(raw), kind, "%s must be %s; got %s", field, kind, problems.Short(string(raw)))
}

// halfCharacter reports whether raw, a JSON string, escapes one half of a
// surrogate pair without the other. encoding/json puts U+FFFD in its place, so
// that different names would become the same.
func halfCharacter(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if i++; !utf16.IsSurrogate(escaped(raw[i-1:])) {
			continue
		}
		if utf16.DecodeRune(escaped(raw[i-1:]), escaped(raw[i+5:])) == unicode.ReplacementChar {
			return true
		}
		i += 10
	}
	return false
}

// escaped returns the code unit that raw begins with the escape of, -1 if it
// does not.
func escaped(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// Texts decodes a list of strings at field.
func (c *Checker) Texts(field string, list []json.RawMessage) []string {
	out := make([]string, len(list))
	for i, raw := range list {
		c.value(At(field, i), raw, &out[i])
	}
	return out
}

// At is the path of an item of the list at path.
func At(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
