package weight

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
)

// Kind is what the codes of a scheme stand for.
type Kind uint8

// The kinds.
const (
	Int   Kind = iota // (code − zero)·scale, of 2 to 8 bits
	NF4               // the quantiles of a normal distribution, with the largest magnitude 1 (QLoRA, arXiv:2305.14314)
	MXFP4             // float4 E2M1 with scales that are powers of two (OCP Microscaling 1.0)
	E4M3              // float8 E4M3FN
	E5M2              // float8 E5M2
)

// String is the kind's name, such as "nf4".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

var kindNames = [...]string{"int", "nf4", "mxfp4", "fp8-e4m3", "fp8-e5m2"}

// Scheme says how numbers are stored.
type Scheme struct {
	Kind Kind
	Bits int // of Int: 2 to 8; other kinds have theirs
	// Group is the number of columns that share a scale, 0 for the whole row; the
	// last group of a row may be shorter.
	Group int
	// Symmetric: Int has its zero point at 2^(Bits-1), else each group has its own.
	Symmetric bool
	// FloatZero: zero points of Int need not be whole numbers (HQQ); they are stored
	// as scales are.
	FloatZero bool
	// Scale is the type in which scales are stored: Float32 (also 0), Float16 or
	// BFloat16. They are rounded to it before codes are chosen. Scales of MXFP4
	// are powers of two whatever this says.
	Scale dtype.Type
}

// Check reports what no scheme can have.
func (s Scheme) Check() error {
	switch {
	case int(s.Kind) >= len(kindNames):
		return fmt.Errorf("%v is no kind of weights", s.Kind)
	case s.Kind == Int && (s.Bits < 2 || s.Bits > 8):
		return fmt.Errorf("integers have %d bits, expected 2 to 8", s.Bits)
	case s.Kind != Int && (!s.Symmetric || s.FloatZero):
		return fmt.Errorf("%v has no zero points: expected it to be symmetric", s.Kind)
	case s.Symmetric && s.FloatZero:
		return fmt.Errorf("a symmetric scheme has no zero points of its own")
	case s.Group < 0:
		return fmt.Errorf("a group has %d columns, expected 0 for the whole row, or more", s.Group)
	}
	switch s.Scale {
	case 0, dtype.Float32, dtype.Float16, dtype.BFloat16:
		return nil
	}
	return fmt.Errorf("scales are %v, expected float32, float16 or bfloat16", s.Scale)
}

// String describes the scheme, such as "int4 g128 symmetric".
func (s Scheme) String() string {
	name := s.Kind.String()
	if s.Kind == Int {
		name = fmt.Sprintf("int%d", s.Bits)
	}
	if s.Group > 0 {
		name += fmt.Sprintf(" g%d", s.Group)
	} else {
		name += " per channel"
	}
	if s.Kind == Int && s.Symmetric {
		name += " symmetric"
	}
	return name
}

// Width is the bits of a code.
func (s Scheme) Width() int {
	switch s.Kind {
	case Int:
		return s.Bits
	case NF4, MXFP4:
		return 4
	}
	return 8
}

// BitsPerWeight is what a number takes on average in rows of cols columns,
// scales and zero points included.
func (s Scheme) BitsPerWeight(cols int) float64 {
	group := 16
	switch {
	case s.Kind == MXFP4:
		group = 8
	case s.Scale == 0 || s.Scale == dtype.Float32:
		group = 32
	}
	switch {
	case s.FloatZero:
		group *= 2
	case s.Kind == Int && !s.Symmetric:
		group += s.Bits
	}
	return float64(s.Width()) + float64(group*s.groups(cols))/float64(max(cols, 1))
}

// groups is the number of groups of a row.
func (s Scheme) groups(cols int) int { return (cols + s.size(cols) - 1) / s.size(cols) }

// size is the number of columns of a group.
func (s Scheme) size(cols int) int {
	if s.Group == 0 {
		return max(cols, 1)
	}
	return s.Group
}

// middle is the zero point of a symmetric scheme of integers.
func (s Scheme) middle() float32 { return float32(int(1) << max(s.Bits-1, 0)) }

// largest is the highest code of integers.
func (s Scheme) largest() float32 { return float32(int(1)<<s.Bits - 1) }

// stored rounds a scale to the type that it is stored in. Tiny ones become zero,
// and too large ones the largest.
func (s Scheme) stored(scale float32) float32 {
	switch s.Scale {
	case dtype.Float16:
		return dtype.F16ToF32(dtype.F32ToF16(min(max(scale, -65504), 65504)))
	case dtype.BFloat16:
		const largest = 0x1.fep127
		return dtype.BF16ToF32(dtype.F32ToBF16(min(max(scale, -largest), largest)))
	}
	if math.Abs(float64(scale)) < 0x1p-126 {
		return 0 // whose inverse would be infinite
	}
	return min(max(scale, -math.MaxFloat32), math.MaxFloat32)
}

// levels are what the codes of a kind other than Int stand for, at scale 1.
func (k Kind) levels() []float32 {
	switch k {
	case NF4:
		return nf4Levels[:]
	case MXFP4:
		return narrowLevels(dtype.Float4E2M1, 16)
	case E4M3:
		return narrowLevels(dtype.Float8E4M3FN, 256)
	case E5M2:
		return narrowLevels(dtype.Float8E5M2, 256)
	}
	return nil
}

func narrowLevels(t dtype.Type, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = dtype.FromNarrow(t, byte(i))
	}
	return v
}

// top is the largest magnitude among the levels of a kind other than Int.
func (k Kind) top() float32 {
	switch k {
	case MXFP4:
		return 6
	case E4M3:
		return 448
	case E5M2:
		return 57344
	}
	return 1
}

// nf4Levels is the table of QLoRA's authors (bitsandbytes).
var nf4Levels = [16]float32{
	-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
	0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
}

// finite reports the first number that is none.
func finite(w []float32) (at int, ok bool) {
	for i, x := range w {
		if math.Abs(float64(x)) > math.MaxFloat32 || x != x {
			return i, false
		}
	}
	return 0, true
}
