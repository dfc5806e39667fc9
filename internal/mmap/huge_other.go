//go:build unix && !linux && !aix && !solaris && !illumos

package mmap

// adviseHuge: only Linux takes the advice.
func adviseHuge([]byte) {}

// dropPages: elsewhere the advice may do nothing, or more than is wanted.
func dropPages([]byte) {}

// SmallPages: only Linux takes the advice.
func SmallPages([]byte) {}

// HugePages: only Linux takes the advice.
func HugePages([]byte) {}

// PopulateRead: pages are mapped as they are read.
func PopulateRead([]byte) {}

// PopulateWrite: pages are mapped as they are written.
func PopulateWrite([]byte) {}
