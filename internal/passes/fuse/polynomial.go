package fuse

import (
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/match"
)

// A polynomial has a coefficient for each power of its variable.
type polynomial [4]float64

// polynomialOf reads v as a polynomial in x of at most degree 3, however its sums
// and products are arranged.
func polynomialOf(v, x *ir.Value) (polynomial, bool) { return readPolynomial(v, x, 8) }

func readPolynomial(v, x *ir.Value, depth int) (p polynomial, ok bool) {
	if v == x {
		return polynomial{1: 1}, true
	}
	if s, ok := match.Scalar(v); ok {
		return polynomial{float64(s)}, true
	}
	n := v.Producer
	if n == nil || n.Domain != "" || depth == 0 || len(n.In) != 2 {
		return p, false
	}
	a, ok := readPolynomial(n.In[0], x, depth-1)
	b, ok2 := readPolynomial(n.In[1], x, depth-1)
	if !ok || !ok2 {
		return p, false
	}
	switch n.Op {
	case "Add":
		return a.plus(b, 1), true
	case "Sub":
		return a.plus(b, -1), true
	case "Mul":
		return a.times(b)
	case "Div":
		if b[0] == 0 || b != (polynomial{b[0]}) {
			return p, false
		}
		return a.times(polynomial{1 / b[0]})
	case "Pow":
		return a.power(b)
	}
	return p, false
}

func (p polynomial) plus(q polynomial, sign float64) polynomial {
	for i := range p {
		p[i] += float64(sign * q[i])
	}
	return p
}

func (p polynomial) times(q polynomial) (r polynomial, ok bool) {
	for i, a := range p {
		for j, b := range q {
			switch {
			case a == 0 || b == 0:
			case i+j >= len(r):
				return r, false
			default:
				r[i+j] += float64(a * b)
			}
		}
	}
	return r, true
}

func (p polynomial) power(exponent polynomial) (r polynomial, ok bool) {
	r, ok = polynomial{1}, exponent == polynomial{2} || exponent == polynomial{3}
	for i := 0; ok && i < int(exponent[0]); i++ {
		r, ok = r.times(p)
	}
	return r, ok
}

// near allows for constants that exporters have rounded.
func (p polynomial) near(q polynomial) bool {
	for i, want := range q {
		if !(math.Abs(p[i]-want) <= 1e-4*math.Abs(want)) {
			return false
		}
	}
	return true
}
