// Package api is what the HTTP API, version 1, says on the wire: the JSON of
// requests and replies, the problems, their codes and the header names. The
// server and the Go client share it, so that neither can drift.
//
// It holds data and pure functions only: no I/O, no clock, nothing of ours
// imported.
//
// # Conventions
//
//   - A duration in a request is a string such as "15s" ([time.ParseDuration]).
//   - A duration in a reply is an integer of milliseconds, in a field whose
//     name ends in _ms. A duration the node does not know is absent.
//   - Revisions, slots and fences are integers below 2^53.
//   - Lists are never null.
package api

// MainGroup is the group that /v1/… addresses.
const MainGroup = "main"

// The headers of the API beside the standard ones.
const (
	// HeaderRevision is the revision of the change made, or the one read.
	HeaderRevision = "Prytany-Revision"
	// HeaderSlot is the log slot of the change made, or the last one applied
	// when it was read.
	HeaderSlot = "Prytany-Slot"
	// HeaderLeader is the URL of the node that leads the group.
	HeaderLeader = "Prytany-Leader"
	// HeaderForward set to "?0" asks for 421 instead of being forwarded.
	HeaderForward = "Prytany-Forward"
	// HeaderRelayed says that a node passes a request on because it has no part in the
	// group. Its value is the id of the request there.
	HeaderRelayed = "Prytany-Relayed"
	// HeaderFence is the fence of a grant.
	HeaderFence = "Prytany-Fence"
	// HeaderApplied is, of a stale read, the revision the node had applied.
	HeaderApplied = "Prytany-Applied"
	// HeaderAgeMS bounds how old a stale read may be, in milliseconds.
	HeaderAgeMS = "Prytany-Age-Ms"
	// HeaderSession makes a config entry go with a session. Of an entry that is read, it
	// is the session that it goes with.
	HeaderSession = "Prytany-Session"
	// HeaderCreated and HeaderVersion are of an entry that is read: the revision at which it
	// was created, and the number of changes since, from 1.
	HeaderCreated = "Prytany-Created-Revision"
	HeaderVersion = "Prytany-Version"
	// HeaderGuard admits a change only under a grant; see [FormatGuard].
	HeaderGuard = "Prytany-Guard"
	// HeaderRequestID names one request in replies and in the node's log.
	HeaderRequestID = "Prytany-Request-Id"
	// HeaderIdempotencyKey makes retries of a change safe: 1 to 255 printable
	// ASCII bytes, bare or as a quoted string.
	HeaderIdempotencyKey = "Idempotency-Key"
	// HeaderLastEventID is the revision after which a stream goes on.
	HeaderLastEventID = "Last-Event-ID"
)

// The media types of bodies.
const (
	TypeJSON    = "application/json"
	TypeProblem = "application/problem+json"
	TypeBytes   = "application/octet-stream"
	TypeSSE     = "text/event-stream"
	TypeNDJSON  = "application/x-ndjson"
)

// MaxIdempotencyKey is the length of the longest Idempotency-Key, in bytes.
const MaxIdempotencyKey = 255
