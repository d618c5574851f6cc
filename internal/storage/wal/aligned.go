package wal

import "unsafe"

// aligned returns n bytes that begin where a page of memory does.
//
// A kernel copies what is written page by page, and a page of the file from two pages of
// memory, if they do not coincide, in two steps, when the second is not there yet. What
// goes to the disk between them has a sector of which only a part was written, and that
// is what damage looks like.
func aligned(n int) []byte {
	b := make([]byte, n+pageSize)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % pageSize)
	return b[skip : skip+n : skip+n]
}

// blankPage is a page of zeros to write over what was cut off.
var blankPage = aligned(pageSize)
