package blockq

import (
	"fmt"
	"math/bits"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Packed weights are panels of 16 rows of W, one after the other; columns of
// the product from here on. A panel is a sequence of groups of 32 elements of K,
// and in formats with superblocks eight groups follow a header. Codes lie in
// vectors of 64 bytes: byte 4·j + i has codes of column j at k = 4·t + i, for one
// or more t of 0 to 7, "quads". A group is
//
//	scales   as the format has them, 16 of each
//	low      8 bits: vector v has quad v. 4 bits: the low half of vector v has
//	         quad v, the high half quad v+4. 2 bits: quads v, v+2, v+4, v+6
//	high     the same for bits above those of low; 1 bit: one vector, bit t is quad t
const (
	cols      = 16 // of a panel
	groupSize = 32 // elements of K
	vector    = 64 // bytes
	superSize = 256
)

// kind is what a kernel has to do for a group beside the dot products.
type kind uint8

const (
	plain      kind = iota // one scale
	offset                 // and a minimum
	pair                   // an integer scale for each half
	twoOffsets             // a minimum for each half
	signed                 // plain, with values of 8 bits that need their sign
	kinds
)

// tileKind is what tileKernels have to do for a group.
type tileKind uint8

const (
	tilePlain      tileKind = iota // one scale
	tileOffset                     // and a minimum
	tileTwoOffsets                 // a minimum for each half
	tileDouble                     // plain, with values that are sums of two bfloat16
	tileKinds
)

// scaling says what scales a format has, and how they are packed: in the header
// of a superblock, and in a group.
type scaling uint8

const (
	half      scaling = iota // group: d float16
	halfMin                  // group: d, m float16
	e8m0                     // group: the exponent
	super                    // header: d, dmin float16; group: sc, m uint8
	superI8                  // header: d float16; group: sc int8
	superPair                // header: d float16; group: sc int8 of each half
	superQ2                  // header: d, dmin float16; group: sc + m·16 of each half
	single                   // group: d float32
	singleMin                // group: d, m float32
)

// layout describes a packed format.
type layout struct {
	format    block.Format
	low, high int // bits of a code in the two planes
	scaling
	zero  int       // the code of 0
	table *[16]int8 // what codes stand for, in place of code - zero
}

// What MatMulNBits has, which is none of GGML's formats.
const (
	n4     block.Format = 128 + iota // 4 bits, the middle is zero
	n4Zero                           // 4 bits with zero points
	n8                               // 8 bits, the middle is zero
)

var layouts = map[block.Format]*layout{
	block.Q4_0:   {low: 4, scaling: half, zero: 8},
	block.Q4_1:   {low: 4, scaling: halfMin},
	block.Q5_0:   {low: 4, high: 1, scaling: half, zero: 16},
	block.Q5_1:   {low: 4, high: 1, scaling: halfMin},
	block.Q8_0:   {low: 8, scaling: half},
	block.Q2_K:   {low: 2, scaling: superQ2},
	block.Q3_K:   {low: 2, high: 1, scaling: superPair, zero: 4},
	block.Q4_K:   {low: 4, scaling: super},
	block.Q5_K:   {low: 4, high: 1, scaling: super},
	block.Q6_K:   {low: 4, high: 2, scaling: superPair, zero: 32},
	block.IQ4_NL: {low: 4, scaling: half, table: &valuesIQ4},
	block.IQ4_XS: {low: 4, scaling: superI8, table: &valuesIQ4},
	block.MXFP4:  {low: 4, scaling: e8m0, table: &valuesE2M1},
	n4:           {low: 4, scaling: single, zero: 8},
	n4Zero:       {low: 4, scaling: singleMin},
	n8:           {low: 8, scaling: single},
}

func init() {
	for f, l := range layouts {
		l.format = f
	}
}

var (
	valuesIQ4  = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	valuesE2M1 = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

// kind is what kernels do for the format.
func (l *layout) kind() kind {
	switch l.scaling {
	case halfMin, super, singleMin:
		return offset
	case superPair:
		return pair
	case superQ2:
		return twoOffsets
	}
	if l.table != nil || l.low == 8 {
		return signed
	}
	return plain
}

// nibbles says that the format is plain or offset, with codes of 4 bits.
func (l *layout) nibbles() bool { return l.low == 4 && l.high == 0 && l.kind() <= offset }

// tileKind is what tileKernels do for the format: values contain its integer scales.
func (l *layout) tileKind() tileKind {
	switch k := l.kind(); {
	case k == offset:
		return tileOffset
	case k == twoOffsets:
		return tileTwoOffsets
	case k == pair:
		return tileDouble
	}
	return tilePlain
}

// pairs says that values and rows are pairs of bfloat16, not quads of 8-bit integers.
func (k tileKind) pairs() bool { return k >= tileTwoOffsets }

// slotBytes is what a group takes that tileKernels have unpacked: values, the
// scales, minimums.
func (k tileKind) slotBytes() int {
	return [...]int{tilePlain: 9, tileOffset: 10, tileTwoOffsets: 19, tileDouble: 33}[k] * vector
}

// shift turns -128·S into -zero·S.
func (l *layout) shift() uint64 {
	if l.zero == 0 {
		return 0
	}
	return uint64(7 - bits.TrailingZeros(uint(l.zero)))
}

// headerBytes is what precedes the groups of a superblock.
func (l *layout) headerBytes() int {
	switch l.scaling {
	case super, superQ2:
		return 2 * 2 * cols
	case superI8, superPair:
		return 2 * cols
	}
	return 0
}

// scaleBytes is what a group begins with.
func (l *layout) scaleBytes() int {
	switch l.scaling {
	case halfMin, single:
		return 4 * cols
	case singleMin:
		return 8 * cols
	case e8m0, superI8:
		return cols
	}
	return 2 * cols
}

// groupBytes is what a group takes in a panel.
func (l *layout) groupBytes() int { return l.scaleBytes() + (l.low+l.high)*vector }

// unit is the number of elements that a header serves, and 32 without.
func (l *layout) unit() int {
	if l.headerBytes() > 0 {
		return superSize
	}
	return groupSize
}

// unitBytes is what they take in a panel.
func (l *layout) unitBytes() int { return l.headerBytes() + l.unit()/groupSize*l.groupBytes() }

// panelBytes is what 16 columns take.
func (l *layout) panelBytes(k int) int { return k / l.unit() * l.unitBytes() }

// Supports reports whether there are kernels for the format.
func Supports(f block.Format) bool { return layouts[f] != nil && f.Valid() || isHalf(f) }

// Quantizes reports whether there are kernels that multiply quantized rows by the format.
func Quantizes(f block.Format) bool { return Supports(f) && !isHalf(f) }

// PackedSize is the number of bytes that Pack needs for n rows of k elements: those
// of the file but for rounding up to 16 rows and, in superblocks of Q4_K, Q5_K,
// Q3_K and IQ4_XS, up to 4 %.
func PackedSize(f block.Format, n, k int) (int, error) {
	l, err := layoutOf(f, n, k)
	if err != nil {
		return 0, err
	}
	if l == nil {
		return tiling.Align(n, cols) * k * 2, nil
	}
	return tiling.Ceil(n, cols) * l.panelBytes(k), nil
}

// layoutOf is nil for formats of 16 bits.
func layoutOf(f block.Format, n, k int) (*layout, error) {
	l := layouts[f]
	switch {
	case !Supports(f):
		return nil, fmt.Errorf("blockq: no kernels for the format %v", f)
	case n < 1 || k < 1:
		return nil, fmt.Errorf("blockq: weights of %d rows of %d elements: expected at least one of each", n, k)
	}
	row, err := f.RowBytes(k)
	if err != nil {
		return nil, fmt.Errorf("blockq: %w", err)
	}
	if most := int(^uint(0)>>1) / (2 * row); n > most {
		return nil, fmt.Errorf("blockq: %d rows of %d bytes are beyond what can be addressed", n, row)
	}
	return l, nil
}
