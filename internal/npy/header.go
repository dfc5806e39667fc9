package npy

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
)

const (
	magic = "\x93NUMPY"
	// maxHeader is far above what any plain array needs; NumPy itself refuses
	// more than 10,000 bytes by default.
	maxHeader = 1 << 16
	maxRank   = 64 // NumPy 2's limit
)

// header is what the text in front of the data says.
type header struct {
	descr   string
	fortran bool
	shape   []int
	elem    element
	count   int   // product of shape; count*elem.size fits in an int
	length  int64 // bytes up to the data
}

// element is the storage form of one array element.
type element struct {
	dtype     dtype.Type
	size      int // bytes of one element
	unit      int // bytes that are swapped together
	bigEndian bool
	unicode   bool // UCS-4 string rather than bytes
}

func readHeader(r io.Reader) (*header, error) {
	var pre [8]byte
	if _, err := io.ReadFull(r, pre[:]); err != nil {
		return nil, fmt.Errorf("npy: no header: %w", err)
	}
	if string(pre[:6]) != magic {
		return nil, fmt.Errorf("npy: not a .npy file: expected it to start with %q, found %q", magic, pre[:6])
	}
	width := 4
	switch pre[6] {
	case 1:
		width = 2
	case 2, 3:
	default:
		return nil, fmt.Errorf("npy: format version %d.%d: expected 1, 2 or 3", pre[6], pre[7])
	}
	var lenBuf [4]byte
	if _, err := io.ReadFull(r, lenBuf[:width]); err != nil {
		return nil, fmt.Errorf("npy: header length: %w", err)
	}
	n := binary.LittleEndian.Uint32(lenBuf[:])
	if n > maxHeader {
		return nil, fmt.Errorf("npy: header of %d bytes: expected at most %d", n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("npy: header of %d bytes: %w", n, err)
	}
	h, err := parseHeader(string(text))
	if err != nil {
		return nil, err
	}
	h.length = int64(8 + width + len(text))
	return h, nil
}

// parseHeader reads the Python dictionary literal and checks its sizes.
func parseHeader(text string) (*header, error) {
	h, err := (&literal{s: text}).header()
	if err != nil {
		return nil, fmt.Errorf("npy: header %q: %w", clip(text), err)
	}
	if h.elem, err = parseDescr(h.descr); err != nil {
		return nil, err
	}
	h.count = 1
	total := max(h.elem.size, 1)
	for _, d := range h.shape {
		hi, lo := bits.Mul64(uint64(total), uint64(d))
		if hi != 0 || lo > math.MaxInt64/2 || lo > math.MaxInt {
			return nil, fmt.Errorf("npy: shape %v of %q is too large to address", h.shape, h.descr)
		}
		total = int(lo)
		h.count *= d
	}
	if h.elem.dtype == dtype.String && h.elem.size == 0 && h.count > firstChunk {
		return nil, fmt.Errorf("npy: %d strings of no bytes: expected at most %d", h.count, firstChunk)
	}
	return h, nil
}

var numeric = map[string]dtype.Type{
	"b1": dtype.Bool, "i1": dtype.Int8, "i2": dtype.Int16, "i4": dtype.Int32, "i8": dtype.Int64,
	"u1": dtype.Uint8, "u2": dtype.Uint16, "u4": dtype.Uint32, "u8": dtype.Uint64,
	"f2": dtype.Float16, "f4": dtype.Float32, "f8": dtype.Float64, "c8": dtype.Complex64, "c16": dtype.Complex128,
}

// refused names the kinds that have no tensor type.
var refused = map[byte]string{
	'O': "Python objects need a pickle, which is code and never run",
	'V': "raw or structured records have no tensor type",
	'M': "dates have no tensor type; save them as int64",
	'm': "time spans have no tensor type; save them as int64",
	'f': "this float width has no tensor type; save as float32 or float64",
	'c': "this complex width has no tensor type; save as complex64 or complex128",
}

// parseDescr reads an array-protocol type string such as "<f4" or "|S5".
func parseDescr(descr string) (element, error) {
	var e element
	s := descr
	if s != "" && strings.IndexByte("<>|=", s[0]) >= 0 {
		e.bigEndian = s[0] == '>'
		s = s[1:]
	}
	if t, ok := numeric[s]; ok {
		e.dtype, e.size, e.unit = t, t.Bytes(1), t.Bytes(1)
		if s[0] == 'c' {
			e.unit /= 2
		}
		e.bigEndian = e.bigEndian && e.unit > 1
		return e, nil
	}
	if s != "" && (s[0] == 'S' || s[0] == 'U' || s[0] == 'a') {
		n, err := strconv.ParseUint(s[1:], 10, 28)
		if err != nil {
			return e, fmt.Errorf("npy: type %q: string length: %w", descr, err)
		}
		e.dtype, e.size, e.unit = dtype.String, int(n), 1
		if s[0] == 'U' {
			e.size, e.unit, e.unicode = 4*int(n), 4, true
		}
		e.bigEndian = e.bigEndian && e.unicode
		return e, nil
	}
	if s != "" && refused[s[0]] != "" {
		return e, fmt.Errorf("npy: type %q is refused: %s", descr, refused[s[0]])
	}
	return e, fmt.Errorf("npy: unknown type %q: expected bool, int8–64, uint8–64, float16–64, complex64–128, S or U", descr)
}

func clip(s string) string {
	if len(s) > 120 {
		return s[:120] + "…"
	}
	return s
}
