package mmap

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []int{0, 1, 4095, 4096, 300 << 10} {
		name := filepath.Join(dir, "f")
		want := bytes.Repeat([]byte("salver!"), n/7+1)[:n]
		if err := os.WriteFile(name, want, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(name)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if !bytes.Equal(f.Bytes(), want) {
			t.Errorf("%d bytes: read %d others", n, len(f.Bytes()))
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error("second Close:", err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("directory: %v", err)
	}
}

func TestAlloc(t *testing.T) {
	before := InUse()
	for _, n := range []int{0, 1, 63, 64, 4096, minMapped - 1, minMapped, HugePage - 1, HugePage, 3*HugePage + 5} {
		b := Alloc(n)
		data := b.Bytes()
		if len(data) != n || len(b.Float32s()) != n/4 {
			t.Fatalf("Alloc(%d): %d bytes, %d floats", n, len(data), len(b.Float32s()))
		}
		at := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
		if n > 0 && at%Align != 0 {
			t.Errorf("Alloc(%d) is at %#x, not aligned to %d", n, at, Align)
		}
		for i := range data {
			if data[i] != 0 {
				t.Fatalf("Alloc(%d): byte %d is %d", n, i, data[i])
			}
			data[i] = 1
		}
		b.Free()
		b.Free()
		if b.Bytes() != nil {
			t.Errorf("Alloc(%d): bytes remain after Free", n)
		}
	}
	if InUse() != before {
		t.Errorf("%d bytes in use after Free, %d before", InUse(), before)
	}
	var none *Buffer
	none.Free()
}

func TestPopulate(t *testing.T) {
	b := Alloc(3*HugePage + 5)
	defer b.Free()
	for _, data := range [][]byte{nil, make([]byte, 100), b.Bytes()[4097:], b.Bytes()} {
		for i := range data {
			data[i] = byte(i)
		}
		PopulateWrite(data)
		PopulateRead(data)
		for i, v := range data {
			if v != byte(i) {
				t.Fatalf("of %d bytes number %d became %d", len(data), i, v)
			}
		}
	}
}

// What is there stays when pages change their size.
func TestSmallPages(t *testing.T) {
	b := Alloc(2 * HugePage)
	defer b.Free()
	first := b.Bytes()[:HugePage]
	SmallPages(first)
	for i := range first[:HugePage/8] {
		first[i] = byte(i)
	}
	HugePages(first)
	for i, v := range first {
		if want := byte(i); v != want && i < HugePage/8 || v != 0 && i >= HugePage/8 {
			t.Fatalf("byte %d became %d", i, v)
		}
	}
}

// What is reserved does not count as in use, before and after it is freed.
func TestReserve(t *testing.T) {
	before := InUse()
	b := Reserve(2 * minMapped)
	if len(b.Bytes()) != 2*minMapped || InUse() != before {
		t.Errorf("%d bytes reserved, %d more in use", len(b.Bytes()), InUse()-before)
	}
	b.Free()
	if InUse() != before {
		t.Errorf("%d more in use after Free", InUse()-before)
	}
}
