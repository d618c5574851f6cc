// Package storage keeps what a node must not forget, in two places of its data
// directory, a log and node.db, and large snapshots in files beside them. One more
// file, probe, holds nothing: [Store.Probe] writes it to learn how the disk fares while
// there is nothing to save.
//
//   - The log has for every group one header record (promise, configuration,
//     watermarks) and one record per slot (vote). All that a node persists in a turn
//     is one write of it. It is either log.db, a raft-boltdb store, or log.wal, a directory
//     with an append-only log; see package wal. That is chosen when the directory is
//     made, by [Options.LogStore], and stays.
//   - node.db, a bbolt file: the node's identity and past, the addresses of
//     others and what was seen of them, the list of groups, and the heads of their
//     snapshots: slot, configuration, size, checksum, and the bytes, if they are
//     few, or the name of their file.
//   - snapshots/GROUP-SLOT-N: the bytes of one snapshot. The file is durable
//     before a head names it; one that no head names was left by a crash and is
//     removed by [Open]. It is written slowly, so that the log hardly waits for
//     it; see takeRate.
//
// Either log is used as an ordered map: slots may have gaps, be written out of order
// and be overwritten, as acceptors do. A record's index is group<<40 | slot; slot 0 is
// the header. raft-boltdb's own first and last index mean nothing here, and its stable
// store is not used: it would be a second transaction, and promise and votes must be
// one.
//
// A write of log.db is a transaction: a few pages for each record, and two waits for
// the disk. A write of the append-only log is one frame and one wait, however many
// groups are in it. A deletion costs log.db a transaction of its own; the append-only
// log has it in its next frame, and a crash before that brings back votes that the
// header says are trimmed, for the next Trim.
//
// # Damage
//
// An acceptor that forgot a vote or a promise must not vote, so a directory
// that cannot be told to be whole is refused. What was saved is found again
// bit for bit, or [Open], [Store.Load] or [Store.LoadSnapshot] returns
// ErrDamaged:
//
//   - Every record carries a CRC32C, its slot and, in the log's envelope, its index.
//     One that fails is unknown, never absent.
//   - Records could vanish, move, or come back in an older version: bbolt's pages have
//     no checksums. Each header therefore holds the sum of the marks (checksum and
//     place) of all the group's votes, and the root, the record at index 0, the sum of
//     the marks of all headers.
//   - The root is in every write and names it, which must be the last one of the log.
//   - A directory with both logs, or with another than node.db knows, is damaged.
//
// Of bbolt's files:
//
//   - A whole page of the past could still take the place of a root or of the
//     identity. Both files therefore name their last transaction, and that must
//     be the one in bbolt's newer meta page. Opening log.db is a transaction
//     that does not write the root, so node.db notes it beforehand.
//   - bbolt's two meta pages do have checksums. It falls back to the older one
//     if the newer is damaged, and would forget the last transaction; here both
//     must be sound.
//   - The head of a snapshot has the checksum of its bytes. A file that is missing,
//     or has another size, is as damaged as one with other bytes.
//   - Before bbolt opens a file its tree is read page by page, since damage can
//     make bbolt end the process instead of returning an error.
//
// Of the append-only log:
//
//   - Its frames have checksums and numbers without gaps. Only the last one may be cut
//     off, and only so that whole sectors of it were never written.
//   - A disk that loses the last frames, and leaves zeros, leaves no trace in the log.
//     So node.db notes which log it is and how far it had come, at each start and at
//     each orderly end, and so does the probe, which is written while there is nothing
//     to save. A log that ends before that is damaged.
//
// Damage that changes nothing that was saved goes unnoticed: in free pages, in
// gaps within pages, in what was trimmed. So do damage to addresses (hints;
// one that is unreadable is left out), a disk that drops the last write of a
// meta page, or whole sectors of the append-only log's last frames that were not noted
// yet, and says it did not, and all damage that a forger would make. A
// whole directory put back from a copy looks sound: it contradicts what peers
// have seen of its node, for which it remembers its own past; see package
// roster.
//
// # Retirement
//
// A directory can be marked, for good, as quarantined or as that of a removed
// node. [Open] still opens it; [Store.Fit] says why no node may run on it, and
// what to do.
//
// After a failed write nothing is certain any more: the error sticks, every
// later call returns it, and the process has to end.
package storage
