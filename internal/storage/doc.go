// Package storage keeps what a node must not forget, in two files of its data
// directory.
//
//   - log.db, a raft-boltdb store: for every group one header record (promise,
//     configuration, watermarks) and one record per slot (vote). All that a
//     node persists in a turn is one transaction.
//   - node.db, a bbolt file: the node's identity, the addresses of others, and
//     snapshots.
//
// raft-boltdb is used as an ordered map, not as a Raft log: slots may have
// gaps, be written out of order and be overwritten, as acceptors do. A record's
// index is group<<40 | slot; slot 0 is the header. The store's own first and
// last index mean nothing here, and its stable store is not used: it would be a
// second transaction, and promise and votes must be one.
//
// # Damage
//
// Every record carries a CRC32C. A record that fails it is unknown, not absent:
// the directory is refused, because an acceptor that forgot a vote must not
// vote. bbolt's own pages carry no checksums but for its two meta pages, so
// damage to them shows as a record that is missing, out of place or of another
// length; the header's list of what must be there finds such gaps in what was
// chosen, and [Open] walks small files page by page.
//
// After a failed write nothing is certain any more: the error sticks, every
// later call returns it, and the process has to end.
package storage
