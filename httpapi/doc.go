// Package httpapi answers the HTTP API, version 1, from a [service.Locks]:
// decode, check, call, encode, and nothing else.
//
// # What is always true
//
//   - A request that is refused has made no call of the service.
//   - No input leads to a 5xx: what a client gets wrong is a 4xx that names the
//     field, the limit and the value.
//   - Every error is an application/problem+json ([api.Problem]) with the id of
//     the request. Bad input is not logged; a panic and an internal error are
//     logged once, under that id.
//   - Names are bytes: "//", ".." and "%2F" in a path are decoded once and never
//     cleaned.
//   - Bodies, headers and numbers of requests in flight are bounded, and so is
//     the time a client may take to send or to read. Long polls, streams and
//     held keepalives do not take each other's room.
//   - A condition in a header is kept or refused, never ignored.
//   - A stream tells each event once, in order. It ends with an event that says
//     why, or is cut off; nothing is left out of it, and whoever read it goes on
//     after the last id.
//
// # Forms
//
// A body that is JSON is read as such whatever its Content-Type says, so that
// `curl -d` works as it is. The value of a config entry is kept with its
// Content-Type, except that curl's default for -d,
// application/x-www-form-urlencoded, counts as none: application/octet-stream.
// If-Match and If-None-Match take an ETag with quotes or without. With
// Idempotency-Key, a retry may differ from the first try in ?wait= only. A verb
// at the end of a path, as in "a:yield", is one with POST alone.
//
// Streams are server-sent events or NDJSON. All that one revision did is one
// Write, and its bytes are made once for all streams that say the same.
//
// # Goroutines
//
// None beside those of net/http. A [Server] may be used by many at once.
package httpapi
