package npy

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/salver-ml/salver/internal/tensor"
)

// MaxArchiveBytes is the default of Archive.MaxBytes.
const MaxArchiveBytes = 8 << 30

// Archive is an open .npz file: a zip of .npy members, stored or deflated.
// Arrays are read when they are asked for.
type Archive struct {
	// MaxBytes bounds the unpacked size of one array, against members that
	// unpack to far more than the file holds.
	MaxBytes int64

	names  []string
	member map[string]*zip.File
	file   *os.File
}

// OpenArchive opens a .npz file; Close it.
func OpenArchive(path string) (*Archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		var a *Archive
		if a, err = NewArchive(f, st.Size()); err == nil {
			a.file = f
			return a, nil
		}
	}
	f.Close()
	return nil, fmt.Errorf("%s: %w", path, err)
}

// NewArchive reads the directory of a .npz of size bytes.
func NewArchive(r io.ReaderAt, size int64) (*Archive, error) {
	z, err := zip.NewReader(r, size)
	// Names like ../x are harmless here: no file is ever made from a name.
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, fmt.Errorf("npz: %w", err)
	}
	a := &Archive{MaxBytes: MaxArchiveBytes, member: map[string]*zip.File{}}
	for _, f := range z.File {
		name, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok {
			return nil, fmt.Errorf("npz: member %q: expected a name that ends in .npy", f.Name)
		}
		if a.member[name] != nil {
			return nil, fmt.Errorf("npz: array %q is there twice", name)
		}
		a.member[name] = f
		a.names = append(a.names, name)
	}
	return a, nil
}

// Names are the arrays' names in the file's order.
func (a *Archive) Names() []string { return a.names }

// Has reports whether there is an array of that name.
func (a *Archive) Has(name string) bool { return a.member[name] != nil }

// Read reads one array.
func (a *Archive) Read(name string) (*tensor.Tensor, error) {
	if f := a.member[name]; f != nil && f.UncompressedSize64 > uint64(max(a.MaxBytes, 0)) {
		return nil, fmt.Errorf("npz: array %q unpacks to %d bytes: expected at most %d", name, f.UncompressedSize64, a.MaxBytes)
	}
	r, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	t, err := read(r, -1)
	if err == nil {
		// Reading to the end verifies the checksum.
		var rest int64
		if rest, err = io.Copy(io.Discard, r); err == nil && rest > 0 {
			err = fmt.Errorf("npy: %d bytes follow the data of %s", rest, t)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("npz: array %q: %w", name, err)
	}
	return t, nil
}

// open opens the member that holds an array.
func (a *Archive) open(name string) (io.ReadCloser, error) {
	f := a.member[name]
	if f == nil {
		return nil, fmt.Errorf("npz: no array %q: expected one of %s", name, strings.Join(a.names, ", "))
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("npz: array %q: %w", name, err)
	}
	return r, nil
}

// Close closes the file that OpenArchive opened.
func (a *Archive) Close() error {
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}

// ReadArchive reads all arrays of a .npz file.
func ReadArchive(path string) (map[string]*tensor.Tensor, error) {
	a, err := OpenArchive(path)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	all, err := a.readAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// DecodeArchive reads all arrays of a .npz that is in memory.
func DecodeArchive(data []byte) (map[string]*tensor.Tensor, error) {
	a, err := NewArchive(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	return a.readAll()
}

// readAll reads every array; MaxBytes bounds their sum.
func (a *Archive) readAll() (map[string]*tensor.Tensor, error) {
	all := make(map[string]*tensor.Tensor, len(a.names))
	left := uint64(max(a.MaxBytes, 0))
	for _, name := range a.names {
		n := a.member[name].UncompressedSize64
		if n > left {
			return nil, fmt.Errorf("npz: the arrays unpack to more than %d bytes, at %q", a.MaxBytes, name)
		}
		left -= n
		t, err := a.Read(name)
		if err != nil {
			return nil, err
		}
		all[name] = t
	}
	return all, nil
}

// Array is a named tensor of an archive.
type Array struct {
	Name   string
	Tensor *tensor.Tensor
}

// WriteArchive writes arrays as a .npz, deflated if compress is set.
func WriteArchive(w io.Writer, compress bool, arrays ...Array) error {
	z := zip.NewWriter(w)
	method := zip.Store
	if compress {
		method = zip.Deflate
	}
	seen := map[string]bool{}
	for _, a := range arrays {
		if seen[a.Name] {
			return fmt.Errorf("npz: array %q is there twice", a.Name)
		}
		seen[a.Name] = true
		m, err := z.CreateHeader(&zip.FileHeader{Name: a.Name + ".npy", Method: method})
		if err != nil {
			return fmt.Errorf("npz: array %q: %w", a.Name, err)
		}
		if err := Write(m, a.Tensor); err != nil {
			return fmt.Errorf("npz: array %q: %w", a.Name, err)
		}
	}
	return z.Close()
}
