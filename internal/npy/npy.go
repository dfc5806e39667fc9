// Package npy reads and writes NumPy's .npy arrays (format versions 1 to 3)
// and .npz archives, as numpy.lib.format describes them. Both byte orders and
// both memory orders are read; what is written is little-endian, C order.
// Files are taken as hostile: sizes are checked before memory is taken, and
// object arrays (pickles) are refused.
package npy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// Decode reads one array from data, which must hold nothing else.
func Decode(data []byte) (*tensor.Tensor, error) {
	r := bytes.NewReader(data)
	t, err := read(r, int64(len(data)))
	if err != nil {
		return nil, err
	}
	if r.Len() > 0 {
		return nil, fmt.Errorf("npy: %d bytes follow the array's data", r.Len())
	}
	return t, nil
}

// Read reads one array from r and leaves r behind it. Memory is taken as the
// data arrives, so that a false header cannot claim more than the stream holds.
func Read(r io.Reader) (*tensor.Tensor, error) { return read(r, -1) }

// ReadFile reads a .npy file.
func ReadFile(path string) (*tensor.Tensor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := int64(-1)
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		size = st.Size()
	}
	t, err := read(f, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if n, _ := f.Read(make([]byte, 1)); n > 0 {
		return nil, fmt.Errorf("%s: npy: bytes follow the data of %s", path, t)
	}
	return t, nil
}

// read reads header and data. limit is the most bytes that r can give, or -1
// if that is unknown.
func read(r io.Reader, limit int64) (*tensor.Tensor, error) {
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	n := h.count * h.elem.size
	if limit >= 0 && int64(n) > limit-h.length {
		return nil, fmt.Errorf("npy: shape %v of %q needs %d bytes of data, found %d", h.shape, h.descr, n, limit-h.length)
	}
	raw, err := readData(r, n, limit >= 0)
	if err != nil {
		return nil, fmt.Errorf("npy: data of shape %v of %q: %w", h.shape, h.descr, err)
	}
	return h.decode(raw)
}

// decode makes a tensor of the bytes of the data.
func (h *header) decode(raw []byte) (*tensor.Tensor, error) {
	if h.elem.bigEndian {
		swapBytes(raw, h.elem.unit)
	}
	if h.fortran {
		raw = toRowMajor(raw, h.shape, h.elem.size)
	}
	if h.elem.dtype == dtype.String {
		return decodeStrings(raw, h)
	}
	if h.elem.dtype == dtype.Bool {
		for i, b := range raw {
			if b > 1 {
				return nil, fmt.Errorf("npy: bool element %d is %d, expected 0 or 1", i, b)
			}
		}
	}
	return &tensor.Tensor{DType: h.elem.dtype, Shape: h.shape, Data: raw}, nil
}

// firstChunk bounds what is allocated on the word of a header alone.
const firstChunk = 1 << 20

// readData reads n bytes into aligned memory; known says that n bytes exist.
func readData(r io.Reader, n int, known bool) ([]byte, error) {
	size := n
	if !known {
		size = min(n, firstChunk)
	}
	buf := tensor.Bytes(size)
	have := 0
	for {
		m, err := io.ReadFull(r, buf[have:])
		have += m
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("expected %d bytes, found %d", n, have)
		}
		if err != nil {
			return nil, err
		}
		if have == n {
			return buf, nil
		}
		grown := tensor.Bytes(min(n-have, have) + have)
		copy(grown, buf)
		buf = grown
	}
}

// swapBytes reverses every group of unit bytes.
func swapBytes(b []byte, unit int) {
	for i := 0; i+unit <= len(b); i += unit {
		for lo, hi := i, i+unit-1; lo < hi; lo, hi = lo+1, hi-1 {
			b[lo], b[hi] = b[hi], b[lo]
		}
	}
}

// toRowMajor reorders elements of size bytes from column-major to row-major.
func toRowMajor(src []byte, shape []int, size int) []byte {
	if len(shape) < 2 || len(src) == 0 {
		return src
	}
	dst := tensor.Bytes(len(src))
	strides := make([]int, len(shape)) // of src, in bytes
	for i, s := 0, size; i < len(shape); i++ {
		strides[i] = s
		s *= shape[i]
	}
	index := make([]int, len(shape))
	from := 0
	for to := 0; to < len(dst); to += size {
		copy(dst[to:to+size], src[from:from+size])
		for d := len(shape) - 1; d >= 0; d-- {
			index[d]++
			from += strides[d]
			if index[d] < shape[d] {
				break
			}
			from -= index[d] * strides[d]
			index[d] = 0
		}
	}
	return dst
}
