package jsonnum

import (
	"math"
	"strconv"
)

// AppendFloat appends v, a float64 or, with bits 32, a float32, in the fewest
// digits that read back as the same value. JSON has no NaN and no infinities:
// they are the strings "NaN", "Infinity" and "-Infinity", as in protobuf's JSON
// mapping, so that the text stays JSON and numpy still converts it.
func AppendFloat(b []byte, v float64, bits int) []byte {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1<<24:
		if v == 0 && math.Signbit(v) {
			return append(b, "-0.0"...)
		}
		return append(strconv.AppendInt(b, int64(v), 10), ".0"...)
	case a != a:
		return append(b, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(b, `"-Infinity"`...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, bits)
}
