package check

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"unicode"

	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// Transaction decodes the body of a transaction.
func (c *Checker) Transaction(body []byte) (when []locks.If, then, otherwise []locks.Op) {
	var ifs, thens, elses []json.RawMessage
	c.Object(body, Fields{"if": &ifs, "then": &thens, "else": &elses})
	if n, most := len(ifs)+len(thens)+len(elses), c.Lim.MaxTxn; n < 1 || n > most {
		limit := fmt.Sprintf("1 to %d", most)
		c.Invalid("body", strconv.Itoa(n), limit, "a transaction has from %s conditions and operations; there are %d", limit, n)
		return nil, nil, nil
	}
	when, then, otherwise = c.conditions(ifs), c.operations("then", thens), c.operations("else", elses)
	c.checkSize(when, then, otherwise)
	return when, then, otherwise
}

// checkSize bounds keys and values together.
func (c *Checker) checkSize(when []locks.If, branches ...[]locks.Op) {
	n := 0
	for i := range when {
		n += len(when[i].Name) + len(when[i].Value)
	}
	for _, list := range branches {
		for i := range list {
			n += len(list[i].Key) + len(list[i].Value)
		}
	}
	if most := c.Lim.MaxTxnBytes; n > most {
		c.Reject(problems.New(api.CodeTooLarge, "body", strconv.Itoa(n)+" bytes", strconv.Itoa(most)+" bytes",
			"keys and values have %d bytes together; they may have %d", n, most))
	}
}

// exactly notes that not just one of names is given at path, and returns it.
func (c *Checker) exactly(path string, given map[string]bool, names ...string) string {
	var found []string
	for _, name := range names {
		if given[name] {
			found = append(found, name)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	limit := "exactly one of " + strings.Join(names, ", ")
	if len(found) == 0 {
		c.Invalid(path, "", limit, "%s needs %s", path, limit)
		return ""
	}
	c.Invalid(under(path, found[1]), "", limit, "%s takes %s; there are %s", path, limit, strings.Join(found, ", "))
	return ""
}

// without refuses what does not go with the member called with.
func (c *Checker) without(path string, given map[string]bool, with string, names ...string) {
	for _, name := range names {
		if given[name] {
			c.Invalid(under(path, name), "", "absent with "+with, "%s does not go with %s", under(path, name), with)
		}
	}
}

func (c *Checker) conditions(list []json.RawMessage) (out []locks.If) {
	for i, raw := range list {
		if c.Bad != nil {
			return nil
		}
		out = append(out, c.conditionAt(At("if", i), raw))
	}
	return out
}

// conditionAt decodes one condition of a transaction.
func (c *Checker) conditionAt(path string, raw json.RawMessage) (out locks.If) {
	var key, value, encoded, session, lock string
	var revision, fence uint64
	var exists bool
	given := c.objectAt(path, raw, Fields{
		"key": &key, "revision": &revision, "exists": &exists, "value": &value, "value_base64": &encoded,
		"session": &session, "lock": &lock, "fence": &fence,
	})
	about := []string{"revision", "exists", "value", "value_base64"}
	switch c.exactly(path, given, "key", "session", "lock") {
	case "session":
		c.without(path, given, "session", append(about, "fence")...)
		return locks.If{Kind: locks.IfAlive, Name: c.Name(under(path, "session"), session)}
	case "lock":
		c.without(path, given, "lock", about...)
		c.exactly(path, given, "fence")
		return locks.If{Kind: locks.IfCurrent, Name: c.Name(under(path, "lock"), lock), Revision: c.JSONNumber(under(path, "fence"), fence, 1)}
	}
	c.without(path, given, "key", "fence")
	out.Name = c.Name(under(path, "key"), key)
	switch c.exactly(path, given, about...) {
	case "revision":
		out.Kind, out.Revision = locks.IfRevision, c.JSONNumber(under(path, "revision"), revision, 0)
	case "exists":
		if out.Kind = locks.IfAbsent; exists {
			out.Kind = locks.IfExists
		}
	case "value":
		out.Kind, out.Value = locks.IfValue, c.checkValue(under(path, "value"), []byte(value))
	case "value_base64":
		out.Kind, out.Value = locks.IfValue, c.decoded(under(path, "value_base64"), encoded)
	}
	return out
}

// operations decodes one branch of a transaction. A branch that writes a key
// twice is refused: one of the two cannot be meant.
func (c *Checker) operations(branch string, list []json.RawMessage) (out []locks.Op) {
	written := map[string]bool{}
	for i, raw := range list {
		if c.Bad != nil {
			return nil
		}
		o := c.operationAt(At(branch, i), raw)
		if o.Kind == locks.OpPut {
			if written[o.Key] {
				c.Invalid(under(At(branch, i), "put"), o.Key, "once", "%s puts a key that is put already", At(branch, i))
			}
			written[o.Key] = true
		}
		out = append(out, o)
	}
	return out
}

// operationAt decodes one operation of a transaction.
func (c *Checker) operationAt(path string, raw json.RawMessage) (out locks.Op) {
	var put, get, remove, removeAll, value, encoded, media, session string
	given := c.objectAt(path, raw, Fields{
		"put": &put, "get": &get, "delete": &remove, "delete_prefix": &removeAll,
		"value": &value, "value_base64": &encoded, "content_type": &media, "session": &session,
	})
	name := c.exactly(path, given, "put", "get", "delete", "delete_prefix")
	out.Kind = reply.Operations[name]
	out.Key = c.Name(under(path, name), put+get+remove+removeAll) // but for name's they are empty
	if name != "put" {
		c.without(path, given, name, "value", "value_base64", "content_type", "session")
		return out
	}
	switch c.exactly(path, given, "value", "value_base64") {
	case "value":
		out.Value = c.checkValue(under(path, "value"), []byte(value))
	case "value_base64":
		out.Value = c.decoded(under(path, "value_base64"), encoded)
	}
	out.ContentType = api.TypeBytes
	if given["content_type"] {
		out.ContentType = c.MediaType(under(path, "content_type"), media)
	}
	if given["session"] {
		out.Session = c.Name(under(path, "session"), session)
	}
	return out
}

// checkValue returns a config value that is not too large.
func (c *Checker) checkValue(field string, v []byte) []byte {
	if most := c.Lim.MaxValue; len(v) > most {
		c.Reject(problems.New(api.CodeTooLarge, field, strconv.Itoa(len(v))+" bytes", strconv.Itoa(most)+" bytes",
			"%s has %d bytes; it may have %d", field, len(v), most))
	}
	return v
}

// decoded is checkValue for what comes in base64.
func (c *Checker) decoded(field, s string) []byte {
	v, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		c.Invalid(field, s, "base64", "%s must be in standard base64, padded", field)
		return nil
	}
	return c.checkValue(field, v)
}

// MediaType returns a type that a config value may be kept with.
func (c *Checker) MediaType(field, v string) string {
	media, _, err := mime.ParseMediaType(v)
	if err != nil || len(v) > 255 || !strings.Contains(media, "/") || strings.ContainsFunc(v, unicode.IsControl) { // it becomes a header field
		c.Invalid(field, v, "a media type of at most 255 bytes", "%s must be a media type such as text/plain", field)
	}
	return v
}
