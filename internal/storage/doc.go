// Package storage keeps what a node must not forget, in two files of its data
// directory.
//
//   - log.db, a raft-boltdb store: for every group one header record (promise,
//     configuration, watermarks) and one record per slot (vote). All that a
//     node persists in a turn is one transaction.
//   - node.db, a bbolt file: the node's identity, the addresses of others, the
//     list of groups, and snapshots.
//
// raft-boltdb is used as an ordered map, not as a Raft log: slots may have
// gaps, be written out of order and be overwritten, as acceptors do. A record's
// index is group<<40 | slot; slot 0 is the header. The store's own first and
// last index mean nothing here, and its stable store is not used: it would be a
// second transaction, and promise and votes must be one.
//
// # Damage
//
// An acceptor that forgot a vote or a promise must not vote, so a directory
// that cannot be told to be whole is refused. What was saved is found again
// bit for bit, or [Open], [Store.Load] or [Store.LoadSnapshot] returns
// ErrDamaged:
//
//   - Every record carries a CRC32C, its slot and, in raft-boltdb's envelope,
//     its index. One that fails is unknown, never absent.
//   - bbolt's pages have no checksums, so records could vanish, move, or come
//     back in an older version. Each header therefore holds the sum of the
//     marks (checksum and place) of all the group's votes, and the root, the
//     record at index 0, the sum of the marks of all headers.
//   - A whole page of the past could still take the place of a root or of the
//     identity. Both files therefore name their last transaction, and that must
//     be the one in bbolt's newer meta page. Opening log.db is a transaction
//     that does not write the root, so node.db notes it beforehand.
//   - bbolt's two meta pages do have checksums. It falls back to the older one
//     if the newer is damaged, and would forget the last transaction; here both
//     must be sound.
//   - Before bbolt opens a file its tree is read page by page, since damage can
//     make bbolt end the process instead of returning an error.
//
// Damage that changes nothing that was saved goes unnoticed: in free pages, in
// gaps within pages, in what was trimmed. So do damage to addresses (hints;
// one that is unreadable is left out), a disk that drops the last write of a
// meta page and says it did not, and all damage that a forger would make. A
// whole directory put back from a copy looks sound: its incarnation has been
// seen before, which is for peers to notice.
//
// After a failed write nothing is certain any more: the error sticks, every
// later call returns it, and the process has to end.
package storage
