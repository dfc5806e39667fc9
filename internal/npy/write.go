package npy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

var descrs = func() map[dtype.Type]string {
	m := map[dtype.Type]string{}
	for s, t := range numeric {
		if t.Bytes(1) == 1 {
			m[t] = "|" + s
		} else {
			m[t] = "<" + s
		}
	}
	return m
}()

// Write writes t as NumPy would (format 1.0, little-endian, C order). Types
// that NumPy lacks are widened where that is exact: bfloat16 to float32, 2- and
// 4-bit integers to 8 bits. The others (8-bit and smaller floats, sequences) are errors.
func Write(w io.Writer, t *tensor.Tensor) error {
	if t.DType == dtype.String {
		return writeStrings(w, t)
	}
	t, err := widen(t)
	if err != nil {
		return err
	}
	if want := t.DType.Bytes(t.Len()); len(t.Data) != want {
		return fmt.Errorf("npy: %s needs %d bytes of data, found %d", t, want, len(t.Data))
	}
	if _, err := io.WriteString(w, headerText(descrs[t.DType], t.Shape)); err != nil {
		return err
	}
	_, err = w.Write(t.Data)
	return err
}

// WriteFile writes t to a .npy file.
func WriteFile(path string, t *tensor.Tensor) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := Write(f, t); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

// headerText is byte for byte what NumPy writes: padded so that the data is
// 64-byte aligned and the first dimension can grow in place.
func headerText(descr string, shape []int) string {
	var dims strings.Builder
	for i, d := range shape {
		if i > 0 {
			dims.WriteString(", ")
		}
		dims.WriteString(strconv.Itoa(d))
	}
	if len(shape) == 1 {
		dims.WriteString(",")
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims.String())
	if len(shape) > 0 {
		const growth = 21 // digits that NumPy keeps free for the growing axis
		text += strings.Repeat(" ", growth-len(strconv.Itoa(shape[0])))
	}
	pad := 64 - (len(magic)+4+len(text)+1)%64
	text += strings.Repeat(" ", pad) + "\n"
	return magic + "\x01\x00" + string(binary.LittleEndian.AppendUint16(nil, uint16(len(text)))) + text
}

func writeStrings(w io.Writer, t *tensor.Tensor) error {
	if len(t.Strings) != t.Len() {
		return fmt.Errorf("npy: %s needs %d strings, found %d", t, t.Len(), len(t.Strings))
	}
	unicode, width, err := stringWidth(t.Strings)
	if err != nil {
		return err
	}
	descr, cell := "|S"+strconv.Itoa(width), make([]byte, width)
	if unicode {
		descr, cell = "<U"+strconv.Itoa(width), make([]byte, 4*width)
	}
	bw := bufio.NewWriter(w)
	bw.WriteString(headerText(descr, t.Shape)) // errors stick in bw and come back from Flush
	for _, s := range t.Strings {
		clear(cell)
		if unicode {
			i := 0
			for _, r := range s {
				binary.LittleEndian.PutUint32(cell[i:], uint32(r))
				i += 4
			}
		} else {
			copy(cell, s)
		}
		bw.Write(cell)
	}
	return bw.Flush()
}

// widen turns types that NumPy lacks into ones that it has, without loss.
func widen(t *tensor.Tensor) (*tensor.Tensor, error) {
	if _, ok := descrs[t.DType]; ok {
		return t, nil
	}
	switch t.DType {
	case dtype.BFloat16:
		out := tensor.New(dtype.Float32, t.Shape...)
		dst := tensor.Of[float32](out)
		for i, h := range tensor.Of[uint16](t) {
			dst[i] = dtype.BF16ToF32(h)
		}
		return out, nil
	case dtype.Uint4, dtype.Int4, dtype.Uint2, dtype.Int2:
		return unpack(t)
	}
	return nil, fmt.Errorf("npy: NumPy has no type for %s", t)
}

// unpack spreads 2- and 4-bit integers (low bits first) over bytes.
func unpack(t *tensor.Tensor) (*tensor.Tensor, error) {
	bits := t.DType.Bits()
	if want := t.DType.Bytes(t.Len()); len(t.Data) != want {
		return nil, fmt.Errorf("npy: %s needs %d bytes of data, found %d", t, want, len(t.Data))
	}
	to := dtype.Uint8
	if t.DType.IsSigned() {
		to = dtype.Int8
	}
	out := tensor.New(to, t.Shape...)
	per := 8 / bits
	for i := range out.Data {
		v := t.Data[i/per] >> (i % per * bits) << (8 - bits) // at the top, so that the shift back extends the sign
		if to == dtype.Int8 {
			out.Data[i] = byte(int8(v) >> (8 - bits))
		} else {
			out.Data[i] = v >> (8 - bits)
		}
	}
	return out, nil
}
