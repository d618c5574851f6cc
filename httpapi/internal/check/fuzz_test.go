package check

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// A sample has a field of every type that bodies have.
type sample struct {
	Text   string            `json:"text"`
	Number int               `json:"number"`
	Fence  uint64            `json:"fence"`
	Yes    bool              `json:"yes"`
	List   []json.RawMessage `json:"list"`
}

// FuzzObject reads any body: what is taken is what encoding/json reads, with the same
// values; no member is there twice, in another case, or unknown; and no text has a
// character in it that the body had not.
func FuzzObject(f *testing.F) {
	for _, body := range []string{
		"", " ", `{}`, `{"text":"a","number":-1,"fence":18446744073709551615,"yes":true,"list":["a",{"b":[]}]}`,
		`{"text":"a","text":"b"}`, `{"Text":"a"}`, `{"number":1e400}`, `{"number":1.5}`, `{"fence":-1}`, `{"text":"\ud800"}`, `{"text":"\ud83d\ude00"}`,
		"{\"text\":\"\xff\"}", `{"list":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, `{"yes":null}`, `{"text":"a"}{}`, `[]`, `{"text"`, `{"":1}`,
		`{"list":` + strings.Repeat("[", 20_000),
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c := Checker{Lim: locks.Limits{}}
		var got, want sample
		given := c.Object(body, Fields{"text": &got.Text, "number": &got.Number, "fence": &got.Fence, "yes": &got.Yes, "list": &got.List})
		if c.Bad != nil {
			if c.Bad.Code != api.CodeInvalid || c.Bad.Field == "" || c.Bad.Detail == "" || len(c.Bad.Detail)+len(c.Bad.Value) > 4<<10 {
				t.Fatalf("a refusal that says too little, or too much: %+v", c.Bad)
			}
			return
		}
		if len(bytes.TrimSpace(body)) == 0 {
			return
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&want); err != nil || !utf8.Valid(body) {
			t.Fatalf("%q is taken; encoding/json says %v", body, err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(body, &members); err != nil || len(members) != len(given) {
			t.Fatalf("%q has the members %v, and %v are taken", body, members, given)
		}
		if got.Text != want.Text || got.Number != want.Number || got.Fence != want.Fence || got.Yes != want.Yes || len(got.List) != len(want.List) {
			t.Fatalf("%q is %+v; encoding/json says %+v", body, got, want)
		}
		if strings.ContainsRune(got.Text, utf8.RuneError) && !bytes.Contains(body, []byte("\ufffd")) && !bytes.Contains(bytes.ToLower(body), []byte(`\ufffd`)) {
			t.Fatalf("%q has become %q", body, got.Text)
		}
	})
}

// FuzzCondition reads any ETags: what is taken and written again is the same, and no
// weak one gets through where a change rests on it.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{`"41"`, `41`, `W/"41"`, `*`, `"1", "2",W/"3"`, `,`, `"9007199254740992"`, `""`, `"-1"`, `W/W/"1"`, `"1`} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, weakToo bool) {
		var c Checker
		k := c.Condition("If-Match", []string{text}, weakToo)
		if c.Bad != nil {
			if k.Given {
				t.Fatalf("%q is refused, and counts as %+v", text, k)
			}
			return
		}
		if !k.Given || k.Any == (len(k.Tags) > 0) || !weakToo && strings.Contains(text, "W") {
			t.Fatalf("%q is %+v", text, k)
		}
		var again []string
		for _, n := range k.Tags {
			if n > api.MaxNumber || !k.Matches(n) {
				t.Fatalf("%q is %+v", text, k)
			}
			again = append(again, api.FormatETag(n))
		}
		if k.Any {
			again = []string{"*"}
		}
		if k2 := c.Condition("If-Match", again, false); c.Bad != nil || len(k2.Tags) != len(k.Tags) || k2.Any != k.Any {
			t.Fatalf("%q is %+v, and written again %+v", text, k, k2)
		}
	})
}

// FuzzValues reads what stands in paths and queries: names, durations and numbers that
// are taken lie within their bounds.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"", "a%2Fb", "%zz", "%ff", "a+b", "15s", "-1s", "1h30m", "9223372036854775807ns", "1e9s", "0", "9007199254740991", "00012", "١"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ok := func(read func(c *Checker)) bool {
			c := Checker{Lim: locks.Limits{MaxName: 512}}
			read(&c)
			return c.Bad == nil
		}
		var name, group string
		var d time.Duration
		var n uint64
		if ok(func(c *Checker) { name = c.Name("name", c.Unescape("name", s)) }) && (name == "" || len(name) > 512 || !utf8.ValidString(name)) {
			t.Errorf("the name %q, of %q", name, s)
		}
		if ok(func(c *Checker) { group = c.GroupName("group", s) }) && (group != s || strings.ContainsAny(group, "/ %?#") || group == "") {
			t.Errorf("the group %q, of %q", group, s)
		}
		if ok(func(c *Checker) { d = c.Duration("wait", s, time.Second, time.Minute) }) && s != "" && (d < time.Second || d > time.Minute) {
			t.Errorf("the duration %v, of %q", d, s)
		}
		if ok(func(c *Checker) { n = c.Number("limit", s, 1, 1000) }) && (n < 1 || n > 1000 || strings.Trim(s, "0123456789") != "") {
			t.Errorf("the number %d, of %q", n, s)
		}
	})
}
