package api

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzGuard reads any guard: one that is taken is, written again, the same.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"nightly;fence=37", "a%2Fb ; fence=1", "a/b;fence=9007199254740991", ";fence=1", "a;fence=0", "a;fence=-1", "a;b;fence=1", "%;fence=1", "a;fence=1;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		lock, fence, err := ParseGuard(s)
		if err != nil {
			return
		}
		again, fence2, err := ParseGuard(FormatGuard(lock, fence))
		if err != nil || again != lock || fence2 != fence || fence == 0 || fence > MaxNumber || lock == "" {
			t.Fatalf("%q is %q, %d; written again %q, %d, %v", s, lock, fence, again, fence2, err)
		}
	})
}

// FuzzValue says any value in JSON, and reads it back.
func FuzzValue(f *testing.F) {
	f.Add([]byte("text"), "dGV4dA==")
	f.Add([]byte{0xff, 0}, "no base64")
	f.Add([]byte("\u2028<&>\x00"), "/w==\n")
	f.Fuzz(func(t *testing.T, value []byte, binary string) {
		e := Entry{Key: "k"}
		e.Value, e.ValueBase64 = EncodeValue(value)
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var again Entry
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if got, err := again.Bytes(); err != nil || !bytes.Equal(got, value) {
			t.Fatalf("%q came back as %q, %v", value, got, err)
		}
		_, _ = (&Entry{ValueBase64: &binary}).Bytes()
	})
}
