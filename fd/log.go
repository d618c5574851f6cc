package fd

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// foreignText is part of a refusal that the Detector itself tells of.
const foreignText = "belongs to cluster"

// quiet is how long a repeated line of memberlist stays at debug level.
const quiet = 10 * time.Second

// A logWriter turns memberlist's lines into slog records. Memberlist is
// talkative and calls ordinary packet loss an error, so its levels are
// lowered: what operators must know, the Detector says itself.
type logWriter struct {
	log *slog.Logger

	mu   sync.Mutex
	last string
	at   time.Time
}

// Write takes one line, "[LEVEL] memberlist: text".
func (w *logWriter) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	text := bytes.TrimSpace(line)
	if prefix, rest, ok := bytes.Cut(text, []byte("] ")); ok && bytes.HasPrefix(prefix, []byte("[")) {
		text = bytes.TrimPrefix(rest, []byte("memberlist: "))
		if p := string(prefix[1:]); p == "ERR" || p == "WARN" {
			level = slog.LevelInfo
		}
	}
	msg := string(text)
	if level == slog.LevelInfo && (strings.Contains(msg, foreignText) || w.repeats(msg)) {
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, "gossip: "+msg)
	return len(line), nil
}

// repeats reports whether msg is the last one again, soon after.
func (w *logWriter) repeats(msg string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if msg == w.last && now.Sub(w.at) < quiet {
		return true
	}
	w.last, w.at = msg, now
	return false
}
