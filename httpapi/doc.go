// Package httpapi answers the HTTP API, version 1, from a [locks.Locks]:
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
//     the time a client may take to send or to read.
//
// # Forms
//
// A body that is JSON is read as such whatever its Content-Type says, so that
// `curl -d` works as it is. The value of a config entry is kept with its
// Content-Type, except that curl's default for -d,
// application/x-www-form-urlencoded, counts as none: application/octet-stream.
// If-Match and If-None-Match take an ETag with quotes or without. With
// Idempotency-Key, a retry may differ from the first try in ?wait= only.
//
// # Goroutines
//
// None beside those of net/http. A [Server] may be used by many at once.
package httpapi
