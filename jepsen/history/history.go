// Package history is the record of one run: what clients asked and were told,
// what was broken when, and what became of it. It is NDJSON, a line per [Event],
// so that every checker, ours or another's, reads the same.
//
// All times are of one clock, CLOCK_MONOTONIC of the machine on which the run
// took place, in nanoseconds since the run began: every network namespace has the
// same. A call is stamped before it is sent and after it has returned, so that what
// happened between two stamps contains what happened.
package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Version is of the format; a reader refuses what is newer.
const Version = 1

// maxLine bounds a line, in bytes.
const maxLine = 1 << 20

// A Kind says what an Event is.
type Kind string

const (
	// Begin is the first line: the run's plan, in Run.
	Begin Kind = "begin"
	// Invoke is the start of a call, and OK, Fail or Info its end.
	Invoke Kind = "invoke"
	// OK: it took effect, and this is the answer.
	OK Kind = "ok"
	// Fail: it certainly had and will have no effect; or it is a refusal that the
	// replicated state gave (with a slot), which is an answer like any other.
	Fail Kind = "fail"
	// Info: nobody knows. The process that made the call makes no other: its
	// client goes on under a new Process.
	Info Kind = "info"
	// Fault is what the nemesis does, at the moment it has done it; Phase says
	// whether a fault begins or ends. Nothing of it is a claim of a server.
	Fault Kind = "fault"
	// Note is for people: a phase of the run, a node's process that ended.
	Note Kind = "note"
	// End is the last line of a run that came to its end.
	End Kind = "end"
)

// An Event is one line. Which fields count depends on Kind and F.
type Event struct {
	Seq  uint64        `json:"seq"` // rises by one from line to line, from 1
	At   time.Duration `json:"t"`   // ns since the run began
	Kind Kind          `json:"kind"`

	// Of calls.
	Process int    `json:"process,omitempty"` // who calls, from 1; one call at a time each
	Op      uint64 `json:"op,omitempty"`      // the call: the same at its start and its end
	F       string `json:"f,omitempty"`       // what is called; see the workloads
	Key     string `json:"key,omitempty"`     // the object: key, lock, election, session
	Request string `json:"request,omitempty"` // Idempotency-Key: the same for all attempts of one change
	Node    string `json:"node,omitempty"`    // which node was asked, or is broken
	Args    any    `json:"args,omitempty"`    // what was asked
	Result  any    `json:"result,omitempty"`  // what was answered
	Status  int    `json:"status,omitempty"`  // of HTTP; 0 without an answer
	Code    string `json:"code,omitempty"`    // of a problem
	Slot    uint64 `json:"slot,omitempty"`    // Prytany-Slot: where it took effect, or up to where was read
	// Revision is Prytany-Revision. A slot holds many commands, each of which has a
	// revision of its own: with it a checker knows the very state that was read.
	Revision uint64 `json:"revision,omitempty"`
	Fence    uint64 `json:"fence,omitempty"`
	Session  string `json:"session,omitempty"`
	Error    string `json:"error,omitempty"` // of the client, for people

	// Of faults.
	Fault string   `json:"fault,omitempty"` // its name; see [IsPause] and [IsWild]
	Phase string   `json:"phase,omitempty"` // "begin" or "end"; "" if it is over at once
	Nodes []string `json:"nodes,omitempty"` // whom it hits
	Text  string   `json:"text,omitempty"`  // for people

	// Of the first line.
	Run *Run `json:"run,omitempty"`
}

// A Run is what a run was meant to be.
type Run struct {
	Version  int           `json:"version"`
	Name     string        `json:"name"`
	Seed     uint64        `json:"seed"`
	Nodes    []string      `json:"nodes"`
	Workload string        `json:"workload"`
	Faults   []string      `json:"faults"`
	Time     time.Duration `json:"time"`     // ns
	TTL      time.Duration `json:"ttl"`      // of sessions, ns
	Drift    float64       `json:"drift"`    // by how much clocks are promised to differ in rate at most
	Binary   string        `json:"binary"`   // its version
	Left     []string      `json:"left"`     // faults that were left out, and why
	Started  time.Time     `json:"started"`  // by the wall clock, for people
	Negative bool          `json:"negative"` // a control that must lose updates
}

// A Writer writes a history. Its methods may be called by many at a time.
type Writer struct {
	mu    sync.Mutex
	w     *bufio.Writer
	begun time.Time
	seq   uint64
	err   error
}

// NewWriter begins a history with run.
func NewWriter(w io.Writer, run Run) *Writer {
	run.Version = Version
	h := &Writer{w: bufio.NewWriter(w), begun: time.Now()}
	h.Write(Event{Kind: Begin, Run: &run})
	return h
}

// Now is the run's time.
func (h *Writer) Now() time.Duration { return time.Since(h.begun) }

// Write adds e and fills in Seq, and At if it is zero. An error shows in Close.
func (h *Writer) Write(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.At == 0 {
		e.At = h.Now()
	}
	h.seq++
	e.Seq = h.seq
	line, err := json.Marshal(e)
	if err == nil {
		_, err = h.w.Write(append(line, '\n'))
	}
	if h.err == nil {
		h.err = err
	}
}

// Flush writes out what there is, without a last line, and returns the first error
// there was: for a run that did not come to its end.
func (h *Writer) Flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.w.Flush(); h.err == nil {
		h.err = err
	}
	return h.err
}

// Close writes the last line, and returns the first error there was.
func (h *Writer) Close() error {
	h.Write(Event{Kind: End})
	return h.Flush()
}

// Read reads a whole history, which begins with its run and has every line once.
func Read(r io.Reader) (run Run, events []Event, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		var e Event
		d := json.NewDecoder(bytes.NewReader(in.Bytes()))
		d.UseNumber()
		if err := d.Decode(&e); err != nil {
			return run, events, fmt.Errorf("history: line %d: %w", len(events)+1, err)
		}
		events = append(events, e)
		if e.Seq != uint64(len(events)) {
			return run, events, fmt.Errorf("history: line %d has number %d: lines are missing or out of order", len(events), e.Seq)
		}
	}
	if err := in.Err(); err != nil {
		return run, events, fmt.Errorf("history: line %d: %w", len(events)+1, err)
	}
	if len(events) == 0 || events[0].Kind != Begin || events[0].Run == nil {
		return run, events, fmt.Errorf("history: the first line is not that of a run")
	}
	if run = *events[0].Run; run.Version > Version {
		return run, events, fmt.Errorf("history: version %d; this program knows %d: use a newer one", run.Version, Version)
	}
	return run, events, nil
}
