package check

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
	"testing/iotest"
)

// TestReadAll reads bodies about which more, less, nothing or the truth was said.
func TestReadAll(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 4097, 70_000, 300_000} {
		want := bytes.Repeat([]byte("body"), size/4+1)[:size]
		for _, said := range []int64{-1, 0, 1, 4096, int64(size), int64(size) - 1, int64(size) + 1, 1 << 40, math.MaxInt64} {
			for name, wrap := range map[string]func(io.Reader) io.Reader{
				"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "with its end": iotest.DataErrReader,
			} {
				got, err := ReadAll(wrap(bytes.NewReader(want)), max(said, -1))
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, %d said, %s: read %d, %v", size, said, name, len(got), err)
				}
				if said >= 0 && cap(got) > max(4<<10+1, 4*(size+1)) {
					t.Errorf("%d bytes, %d said, %s: room for %d", size, said, name, cap(got))
				}
			}
		}
		broken := errors.New("broken")
		got, err := ReadAll(io.MultiReader(bytes.NewReader(want), iotest.ErrReader(broken)), 1<<20)
		if !errors.Is(err, broken) || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of a longer body: read %d, %v", size, len(got), err)
		}
	}
}

// TestSumsTellPartsApart has lists of parts that are alike but for where one ends.
func TestSumsTellPartsApart(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 100_000)
	other := bytes.Clone(long)
	other[len(other)-1]++
	seen := map[Sum]string{}
	for name, sum := range map[string]Sum{
		"ab+c": NewSum().Add("ab").Add("c"), "a+bc": NewSum().Add("a").Add("bc"), "abc": NewSum().Add("abc"),
		"none": NewSum(), "empty": NewSum().AddBytes(nil), "long": NewSum().AddBytes(long), "other": NewSum().AddBytes(other),
		"shorter": NewSum().AddBytes(long[1:]),
	} {
		if was, ok := seen[sum]; ok {
			t.Errorf("%s and %s have one sum", name, was)
		}
		seen[sum] = name
	}
	// What is remembered of a request is in the log: it may never come out otherwise.
	if small, large := NewSum().AddBytes([]byte("value")), NewSum().AddBytes(long); small != NewSum().Add("value") || large != 11469588983658693529 {
		t.Errorf("sums are %d and %d now", small, large)
	}
	if NewSum().AddBytes(long) != NewSum().AddBytes(bytes.Clone(long)) {
		t.Error("the same bytes have two sums")
	}
}
