// Package wal is a durable map from numbers to bytes, kept as an append-only log:
// every write is one frame, written in one place and synced once, however many records
// it has. It is made for one writer that cannot go on before its write is durable.
//
// # Files
//
// The log is a directory of segments, files of 16 MiB with consecutive numbers. A
// segment is filled with zeros and synced before it gets its name, so that a frame
// changes neither the file's size nor where it lies: a write costs one fdatasync and
// no entry in the file system's journal. The next segment is made beside the writer,
// in small steps, and no faster than it will be needed.
//
//	segment   page that says what it is | frame | frame | … | seal | zeros
//	frame     whole pages of 4 KiB, never written again
//	sector    tag 4 | bytes 504 | tag 4
//	head      checksum of the head 4 | of all pages 4 | kind 1 | 0 3 | length 4 | number 8 | tail 8
//
// Frames have consecutive numbers over all segments. A frame's payload is a list of
// entries, each a record to put or a range of keys to delete. Its tail is the number of
// the oldest segment that is still needed. A seal is a frame without a number of its
// own; the next segment is there, durably, before the seal is.
//
// Checksums are CRC32C, and begin with the log's id, the segment's number and the page,
// so that a frame is none in any other place. The id is random.
//
// # A write that was cut off, and damage
//
// [Log.Put] has one write under way at most, so that only the last frame can be one
// that was not acknowledged. A power cut leaves any of its sectors written and the
// others as they were, which is zero. [Open] tells that from damage:
//
//   - Every sector of a frame has a tag at both of its ends, made of log, place, number
//     of the frame and of the sector, without a byte that is zero. What a frame does not
//     fill is filled with the tag. A sector that was written is never all zero.
//   - A frame with a sector that is all zero was cut off, if it is the last: all its
//     other sectors have its tags, and after it there is nothing. It is dropped, and its
//     pages are emptied and synced before anything is written there.
//   - Anything else is ErrDamaged: a frame that has all its sectors and the wrong
//     checksum, the last one too; a hole that something else follows; numbers with a
//     gap; a segment that is missing, cut short, or of another log.
//
// What the page cache holds of the newest segments may never have reached the disk: a
// process may have been killed between its write and its sync, or its sync may have
// failed. Open syncs them and has them read from the disk again (on Linux) before it
// trusts them.
//
// What cannot be told from a write that was cut off: a disk that loses whole sectors of
// the last frame, or all of the last frames, and says that it has written them. The
// caller should remember elsewhere how far the log had come, and compare it with
// [Log.Last].
//
// # Giving back
//
// While the closed segments are more than two, and more than three times what is live,
// each write looks through four times as many bytes of the oldest segment as it
// writes, and takes along what of it is live. So a write is never more than five times
// as long as without, and the log keeps at most about five times what is live, and
// three segments. When all of a segment was looked through, the frame says that it is
// not needed, and it is removed beside the writer. Segments are given back in order, so
// that a deletion never goes before what it deletes.
//
// Segments are not used again: their old sectors could not be told from new ones whose
// tags are damaged.
//
// # Memory
//
// The map holds the place of each record, not its value: about 60 bytes for a record.
// Open reads every segment once, and needs the room of the largest one meanwhile.
package wal
