package shape

import (
	"fmt"
	"strings"
)

// Shape is a list of dimensions. A nil Shape has an unknown rank; a scalar is
// the empty, non-nil Shape{}.
type Shape []Dim

// Of makes a shape of constants.
func Of(dims ...int) Shape {
	s := make(Shape, len(dims))
	for i, d := range dims {
		s[i] = Const(d)
	}
	return s
}

// Unknowns makes a shape of the given rank about whose sizes nothing is known.
func Unknowns(rank int) Shape {
	s := make(Shape, rank)
	for i := range s {
		s[i] = Unknown()
	}
	return s
}

// Known reports whether the rank is known.
func (s Shape) Known() bool { return s != nil }

// Ints gives the sizes if all are constants.
//
//go:noinline
func (s Shape) Ints() ([]int, bool) {
	if s == nil {
		return nil, false
	}
	out := make([]int, len(s))
	for i, d := range s {
		n, ok := d.Int()
		if !ok {
			return nil, false
		}
		out[i] = n
	}
	return out, true
}

// Count is the number of elements; 1 for a scalar.
func (s Shape) Count() Dim {
	n := Const(1)
	for _, d := range s {
		n = n.Mul(d)
	}
	return n
}

// Equal reports whether both ranks are known and all dimensions are equal.
func (s Shape) Equal(t Shape) bool {
	if s == nil || t == nil || len(s) != len(t) {
		return false
	}
	for i := range s {
		if !s[i].Equal(t[i]) {
			return false
		}
	}
	return true
}

// Compatible reports whether s and t can be the same shape: no rank or
// constant contradicts.
func (s Shape) Compatible(t Shape) bool {
	if s == nil || t == nil {
		return true
	}
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		a, ok := s[i].Int()
		b, ok2 := t[i].Int()
		if ok && ok2 && a != b {
			return false
		}
	}
	return true
}

// Broadcast is the NumPy broadcast of two shapes. Where a symbolic dimension
// meets a constant other than 1, the constant wins; two different symbols give
// an unknown.
func Broadcast(a, b Shape) (Shape, error) {
	if a == nil || b == nil {
		return nil, nil
	}
	n := max(len(a), len(b))
	out := make(Shape, n)
	for i := range out {
		x, y := Const(1), Const(1)
		if j := i - (n - len(a)); j >= 0 {
			x = a[j]
		}
		if j := i - (n - len(b)); j >= 0 {
			y = b[j]
		}
		d, err := broadcastDim(x, y)
		if err != nil {
			return nil, fmt.Errorf("shapes %v and %v do not broadcast: dimension %d is %v against %v", a, b, i, x, y)
		}
		out[i] = d
	}
	return out, nil
}

func broadcastDim(x, y Dim) (Dim, error) {
	xn, xc := x.Int()
	yn, yc := y.Int()
	switch {
	case x.Equal(y), yc && yn == 1:
		return x, nil
	case xc && xn == 1:
		return y, nil
	case xc && yc:
		return Dim{}, fmt.Errorf("%d against %d", xn, yn)
	case xc:
		return x, nil
	case yc:
		return y, nil
	}
	return Unknown(), nil
}

// String writes e.g. "[batch,3,224,224]", or "[*]" for an unknown rank.
func (s Shape) String() string {
	if s == nil {
		return "[*]"
	}
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = d.String()
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// Join puts known shapes one after another; the result is never nil.
func Join(parts ...Shape) Shape {
	s := Shape{}
	for _, p := range parts {
		s = append(s, p...)
	}
	return s
}
