// Package crashfs is a file system in memory that knows what a loss of power may leave
// of it. Real programs work on it, by FUSE; a [Disk] keeps what they see, what is on
// the disk for certain, and what lies between: changes that no sync has covered yet.
//
// # What may be left
//
// A change is one page of one file, the size of a file, or one operation on names. A
// state that a crash may leave is what is certain and any part of the other changes in
// which each has those that it builds on:
//
//   - A page builds on the page before it in the same place: the cache writes whole
//     pages, so that the newer holds the older. Pages do not build on one another, and
//     none on the file's size; a size builds on the size before.
//   - A page may be torn at any sector of 512 bytes: some of them are new, the others old.
//   - To cut a file short builds on all that came before in that file, and all that comes
//     after builds on it.
//   - An operation on names (create, mkdir, unlink, rmdir, rename) builds on those before
//     it with one of its names. A rename is whole or not at all.
//   - fsync and fdatasync of a file make its pages and its size certain, and no name; fsync
//     of a directory makes its names certain, and no contents.
//
// That is less than ext4 promises, which commits operations on names in their order, and
// with a new file's first fsync its name, too. What holds here holds there, and on file
// systems that promise no more than POSIX.
package crashfs
