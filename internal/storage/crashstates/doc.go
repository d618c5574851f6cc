// Package crashstates is a test of package storage: it tries the states that a loss of
// power may leave of a data directory, one by one.
//
// A process works on a directory by a script that follows from a seed: it saves votes
// in one group and in many, replaces snapshots, trims, drops groups and makes them anew,
// closes and opens the store. The directory lies on a file system of package crashfs,
// which remembers every write, sync and change of a name. Then, before each sync and at
// the end, every state is made that a crash may leave there, as crashfs says which those
// are: all parts of what is not synced, if it is ten pages or less, and torn pages; parts
// that are drawn, if it is more. Each state is opened, and has to hold
//
//   - all that was acknowledged, and of what was under way all or nothing: promises,
//     votes, snapshots, tombstones, who the node is, and what it has seen of others;
//   - nothing else;
//   - a position and a past that do not fall behind what others may have seen.
//
// It has to open a second time and hold the same, take another vote, and keep it. Some of
// the openings are recorded, and crash themselves. No crash may leave a directory that is
// refused: that is for damage.
//
// What storage relies on is therefore what crashfs promises, and that is less than ext4
// does: a sync of a file makes its bytes and its size durable, a sync of a directory its
// names, a rename is whole, a sector is whole.
//
//	make crash-states SCRIPTS=40
package crashstates
