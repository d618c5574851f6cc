package resource

import (
	"context"
	"path/filepath"
	"reflect"
	"testing"
)

func TestFences(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := Serve(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	c := Dial(path)
	for i, tt := range []struct {
		ask  Ask
		want Answer
	}{
		{Ask{Lock: "l", Fenced: true, Fence: 5}, Answer{Place: 1, Highest: 5}},
		{Ask{Lock: "l", Fenced: true, Fence: 5, Write: true, Value: 70}, Answer{Place: 2, Counter: 1, Highest: 5}},
		{Ask{Lock: "l", Fenced: true, Fence: 7}, Answer{Place: 3, Counter: 1, Set: []uint64{70}, Highest: 7}},
		{Ask{Lock: "l", Fenced: true, Fence: 5, Write: true, Base: 1, Value: 71}, Answer{Refused: true, Place: 4, Counter: 1, Highest: 7}},
		{Ask{Lock: "l", Fenced: true, Fence: 7, Write: true, Base: 1, Value: 72}, Answer{Place: 5, Counter: 2, Highest: 7}},
		// Who does not look at fences loses what came between.
		{Ask{Lock: "l", Fence: 5, Write: true, Base: 1, Value: 73}, Answer{Place: 6, Counter: 2, Highest: 7}},
		{Ask{Lock: "l"}, Answer{Place: 7, Counter: 2, Set: []uint64{70, 72, 73}, Highest: 7}},
		{Ask{Lock: "other"}, Answer{Place: 1}},
	} {
		got, err := c.Do(context.Background(), tt.ask)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%d: %+v, %v; want %+v", i, got, err, tt.want)
		}
	}
}
