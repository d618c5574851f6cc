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
		data, err := encoded(m.Snapshot())
		if err != nil {
			b.Fatal(err)
		}
		if err := install(NewMachine(), data); err != nil {
			b.Fatal(err)
		}
	}
}

const crowd = 10_000

// crowded is a machine where one session holds the lock l and a crowd waits.
func crowded(b *testing.B, shared bool) *Machine {
	m := NewMachine()
	m.bounds.waiters = crowd
	m.Apply(1, Encode(&OpenCommand{ID: "s", TTL: time.Hour}), 0)
	m.Apply(1, Encode(&AcquireCommand{Lock: "l", Session: "s"}), 0)
	for i := range crowd {
		id := fmt.Sprint(i)
		m.Apply(1, Encode(&OpenCommand{ID: id, TTL: time.Hour}), 0)
		m.Apply(1, Encode(&AcquireCommand{Request: Request{ID: id, Own: true}, Lock: "l", Session: id, Wait: true, Shared: shared}), 0)
	}
	if n := m.Counts().Waiters; n != crowd {
		b.Fatalf("%d wait", n)
	}
	return m
}

func BenchmarkQueueUp(b *testing.B) {
	for b.Loop() {
		crowded(b, false)
	}
}

func BenchmarkReadersGrantedTogether(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		m := crowded(b, true)
		b.StartTimer()
		m.Apply(1, Encode(&EndCommand{ID: "s"}), 0)
		if n := m.Counts().Locks; n != crowd {
			b.Fatalf("%d hold the lock", n)
		}
	}
}

func BenchmarkReadersBroken(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		m := crowded(b, true)
		m.Apply(1, Encode(&EndCommand{ID: "s"}), 0)
		b.StartTimer()
		m.Apply(1, Encode(&ReleaseCommand{Lock: "l", Force: true}), 0)
	}
}

func BenchmarkWaitersServedInTurn(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		m := crowded(b, false)
		b.StartTimer()
		for range crowd {
			l, _ := m.locks.Get("l")
			m.Apply(1, Encode(&ReleaseCommand{Lock: "l", Fence: l.newest()}), 0)
		}
		if n := m.Counts().Waiters; n != 0 {
			b.Fatalf("%d wait", n)
		}
	}
}

// BenchmarkTwiceInTheQueue is the worst that a crowd of sessions can do.
func BenchmarkTwiceInTheQueue(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		m := crowded(b, true)
		m.bounds.waiters *= 2
		for i := range crowd {
			id := fmt.Sprint(i)
			m.Apply(1, Encode(&AcquireCommand{Request: Request{ID: "x" + id, Own: true}, Lock: "l", Session: id, Wait: true}), 0)
		}
		b.StartTimer()
		m.Apply(1, Encode(&EndCommand{ID: "s"}), 0)
		if n := m.Counts(); n.Waiters != 0 || n.Locks != crowd {
			b.Fatalf("%+v", n)
		}
	}
}

func BenchmarkEndOfSessionWithManyLocks(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		m := NewMachine()
		m.Apply(1, Encode(&OpenCommand{ID: "s", TTL: time.Hour}), 0)
		for i := range crowd {
			m.Apply(1, Encode(&AcquireCommand{Lock: fmt.Sprint(i), Session: "s"}), 0)
		}
		b.StartTimer()
		m.Apply(1, Encode(&EndCommand{ID: "s"}), 0)
		if n := m.Counts().Locks; n != 0 {
			b.Fatalf("%d locks are held", n)
		}
	}
}

// BenchmarkWatchedHistory is what an event costs once the history is full.
func BenchmarkWatchedHistory(b *testing.B) {
	m := NewMachine()
	for i := 0; b.Loop(); i++ {
		m.Apply(1, Encode(&AcquireCommand{Lock: "l", Session: fmt.Sprint(i), Open: true, TTL: time.Hour}), 0)
		m.Apply(1, Encode(&ReleaseCommand{Lock: "l", Fence: m.revision}), 0)
	}
}
