package jinja

import (
	"math"
	"math/big"
	"strconv"
)

func filterRound(in *interp, v any, a args) any {
	b := in.bind("round", a, "precision?", "method?")
	precision := in.int(b[0], 0)
	how := "common"
	if given(b[1]) {
		how = in.text("round", b[1])
	}
	if _, missing := v.(*undefined); !isNumber(v) && (how == "common" || !missing) {
		in.typeError("type %s doesn't define __round__ method", typeName(v))
	}
	switch how {
	case "common":
		return in.round(v, precision)
	case "ceil", "floor":
		in.refuse(v)
	default:
		in.fail("FilterArgumentError", "method must be common, ceil or floor")
	}
	scale := in.binary("**", int64(10), precision)
	x := in.toFloat(in.binary("*", v, scale))
	if math.IsNaN(x) || math.IsInf(x, 0) {
		in.fail("OverflowError", "cannot convert float infinity or NaN to integer")
	}
	if how == "ceil" {
		x = math.Ceil(x)
	} else {
		x = math.Floor(x)
	}
	return in.binary("/", normal(in.floor(x)), scale)
}

// round is Python's round(v, precision), which is correct for the decimal value of a float
// and rounds halves to even.
func (in *interp) round(v any, precision int64) any {
	f, isFloat := v.(float64)
	if isFloat {
		switch {
		case math.IsNaN(f) || math.IsInf(f, 0) || precision > 323:
			return f
		case precision < -308:
			return math.Copysign(0, f)
		case precision >= 0:
			r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(precision), 64), 64)
			return r
		}
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(-precision), nil)
		r := roundedQuotient(new(big.Rat).SetFloat64(f), scale)
		out, _ := new(big.Float).SetInt(r.Mul(r, scale)).Float64()
		return math.Copysign(out, f)
	}
	i, _ := asBig(v)
	if precision >= 0 {
		return normal(i)
	}
	if -precision > maxBits/3 {
		return int64(0)
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(-precision), nil)
	r := roundedQuotient(new(big.Rat).SetInt(i), scale)
	return normal(r.Mul(r, scale))
}

// roundedQuotient is x/scale to the nearest integer, halves to even.
func roundedQuotient(x *big.Rat, scale *big.Int) *big.Int {
	q := new(big.Rat).Quo(x, new(big.Rat).SetInt(scale))
	twice := new(big.Int).Lsh(q.Num(), 1)
	twice.Add(twice, q.Denom())
	floor := new(big.Int)
	rest := new(big.Int)
	floor.DivMod(twice, new(big.Int).Lsh(q.Denom(), 1), rest)
	if rest.Sign() == 0 && floor.Bit(0) == 1 { // a half, rounded up to odd
		floor.Sub(floor, big.NewInt(1))
	}
	return floor
}

func filterFilesize(in *interp, v any, a args) any {
	b := in.bind("filesizeformat", a, "binary?")
	size, ok := in.asFloat(v)
	if _, text := asString(v); !ok && !text {
		in.typeError("float() argument must be a string or a real number, not '%s'", typeName(v))
	}
	if !ok {
		in.fail("ValueError", "could not convert %s to float", in.repr(v))
	}
	base, names := 1000.0, []string{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"}
	if given(b[0]) && truth(b[0]) {
		base, names = 1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}
	}
	switch {
	case size == 1:
		return "1 Byte"
	case size < base:
		return in.floor(size).String() + " Bytes"
	}
	unit := base
	for i, name := range names {
		unit *= base
		if size < unit || i == len(names)-1 {
			return strconv.FormatFloat(base*size/unit, 'f', 1, 64) + " " + name
		}
	}
	return nil
}
