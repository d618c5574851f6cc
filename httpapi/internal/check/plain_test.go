package check

import (
	"maps"
	"reflect"
	"testing"
	"unicode/utf8"
)

// FuzzPlain holds what is taken for a plain object to what the strict decoder says of
// it: the same members with the same values.
func FuzzPlain(f *testing.F) {
	for _, body := range []string{
		`{}`, ` { } `, `{}x`, `{"session":"s-1"}`, "{\n\t\"text\" : \"a\" ,\r\n \"number\" : 12 , \"fence\":0,\"yes\":true}\n", `{"yes":false}`,
		`{"text":"a",}`, `{"text":"a""number":1}`, `{,}`, `{"text":"ü\u00fc"}`, "{\"text\":\"\u2028\x7f\"}", `{"text":"a\n"}`, "{\"text\":\"\x00\"}",
		`{"number":01}`, `{"number":-1}`, `{"number":1.0}`, `{"number":1e1}`, `{"number":1234567890}`, `{"number":999999999}`, `{"number":"1"}`,
		`{"text":1}`, `{"yes":truex}`, `{"yes":true1}`, `{"yes":"true"}`, `{"text":null}`, `{"list":[]}`, `{"text":"a","text":"b"}`, `{"Text":"a"}`,
		`{"":"a"}`, `{"text":"a"`, `{"text":"a`, `{"text"}`, `{"text":}`, `{"text":"a"}}`, `["text"]`, "\ufeff{}", "{\"text\"\v:\"a\"}", "{\"text\":\"a\"}\u00a0",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if !utf8.ValidString(body) {
			return
		}
		fields := func(s *sample) Fields {
			return Fields{"text": &s.Text, "number": &s.Number, "fence": &s.Fence, "yes": &s.Yes, "list": &s.List}
		}
		var got, want sample
		given, ok := plain(body, fields(&got))
		if !ok {
			return
		}
		var c Checker
		strict := c.objectAt("", []byte(body), fields(&want))
		if c.Bad != nil || !maps.Equal(given, strict) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q is plain, with %v in %+v; strictly it has %v in %+v: %v", body, given, got, strict, want, c.Bad)
		}
	})
}

// The bodies that clients send are plain: that is what it is for.
func TestUsualBodiesArePlain(t *testing.T) {
	var s sample
	want := Fields{"text": &s.Text, "number": &s.Number, "fence": &s.Fence, "yes": &s.Yes}
	for _, body := range []string{`{}`, `{"text":"s-1"}`, `{"text":"a b/ü","number":3,"fence":37,"yes":true}`, "{ \"text\": \"a\" }\n"} {
		if _, ok := plain(body, want); !ok {
			t.Errorf("%s is not plain", body)
		}
	}
}
