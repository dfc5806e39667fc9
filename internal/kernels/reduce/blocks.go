package reduce

import "math"

// The functions below reduce a block of elements over 32 lanes and a tree.

func sumTree[T number](l *[lanes]T) T {
	for h := lanes / 2; h > 0; h /= 2 {
		for j := range h {
			l[j] += l[j+h]
		}
	}
	return l[0]
}

func sumBlock[T number](x []T) T {
	var l [lanes]T
	for ; len(x) >= lanes; x = x[lanes:] {
		for j, v := range x[:lanes] {
			l[j] += v
		}
	}
	for j, v := range x {
		l[j] += v
	}
	return sumTree(&l)
}

func abs[T number](v T) T {
	if v < 0 {
		return -v
	}
	if v == 0 {
		return 0 // -0
	}
	return v
}

func absBlock[T number](x []T) T {
	var l [lanes]T
	for ; len(x) >= lanes; x = x[lanes:] {
		for j, v := range x[:lanes] {
			l[j] += abs(v)
		}
	}
	for j, v := range x {
		l[j] += abs(v)
	}
	return sumTree(&l)
}

func squareBlock[T number](x []T) T {
	var l [lanes]T
	for ; len(x) >= lanes; x = x[lanes:] {
		for j, v := range x[:lanes] {
			l[j] += T(v * v)
		}
	}
	for j, v := range x {
		l[j] += T(v * v)
	}
	return sumTree(&l)
}

func squareDiffBlock(x []float32, mean float32) float32 {
	var l [lanes]float32
	for i, v := range x {
		d := v - mean
		l[i%lanes] += float32(d * d)
	}
	return sumTree(&l)
}

// greater keeps a unless b is greater or NaN.
func greater[T number](a, b T) T {
	if b > a || b != b {
		return b
	}
	return a
}

func less[T number](a, b T) T {
	if b < a || b != b {
		return b
	}
	return a
}

func filled[T number](v T) (l [lanes]T) {
	for j := range l {
		l[j] = v
	}
	return l
}

func maxBlock[T number](x []T) T {
	l := filled(least[T]())
	for ; len(x) >= lanes; x = x[lanes:] {
		for j, v := range x[:lanes] {
			if T(1)/T(2) == 0 { // an integer: without a branch
				l[j] = max(l[j], v)
			} else if v > l[j] || v != v {
				l[j] = v
			}
		}
	}
	for j, v := range x {
		l[j] = greater(l[j], v)
	}
	for h := lanes / 2; h > 0; h /= 2 {
		for j := range h {
			l[j] = greater(l[j], l[j+h])
		}
	}
	return l[0]
}

func minBlock[T number](x []T) T {
	l := filled(greatest[T]())
	for ; len(x) >= lanes; x = x[lanes:] {
		for j, v := range x[:lanes] {
			if T(1)/T(2) == 0 { // an integer: without a branch
				l[j] = min(l[j], v)
			} else if v < l[j] || v != v {
				l[j] = v
			}
		}
	}
	for j, v := range x {
		l[j] = less(l[j], v)
	}
	for h := lanes / 2; h > 0; h /= 2 {
		for j := range h {
			l[j] = less(l[j], l[j+h])
		}
	}
	return l[0]
}

func prodBlock[T number](x []T) T {
	l := filled(T(1))
	for ; len(x) >= lanes; x = x[lanes:] {
		for j, v := range x[:lanes] {
			l[j] *= v
		}
	}
	for j, v := range x {
		l[j] *= v
	}
	for h := lanes / 2; h > 0; h /= 2 {
		for j := range h {
			l[j] *= l[j+h]
		}
	}
	return l[0]
}

func sumStep[T number](acc, x []T) {
	for i, v := range x[:len(acc)] {
		acc[i] += v
	}
}

func absStep[T number](acc, x []T) {
	for i, v := range x[:len(acc)] {
		acc[i] += abs(v)
	}
}

func squareStep[T number](acc, x []T) {
	for i, v := range x[:len(acc)] {
		acc[i] += T(v * v)
	}
}

func maxStep[T number](acc, x []T) {
	for i, v := range x[:len(acc)] {
		acc[i] = greater(acc[i], v)
	}
}

func minStep[T number](acc, x []T) {
	for i, v := range x[:len(acc)] {
		acc[i] = less(acc[i], v)
	}
}

func prodStep[T number](acc, x []T) {
	for i, v := range x[:len(acc)] {
		acc[i] *= v
	}
}

// initial is the value that lanes start from.
func initial[T number](f fold) T {
	switch f {
	case foldMax:
		return least[T]()
	case foldMin:
		return greatest[T]()
	case foldProd:
		return 1
	}
	return 0
}

// least is -Inf, or an integer type's least value.
func least[T number]() T {
	var v T
	switch p := any(&v).(type) {
	case *float32:
		*p = float32(math.Inf(-1))
	case *float64:
		*p = math.Inf(-1)
	case *int8:
		*p = math.MinInt8
	case *int16:
		*p = math.MinInt16
	case *int32:
		*p = math.MinInt32
	case *int64:
		*p = math.MinInt64
	}
	return v
}

// greatest is +Inf, or an integer type's greatest value.
func greatest[T number]() T {
	if T(1)/T(2) != 0 {
		return -least[T]()
	}
	return -(least[T]() + 1)
}
