//go:build !linux

package wal

import "os"

// Sync waits until what was written to f is on the disk.
func Sync(f *os.File) error { return f.Sync() }

// forget and foresee are hints that other systems are not given.
func forget(*os.File) error { return nil }

func foresee(*os.File) error { return nil }
