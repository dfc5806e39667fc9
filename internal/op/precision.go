package op

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
)

// Precision is the arithmetic of operators on float32 tensors.
type Precision uint8

const (
	FP32 Precision = iota
	// BF16 rounds the operands of products (matrices, convolutions, attention) to
	// bfloat16; sums and all else are of float32.
	BF16
)

var precisionNames = [...]string{"fp32", "bf16"}

// String is the name that commands take and reports show.
func (p Precision) String() string { return precisionNames[p] }

// ParsePrecision reads a name.
func ParsePrecision(name string) (Precision, error) {
	for i, n := range precisionNames {
		if n == name {
			return Precision(i), nil
		}
	}
	return 0, fmt.Errorf("precision %q is unknown: expected fp32 or bf16", name)
}

// Available says why a precision can't be used at the instruction-set level in
// force, or nil.
func (p Precision) Available() error {
	if p == BF16 && !mma.Available() {
		return fmt.Errorf("precision bf16 needs a CPU with AMX tiles, or AMD's with AVX-512 BF16, and the instruction-set level here is %v: use fp32", cpu.Level())
	}
	return nil
}

// Precise is a Kernel that doesn't compute in float32.
type Precise interface{ Precision() Precision }

// PrecisionOf is what a kernel computes float32 tensors in.
func PrecisionOf(k Kernel) Precision {
	if p, ok := k.(Precise); ok {
		return p.Precision()
	}
	return FP32
}
