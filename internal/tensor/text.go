package tensor

import (
	"fmt"
	"strconv"

	"github.com/salver-ml/salver/internal/dtype"
)

// Text writes element i for people.
func (t *Tensor) Text(i int) string {
	switch t.DType {
	case dtype.Float32:
		return strconv.FormatFloat(float64(Of[float32](t)[i]), 'g', 6, 32)
	case dtype.Float64:
		return strconv.FormatFloat(Of[float64](t)[i], 'g', 6, 64)
	case dtype.Float16:
		return strconv.FormatFloat(float64(dtype.F16ToF32(Of[uint16](t)[i])), 'g', 4, 32)
	case dtype.BFloat16:
		return strconv.FormatFloat(float64(dtype.BF16ToF32(Of[uint16](t)[i])), 'g', 3, 32)
	case dtype.Int64:
		return fmt.Sprint(Of[int64](t)[i])
	case dtype.Int32:
		return fmt.Sprint(Of[int32](t)[i])
	case dtype.Int16:
		return fmt.Sprint(Of[int16](t)[i])
	case dtype.Int8:
		return fmt.Sprint(Of[int8](t)[i])
	case dtype.Uint64:
		return fmt.Sprint(Of[uint64](t)[i])
	case dtype.Uint32:
		return fmt.Sprint(Of[uint32](t)[i])
	case dtype.Uint16:
		return fmt.Sprint(Of[uint16](t)[i])
	case dtype.Uint8:
		return fmt.Sprint(t.Data[i])
	case dtype.Bool:
		return fmt.Sprint(t.Data[i] != 0)
	case dtype.Complex64:
		return fmt.Sprint(Of[complex64](t)[i])
	case dtype.Complex128:
		return fmt.Sprint(Of[complex128](t)[i])
	case dtype.String:
		return strconv.Quote(t.Strings[i])
	}
	return "?"
}
