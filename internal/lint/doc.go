// Package lint holds the house rules that a compiler cannot check, as tests:
// which package may import which, which libraries enter by which package, what
// the deterministic packages must not even see, and how large things may grow.
//
// The tests parse the files themselves. A test that asked the go command would
// be cached as passing after another package has broken a rule.
package lint
