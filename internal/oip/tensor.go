package oip

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// byName has every datatype of the protocol.
var byName = func() map[string]dtype.Type {
	m := map[string]dtype.Type{}
	for t := range dtype.Sequence {
		if n := t.OIP(); n != "" {
			m[n] = t
		}
	}
	return m
}()

// Datatype reads a datatype's name without allocating; Invalid if there is none of that name.
func Datatype[S string | []byte](name S) dtype.Type { return byName[string(name)] }

// ErrDatatype says that a datatype's name is unknown.
func ErrDatatype(name string) error {
	return fmt.Errorf("expected a datatype (BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 or BYTES), found %q", name)
}

// Elements is the number of elements of a shape from a request. A negative
// dimension, or a product beyond the machine's integers in bytes, is an error.
func Elements(shape []int) (int, error) {
	n, zero := uint64(1), false
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("expected no negative dimension in a request's shape, found %v", shape)
		}
		zero = zero || d == 0
	}
	if zero {
		return 0, nil
	}
	for _, d := range shape {
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > 1<<56 {
			return 0, fmt.Errorf("shape %v has more elements than memory can hold", shape)
		}
		n = lo
	}
	return int(n), nil
}

// SetRaw makes raw the contents of t, whose datatype and shape are set: n
// little-endian elements without padding, or, for BYTES, n elements each with
// its length in four bytes before it. Numbers alias raw; strings are copied.
func SetRaw(t *tensor.Tensor, n int, raw []byte) error {
	if t.DType == dtype.String {
		return setStrings(t, n, raw)
	}
	if want := t.DType.Bytes(n); want != len(raw) {
		return fmt.Errorf("%s %v takes %d bytes, found %d", t.DType.OIP(), t.Shape, want, len(raw))
	}
	if t.DType == dtype.Bool {
		for i, b := range raw {
			if b > 1 {
				return fmt.Errorf("expected 0 or 1 in each byte of a BOOL tensor, found %d at element %d", b, i)
			}
		}
	}
	t.Data = raw
	return nil
}

func setStrings(t *tensor.Tensor, n int, raw []byte) error {
	if n > len(raw)/4 {
		return fmt.Errorf("BYTES %v takes at least %d bytes (a 4-byte length for each of %d elements), found %d", t.Shape, 4*n, n, len(raw))
	}
	all := string(raw) // one copy that the elements share
	t.Strings = make([]string, n)
	for i := range t.Strings {
		if len(all) < 4 {
			return fmt.Errorf("BYTES %v has %d elements, found only %d", t.Shape, n, i)
		}
		size := uint64(binary.LittleEndian.Uint32(raw[len(raw)-len(all):]))
		all = all[4:]
		if size > uint64(len(all)) {
			return fmt.Errorf("element %d of a BYTES tensor says that it has %d bytes, %d are left", i, size, len(all))
		}
		t.Strings[i], all = all[:size], all[size:]
	}
	if len(all) > 0 {
		return fmt.Errorf("%d bytes follow the %d elements of a BYTES tensor", len(all), n)
	}
	return nil
}

// RawSize is the number of bytes that t takes as raw contents.
func RawSize(t *tensor.Tensor) int {
	if t.DType != dtype.String {
		return len(t.Data)
	}
	n := 4 * len(t.Strings)
	for _, s := range t.Strings {
		n += len(s)
	}
	return n
}

// AppendStrings appends the raw contents of a BYTES tensor.
func AppendStrings(b []byte, strings []string) []byte {
	for _, s := range strings {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return b
}
