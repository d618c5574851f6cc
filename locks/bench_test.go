package locks

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkApplyAcquireRelease(b *testing.B) {
	m := NewMachine()
	m.Apply(1, Encode(&OpenCommand{ID: "s", TTL: time.Hour}), 0)
	for i := 0; b.Loop(); i++ {
		r := Request{ID: fmt.Sprint(i), Own: true}
		m.Apply(1, Encode(&AcquireCommand{Request: r, Lock: "l", Session: "s"}), 0)
		m.Apply(1, Encode(&ReleaseCommand{Lock: "l", Fence: m.revision}), 0)
	}
}

func BenchmarkApplyPutAmongMany(b *testing.B) {
	const many = 200_000
	m := NewMachine()
	for i := range many {
		m.Apply(1, Encode(&PutCommand{Key: fmt.Sprintf("config/%d", i), Value: []byte("value")}), 0)
	}
	for i := 0; b.Loop(); i++ {
		m.Apply(1, Encode(&PutCommand{Key: fmt.Sprintf("config/%d", i*7919%many), Value: []byte("other")}), 0)
	}
}

func BenchmarkSnapshotOfMany(b *testing.B) {
	const many = 200_000
	m := NewMachine()
	for i := range many {
		m.Apply(1, Encode(&PutCommand{Key: fmt.Sprintf("config/%d", i), Value: []byte("value")}), 0)
	}
	for b.Loop() {
		data, err := m.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		if err := NewMachine().Restore(data); err != nil {
			b.Fatal(err)
		}
	}
}
