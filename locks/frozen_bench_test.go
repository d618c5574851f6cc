package locks

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkFreeze asks how long the loop stands still for a snapshot of 256 MiB:
// for config entries of 1 KiB, and for locks with notes and sessions with names of
// 1 KiB. encode-ms is how long the encoder takes beside it, its pauses included.
func BenchmarkFreeze(b *testing.B) {
	text := make([]byte, 1000)
	for _, state := range []string{"config", "locks"} {
		b.Run(state, func(b *testing.B) {
			m := NewMachine()
			for i := range 256 << 10 {
				s := fmt.Sprint("s", i/100)
				switch {
				case state == "config":
					m.Apply(1, Encode(&PutCommand{Key: fmt.Sprint("k", i), Value: text}), 0)
				case i%100 == 0:
					m.Apply(1, Encode(&OpenCommand{ID: s, TTL: time.Hour, Name: string(text)}), 0)
				default:
					m.Apply(1, Encode(&AcquireCommand{Lock: fmt.Sprint("l", i), Session: s, Note: string(text)}), 0)
				}
			}
			for b.Loop() {
				m.Snapshot()
			}
			begin := time.Now()
			data, err := encoded(m.Snapshot())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(time.Since(begin).Milliseconds()), "encode-ms")
			b.ReportMetric(float64(len(data)>>20), "MiB")
		})
	}
}
