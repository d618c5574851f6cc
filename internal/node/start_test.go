package node

import (
	"errors"
	"testing"
)

// TestWhereToBelong says what an empty directory must be told.
func TestWhereToBelong(t *testing.T) {
	tests := []struct {
		name      string
		bootstrap bool
		join      []string
		want      error
	}{
		{"neither", false, nil, errHomeless},
		{"both", true, []string{"127.0.0.1:1"}, errBoth},
		{"begin", true, nil, nil},
		{"join", false, []string{"127.0.0.1:1"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{
				Name: "a", DataDir: t.TempDir(), HTTP: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0",
				Bootstrap: tt.bootstrap, Join: tt.join,
			}
			n, err := New(cfg)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("New = %v; want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			n.closeAll()
			if !tt.bootstrap {
				return
			}
			// A directory that has a cluster may be told anything.
			cfg.Join = []string{"127.0.0.1:1"}
			if n, err = New(cfg); err != nil {
				t.Fatalf("New on the same directory: %v", err)
			}
			n.closeAll()
		})
	}
}
