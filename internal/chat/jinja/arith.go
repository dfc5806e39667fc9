package jinja

import (
	"math"
	"math/big"
	"math/bits"
	"strings"
)

// maxBits bounds integers: Python itself refuses to print those beyond 4300 digits.
const maxBits = 14_000

func isNumber(v any) bool {
	switch v.(type) {
	case bool, int64, *big.Int, float64:
		return true
	}
	return false
}

// toFloat gives a number as a float.
func (in *interp) toFloat(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		if math.IsInf(f, 0) {
			in.fail("OverflowError", "int too large to convert to float")
		}
		return f
	}
	i, _ := asInt(v)
	return float64(i)
}

func (in *interp) negate(v any) any {
	switch v := v.(type) {
	case float64:
		return -v
	case *big.Int:
		return normal(new(big.Int).Neg(v))
	}
	i, ok := asInt(v)
	switch {
	case !ok:
		in.refuse(v)
		in.typeError("bad operand type for unary -: '%s'", typeName(v))
	case i == math.MinInt64:
		return new(big.Int).Neg(big.NewInt(i))
	}
	return -i
}

// binary is x op y for the operators + - * / // % **.
func (in *interp) binary(op string, x, y any) any {
	in.step(1)
	if isNumber(x) && isNumber(y) {
		return in.arithmetic(op, x, y)
	}
	in.refuse(x)
	text, isText := asString(x)
	if isText && op == "%" {
		return like(x, in.percent(text, y, isMarkup(x)))
	}
	in.refuse(y)
	switch op {
	case "+":
		if v, ok := in.join(x, y); ok {
			return v
		}
		if isText {
			in.typeError(`can only concatenate str (not "%s") to str`, typeName(y))
		}
	case "*":
		if n, ok := asInt(y); ok {
			if v, ok := in.repeat(x, n); ok {
				return v
			}
		}
		if n, ok := asInt(x); ok {
			if v, ok := in.repeat(y, n); ok {
				return v
			}
		}
	}
	in.typeError("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(x), typeName(y))
	return nil
}

func isMarkup(v any) bool {
	_, ok := v.(Markup)
	return ok
}

// join is x + y of two strings or sequences.
func (in *interp) join(x, y any) (any, bool) {
	a, ok := asString(x)
	b, ok2 := asString(y)
	if ok && ok2 {
		in.alloc(len(a) + len(b))
		if isMarkup(x) || isMarkup(y) {
			joined := in.escape(x) + in.escape(y)
			in.alloc(len(joined))
			return Markup(joined), true
		}
		return a + b, true
	}
	l, ok := x.(List)
	m, ok2 := y.(List)
	if ok && ok2 {
		in.items(len(l) + len(m))
		return append(append(make(List, 0, len(l)+len(m)), l...), m...), true
	}
	t, ok := sequence(x)
	u, ok2 := sequence(y)
	if _, list := x.(List); list || !ok || !ok2 {
		return nil, false
	}
	if _, list := y.(List); list {
		return nil, false
	}
	in.items(len(t) + len(u))
	return append(append(make(Tuple, 0, len(t)+len(u)), t...), u...), true
}

// repeat is x * n of a string or a sequence.
func (in *interp) repeat(x any, n int64) (any, bool) {
	n = max(n, 0)
	if s, ok := asString(x); ok {
		in.alloc(product(len(s), n))
		return like(x, strings.Repeat(s, repeats(len(s), n))), true
	}
	items, ok := sequence(x)
	if !ok {
		return nil, false
	}
	in.items(product(len(items), n))
	var out []any
	for range repeats(len(items), n) {
		out = append(out, items...)
	}
	if _, list := x.(List); list {
		return List(out), true
	}
	return Tuple(out), true
}

// product is a·n, or the largest int if that is more.
func product(a int, n int64) int {
	hi, lo := bits.Mul64(uint64(a), uint64(n))
	if hi != 0 || lo > math.MaxInt32 {
		return math.MaxInt
	}
	return int(lo)
}

// repeats avoids counting to n for what is empty.
func repeats(size int, n int64) int {
	if size == 0 {
		return 0
	}
	return int(n)
}

func (in *interp) arithmetic(op string, x, y any) any {
	_, fx := x.(float64)
	_, fy := y.(float64)
	if op == "/" || fx || fy {
		return in.floatOp(op, in.toFloat(x), in.toFloat(y))
	}
	a, okA := asInt(x)
	b, okB := asInt(y)
	if okA && okB {
		if v, ok := smallOp(op, a, b); ok {
			return v
		}
	}
	bigX, _ := asBig(x)
	bigY, _ := asBig(y)
	return in.bigOp(op, bigX, bigY)
}

// smallOp calculates where nothing can overflow and nothing divides by zero.
func smallOp(op string, a, b int64) (any, bool) {
	const half = 1 << 31
	switch {
	case op == "+" && (a+b > a) == (b > 0):
		return a + b, true
	case op == "-" && (a-b < a) == (b > 0):
		return a - b, true
	case op == "*" && a > -half && a < half && b > -half && b < half:
		return a * b, true
	case (op == "//" || op == "%") && b > 0:
		q, r := a/b, a%b
		if r < 0 {
			q, r = q-1, r+b
		}
		if op == "//" {
			return q, true
		}
		return r, true
	}
	return nil, false
}

func (in *interp) bigOp(op string, x, y *big.Int) any {
	z := new(big.Int)
	switch op {
	case "+":
		z.Add(x, y)
	case "-":
		z.Sub(x, y)
	case "*":
		z.Mul(x, y)
	case "//", "%":
		if y.Sign() == 0 {
			in.fail("ZeroDivisionError", "integer division or modulo by zero")
		}
		r := new(big.Int)
		z.QuoRem(x, y, r)
		if r.Sign() != 0 && r.Sign() != y.Sign() {
			z.Sub(z, big.NewInt(1))
			r.Add(r, y)
		}
		if op == "%" {
			z = r
		}
	case "**":
		if y.Sign() < 0 {
			return in.floatOp(op, in.toFloat(x), in.toFloat(y))
		}
		if x.CmpAbs(big.NewInt(1)) > 0 && (!y.IsInt64() || y.Int64() > maxBits || y.Int64()*int64(x.BitLen()-1) > maxBits) {
			in.limit("integers", maxBits, "bits")
		}
		if x.CmpAbs(big.NewInt(1)) <= 0 && y.Sign() != 0 { // only the exponent's parity matters
			y = big.NewInt(2 - int64(y.Bit(0)))
		}
		z.Exp(x, y, nil)
	}
	if z.BitLen() > maxBits {
		in.limit("integers", maxBits, "bits")
	}
	return normal(z)
}

func (in *interp) floatOp(op string, x, y float64) any {
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "**":
		return in.power(x, y)
	}
	if y == 0 {
		in.fail("ZeroDivisionError", "float division by zero")
	}
	if op == "/" {
		return x / y
	}
	div, mod := floatDivMod(x, y)
	if op == "//" {
		return div
	}
	return mod
}

func (in *interp) power(x, y float64) any {
	switch {
	case x == 0 && y < 0:
		in.fail("ZeroDivisionError", "0.0 cannot be raised to a negative power")
	case x < 0 && y != math.Trunc(y) && !math.IsInf(x, 0):
		in.fail("ValueError", "a negative number to a fractional power is complex, which is not supported")
	}
	z := math.Pow(x, y)
	if math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		in.fail("OverflowError", "(34, 'Numerical result out of range')")
	}
	return z
}

// floatDivMod is Python's divmod of floats: the remainder has the divisor's sign.
func floatDivMod(x, y float64) (div, mod float64) {
	mod = math.Mod(x, y)
	div = (x - mod) / y
	if mod == 0 {
		mod = math.Copysign(0, y)
	} else if (y < 0) != (mod < 0) {
		mod += y
		div--
	}
	if div == 0 {
		return math.Copysign(0, x/y), mod
	}
	floor := math.Floor(div)
	if div-floor > 0.5 {
		floor++
	}
	return floor, mod
}
