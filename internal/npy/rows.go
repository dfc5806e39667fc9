package npy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// Rows reads an array piece by piece along its first dimension, so that it may
// be larger than memory. Only an array in column order is read whole, as its
// rows lie scattered.
type Rows struct {
	r     io.Reader
	close func() error
	h     *header
	next  int            // the row that r stands at
	whole *tensor.Tensor // of an array in column order
}

// OpenRows opens a .npy file; Close it.
func OpenRows(path string) (*Rows, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := newRows(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return r, nil
}

// Rows opens one array to be read by rows; Close it before the archive.
func (a *Archive) Rows(name string) (*Rows, error) {
	m, err := a.open(name)
	if err != nil {
		return nil, err
	}
	r, err := newRows(m)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("npz: array %q: %w", name, err), m.Close())
	}
	return r, nil
}

func newRows(r io.ReadCloser) (*Rows, error) {
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	return &Rows{r: r, close: r.Close, h: h}, nil
}

// DType is the type of the elements.
func (r *Rows) DType() dtype.Type { return r.h.elem.dtype }

// Shape is that of the whole array.
func (r *Rows) Shape() []int { return slices.Clone(r.h.shape) }

// Next is the row that Read begins with.
func (r *Rows) Next() int { return r.next }

// rows gives the header of n rows from the next one on.
func (r *Rows) rows(n int) (*header, error) {
	if len(r.h.shape) == 0 || n < 0 || n > r.h.shape[0]-r.next {
		return nil, fmt.Errorf("npy: %d rows from row %d on: an array of shape %v has no such rows", n, r.next, r.h.shape)
	}
	part := *r.h
	part.shape = r.Shape()
	part.shape[0] = n
	part.count = tensor.Count(part.shape)
	return &part, nil
}

// Skip passes over n rows.
func (r *Rows) Skip(n int) error {
	h, err := r.rows(n)
	if err != nil {
		return err
	}
	if !r.scattered() {
		if _, err := io.CopyN(io.Discard, r.r, int64(h.count)*int64(h.elem.size)); err != nil {
			return fmt.Errorf("npy: rows %d to %d of shape %v: %w", r.next, r.next+n-1, r.h.shape, err)
		}
	}
	r.next += n
	return nil
}

// Read gives the next n rows as a tensor whose first dimension is n. With the
// last row it checks that the file ends there, and the checksum of a .npz.
func (r *Rows) Read(n int) (*tensor.Tensor, error) {
	h, err := r.rows(n)
	if err != nil {
		return nil, err
	}
	var t *tensor.Tensor
	if r.scattered() {
		t, err = r.gather(h)
	} else {
		var raw []byte
		if raw, err = readData(r.r, h.count*h.elem.size, false); err == nil {
			t, err = h.decode(raw)
		}
	}
	if err == nil {
		if r.next += n; r.next == r.h.shape[0] {
			err = r.end()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("npy: data of shape %v of %q: %w", r.h.shape, r.h.descr, err)
	}
	return t, nil
}

// scattered reports whether a row's elements lie apart.
func (r *Rows) scattered() bool { return r.h.fortran && len(r.h.shape) > 1 }

// gather takes rows out of an array in column order.
func (r *Rows) gather(h *header) (*tensor.Tensor, error) {
	if r.whole == nil {
		raw, err := readData(r.r, r.h.count*r.h.elem.size, false)
		if err != nil {
			return nil, err
		}
		if r.whole, err = r.h.decode(raw); err != nil {
			return nil, err
		}
	}
	t := tensor.New(h.elem.dtype, h.shape...)
	if h.shape[0] > 0 {
		t.CopyElements(0, r.whole, r.next*(h.count/h.shape[0]), h.count)
	}
	return t, nil
}

func (r *Rows) end() error {
	if n, err := io.Copy(io.Discard, r.r); err != nil || n > 0 {
		return errors.Join(err, fmt.Errorf("%d bytes follow the data", n))
	}
	return nil
}

// Close closes the file, or the member of the archive.
func (r *Rows) Close() error { return r.close() }
