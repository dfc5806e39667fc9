// Package shape does arithmetic on symbolic dimensions. A dimension is a
// polynomial with integer coefficients over named sizes ("batch", "seq"), so
// that shape arithmetic in a graph can be compared without knowing the sizes.
package shape

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Dim is one dimension: a constant, or a polynomial over symbols in canonical
// form. The zero value is the constant 0. Compare with Equal.
type Dim struct {
	c     int
	terms []term // sorted by key, no zero coefficients
}

// term is coef × the product of factors.
type term struct {
	coef    int
	factors []string // sorted atoms: symbol names, or the text of a quotient
}

func (t term) key() string { return strings.Join(t.factors, "*") }

// Const is the dimension n.
func Const(n int) Dim { return Dim{c: n} }

// Sym is the dimension called name. Equal names are equal sizes.
func Sym(name string) Dim { return Dim{terms: []term{{1, []string{name}}}} }

var unknowns atomic.Int64

// Unknown is a dimension about which nothing is known: it equals only itself.
func Unknown() Dim { return Sym("?" + strconv.FormatInt(unknowns.Add(1), 10)) }

// IsUnknown reports whether d was made by Unknown (or is computed from one).
func (d Dim) IsUnknown() bool {
	for _, t := range d.terms {
		for _, f := range t.factors {
			if strings.Contains(f, "?") {
				return true
			}
		}
	}
	return false
}

// Int gives the value of a constant dimension.
func (d Dim) Int() (int, bool) { return d.c, len(d.terms) == 0 }

// Is reports whether d is the constant n.
func (d Dim) Is(n int) bool { return len(d.terms) == 0 && d.c == n }

// Equal reports whether a and b are the same for all values of the symbols.
func (d Dim) Equal(e Dim) bool {
	if d.c != e.c || len(d.terms) != len(e.terms) {
		return false
	}
	for i, t := range d.terms {
		if t.coef != e.terms[i].coef || !slices.Equal(t.factors, e.terms[i].factors) {
			return false
		}
	}
	return true
}

// Add is d + e.
func (d Dim) Add(e Dim) Dim {
	if len(d.terms) == 0 && len(e.terms) == 0 { // as all are when a plan is made
		return Const(d.c + e.c)
	}
	return normalize(d.c+e.c, append(slices.Clone(d.terms), e.terms...))
}

// Neg is -d.
func (d Dim) Neg() Dim { return d.Mul(Const(-1)) }

// Sub is d - e.
func (d Dim) Sub(e Dim) Dim { return d.Add(e.Neg()) }

// Mul is d × e.
func (d Dim) Mul(e Dim) Dim {
	if len(d.terms) == 0 && len(e.terms) == 0 {
		return Const(d.c * e.c)
	}
	a, b := d.all(), e.all()
	var out []term
	for _, x := range a {
		for _, y := range b {
			f := append(slices.Clone(x.factors), y.factors...)
			slices.Sort(f)
			out = append(out, term{x.coef * y.coef, f})
		}
	}
	return normalize(0, out)
}

// Div is the floor of d / e. It is exact where every coefficient divides, and
// an opaque symbol otherwise.
func (d Dim) Div(e Dim) Dim {
	if n, ok := e.Int(); ok && n != 0 {
		if m, ok := d.Int(); ok {
			return Const(floorDiv(m, n))
		}
		if n == 1 {
			return d
		}
		if q, ok := d.divConst(n); ok {
			return q
		}
	}
	if d.Equal(e) && len(d.terms) > 0 {
		return Const(1)
	}
	if q, ok := d.divTerm(e); ok {
		return q
	}
	return Sym("floor((" + d.String() + ")/(" + e.String() + "))")
}

// DivCeil is the ceiling of d / n for a constant n > 0.
func (d Dim) DivCeil(n int) Dim { return d.Add(Const(n - 1)).Div(Const(n)) }

func (d Dim) divConst(n int) (Dim, bool) {
	var exact []term
	rest := 0
	for _, t := range d.terms {
		if t.coef%n != 0 {
			return Dim{}, false
		}
		exact = append(exact, term{t.coef / n, t.factors})
	}
	rest = floorDiv(d.c, n) // floor((n·p + c)/n) = p + floor(c/n)
	return normalize(rest, exact), true
}

// divTerm divides by a single monomial that is a factor of every term.
func (d Dim) divTerm(e Dim) (Dim, bool) {
	if e.c != 0 || len(e.terms) != 1 || d.c != 0 {
		return Dim{}, false
	}
	q := e.terms[0]
	var out []term
	for _, t := range d.terms {
		f := slices.Clone(t.factors)
		for _, x := range q.factors {
			i := slices.Index(f, x)
			if i < 0 {
				return Dim{}, false
			}
			f = slices.Delete(f, i, i+1)
		}
		if t.coef%q.coef != 0 {
			return Dim{}, false
		}
		out = append(out, term{t.coef / q.coef, f})
	}
	return normalize(0, out), true
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func (d Dim) all() []term {
	if d.c == 0 {
		return d.terms
	}
	return append([]term{{d.c, nil}}, d.terms...)
}

func normalize(c int, ts []term) Dim {
	slices.SortStableFunc(ts, func(a, b term) int { return strings.Compare(a.key(), b.key()) })
	var out []term
	for _, t := range ts {
		if len(t.factors) == 0 {
			c += t.coef
			continue
		}
		if n := len(out); n > 0 && slices.Equal(out[n-1].factors, t.factors) {
			out[n-1].coef += t.coef
			continue
		}
		out = append(out, t)
	}
	out = slices.DeleteFunc(out, func(t term) bool { return t.coef == 0 })
	return Dim{c: c, terms: out}
}

// String writes the polynomial, e.g. "2*seq+1"; unknown dimensions read "?N".
func (d Dim) String() string {
	if len(d.terms) == 0 {
		return strconv.Itoa(d.c)
	}
	var b strings.Builder
	for i, t := range d.terms {
		if t.coef >= 0 && i > 0 {
			b.WriteByte('+')
		}
		switch t.coef {
		case 1:
		case -1:
			b.WriteByte('-')
		default:
			fmt.Fprintf(&b, "%d*", t.coef)
		}
		b.WriteString(t.key())
	}
	if d.c > 0 {
		b.WriteByte('+')
	}
	if d.c != 0 {
		b.WriteString(strconv.Itoa(d.c))
	}
	return b.String()
}

// NonNegative reports whether d is at least 0 whatever the sizes are. Nothing
// is known of an Unknown.
func (d Dim) NonNegative() bool {
	if d.c < 0 || d.IsUnknown() {
		return false
	}
	for _, t := range d.terms {
		if t.coef < 0 || strings.Contains(t.key(), "-") {
			return false
		}
	}
	return true
}

// Mentions reports whether d may depend on the symbol e (a dimension made by
// Sym). It errs on the side of yes for opaque quotients.
func (d Dim) Mentions(e Dim) bool {
	name := e.String()
	for _, t := range d.terms {
		for _, f := range t.factors {
			if strings.Contains(f, name) {
				return true
			}
		}
	}
	return false
}
