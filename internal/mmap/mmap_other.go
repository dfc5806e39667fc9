//go:build !unix || aix || solaris || illumos

package mmap

import "os"

// mapFile: files are read into memory here.
func mapFile(*os.File, int) ([]byte, bool) { return nil, false }

// mapAnonymous: buffers are Go memory here.
func mapAnonymous(int) (data, region []byte, ok bool) { return nil, nil, false }

func unmap([]byte) error { return nil }

// dropPages: nothing is mapped here.
func dropPages([]byte) {}

// SmallPages: nothing is mapped here.
func SmallPages([]byte) {}

// HugePages: nothing is mapped here.
func HugePages([]byte) {}

// PopulateRead: pages are mapped as they are read.
func PopulateRead([]byte) {}

// PopulateWrite: pages are mapped as they are written.
func PopulateWrite([]byte) {}
