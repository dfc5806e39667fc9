// Package mmap maps files for reading and allocates large buffers outside the
// Go heap: the collector neither scans nor counts them, and huge pages spare
// address translation (reading weights goes 10 to 40 % faster).
package mmap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Align is the least alignment in bytes of Alloc's buffers.
const Align = 64

// HugePage is the size in bytes of a huge page on amd64 and most arm64 systems.
const HugePage = 2 << 20

// A File is a file's bytes. They must not be written, nor read after Close.
// A mapped file that another process truncates faults on reading; replace
// files by renaming a new one over them.
type File struct {
	data   []byte
	mapped bool
	closed sync.Once
	err    error
}

// Open maps the file called name, or reads it where the system has no mapping.
func Open(name string) (*File, error) {
	st, err := os.Stat(name) // first, as opening a pipe would wait for its writer
	if err != nil {
		return nil, err
	}
	if err := regular(name, st); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return From(f)
}

func regular(name string, st os.FileInfo) error {
	switch {
	case st.IsDir():
		return fmt.Errorf("%s is a folder, not a regular file", name)
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file (%v)", name, st.Mode().Type())
	}
	return nil
}

// From maps f from its beginning. f can be closed afterwards.
func From(f *os.File) (*File, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := regular(f.Name(), st); err != nil {
		return nil, err
	}
	size := st.Size()
	if int64(int(size)) != size {
		return nil, fmt.Errorf("mmap: %s has %d bytes, more than this system can address", f.Name(), size)
	}
	if size == 0 {
		return &File{data: []byte{}}, nil
	}
	if data, ok := mapFile(f, int(size)); ok {
		return &File{data: data, mapped: true}, nil
	}
	data := Alloc(int(size))
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), data.Bytes()); err != nil {
		data.Free()
		return nil, fmt.Errorf("mmap: reading %s: %w", f.Name(), err)
	}
	return &File{data: data.Bytes()}, nil
}

// Bytes is the whole file.
func (f *File) Bytes() []byte { return f.data }

// Mapped reports whether the bytes are the system's page cache, not a copy.
func (f *File) Mapped() bool { return f.mapped }

// Release lets the system take back the memory of the file's pages, which are
// read again when they are needed. It is worth it once most of the file has been
// read and copied elsewhere.
func (f *File) Release() {
	if f.mapped && len(f.data) > 0 {
		dropPages(f.data)
	}
}

// Close unmaps the file. Closing again does nothing.
func (f *File) Close() error {
	f.closed.Do(func() {
		if f.mapped {
			f.err = unmap(f.data)
		}
		f.data = nil
	})
	return f.err
}

// Files are those of one model.
type Files []*File

// Release lets the system take back the memory of the files' pages, which are
// read again when they are needed.
func (f Files) Release() {
	for _, m := range f {
		m.Release()
	}
}

// Close unmaps all files.
func (f Files) Close() error {
	var errs []error
	for _, m := range f {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// A Buffer is zeroed memory, aligned to Align, that is the caller's until Free.
type Buffer struct {
	data   []byte
	region []byte // the mapping that holds data, nil if it is Go memory
	counts int64  // bytes in use
	freed  atomic.Bool
}

// minMapped is the size from which a mapping of its own is worth its pages and
// system calls.
const minMapped = 256 << 10

// Alloc makes a buffer of n bytes. From a quarter of a megabyte on it is outside
// the Go heap, and from HugePage on it begins at a huge page and asks for huge pages. Memory is
// taken from the system when it is first touched.
func Alloc(n int) *Buffer {
	b := Reserve(n)
	if b.region != nil {
		b.counts = int64(len(b.data))
		inUse.Add(b.counts)
	}
	return b
}

// Reserve is Alloc of memory that nobody is going to touch: it does not count as in use.
func Reserve(n int) *Buffer {
	if n < 0 {
		panic(fmt.Sprintf("mmap: a buffer of %d bytes", n))
	}
	if n >= minMapped {
		if data, region, ok := mapAnonymous(n); ok {
			return &Buffer{data: data, region: region}
		}
	}
	return &Buffer{data: heap(n)}
}

// heap makes an aligned buffer in Go memory.
func heap(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	b := make([]byte, n+Align-1)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (Align - 1))
	return b[off : off+n : off+n]
}

// Bytes is the buffer's memory.
func (b *Buffer) Bytes() []byte { return b.data }

// Float32s views the buffer as floats.
func (b *Buffer) Float32s() []float32 {
	if len(b.data) < 4 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b.data))), len(b.data)/4)
}

// Free gives the memory back. Nothing may use it afterwards. Freeing again, or
// nil, does nothing.
func (b *Buffer) Free() {
	if b == nil || b.freed.Swap(true) {
		return
	}
	if b.region != nil {
		inUse.Add(-b.counts)
		// The region is one that was mapped, so this can't fail.
		_ = unmap(b.region)
	}
	b.data, b.region = nil, nil
}

var inUse atomic.Int64

// InUse is the number of bytes in buffers outside the Go heap.
func InUse() int64 { return inUse.Load() }
