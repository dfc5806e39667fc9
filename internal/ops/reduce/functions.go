package reduce

import "math"

type integer interface{ int64 | uint64 }

func total[T integer](v []T) (s T) {
	for _, x := range v {
		s += x
	}
	return s
}

func times[T integer](v []T) T {
	p := T(1)
	for _, x := range v {
		p *= x
	}
	return p
}

func meanInt[T integer](v []T) T {
	if len(v) == 0 {
		return 0
	}
	return total(v) / T(len(v))
}

func squaresInt[T integer](v []T) (s T) {
	for _, x := range v {
		s += x * x
	}
	return s
}

func l1Int(v []int64) (s int64) {
	for _, x := range v {
		s += max(x, -x)
	}
	return s
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

func mean(v []float64) float64 { return sum(v) / float64(len(v)) }

func product(v []float64) float64 {
	p := 1.
	for _, x := range v {
		p *= x
	}
	return p
}

func largest(v []float64) float64 {
	m := math.Inf(-1)
	for _, x := range v {
		m = max(m, x)
	}
	return m
}

func smallest(v []float64) float64 {
	m := math.Inf(1)
	for _, x := range v {
		m = min(m, x)
	}
	return m
}

func l1(v []float64) (s float64) {
	for _, x := range v {
		s += math.Abs(x)
	}
	return s
}

func squares(v []float64) (s float64) {
	for _, x := range v {
		s += float64(x * x)
	}
	return s
}

func logSumExp(v []float64) float64 {
	top := largest(v)
	if math.IsInf(top, 0) || math.IsNaN(top) {
		return top
	}
	s := 0.
	for _, x := range v {
		s += math.Exp(x - top)
	}
	return top + math.Log(s)
}
