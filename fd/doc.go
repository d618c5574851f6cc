// Package fd says who seems to exist, who seems alive and how far away they
// are. It gossips (SWIM, by memberlist), one detector for a whole node.
//
// What it says is a hint. It finds addresses, tells a crash from a broken
// link, helps to choose members of a new group; it never changes a voter set,
// never frees a lease and never deposes a leader. It does not even see a
// single broken link, because SWIM asks others before it gives somebody up:
// direct heartbeats between nodes are the business of package leader.
//
// The view is a state; [Detector.Changes] tells what made it, in order and with
// the reason as far as anybody knows it.
//
// # Goroutines
//
// Those of memberlist, which call the delegates below. A delegate runs under
// memberlist's locks or in its packet path: it takes the lock of a table,
// which nobody holds while he waits or calls memberlist, and returns.
// [Detector.Run] adds one that joins, and one that spreads changes of the
// node's own description.
package fd
