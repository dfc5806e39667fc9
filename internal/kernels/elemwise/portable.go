package elemwise

import "math"

func portableUnary() (t [numOps]Func) {
	for op := range t {
		t[op] = throughFloat64(exact[op])
	}
	t[Abs] = each(func(x float32, _ Params) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) })
	t[Sign] = sign32
	t[Relu] = relu32
	t[Clip] = clip32
	t[HardSigmoid] = each(hardSigmoid32)
	t[HardSwish] = each(hardSwish32)
	t[Softsign] = each(softsign32)
	t[Affine] = affine32
	return t
}

func throughFloat64(f func(float64, Params) float64) Func {
	return func(dst, src []float32, p Params) {
		src = src[:len(dst)]
		for i, x := range src {
			dst[i] = float32(f(float64(x), p))
		}
	}
}

func each(f func(float32, Params) float32) Func {
	return func(dst, src []float32, p Params) {
		src = src[:len(dst)]
		for i, x := range src {
			dst[i] = f(x, p)
		}
	}
}

func relu32(dst, src []float32, _ Params) {
	src = src[:len(dst)]
	for i, x := range src {
		if x < 0 {
			x = 0
		}
		dst[i] = x
	}
}

// sign32 is without a branch, which would be hard to predict: 1 with x's sign, but for zeros and NaN.
func sign32(dst, src []float32, _ Params) {
	const signBit, one, inf = 1 << 31, 0x3f800000, 0x7f800000
	src = src[:len(dst)]
	for i, x := range src {
		b := math.Float32bits(x)
		y := b&signBit | one
		if b&^signBit-1 >= inf {
			y = b
		}
		dst[i] = math.Float32frombits(y)
	}
}

func clip32(dst, src []float32, p Params) {
	src = src[:len(dst)]
	lo, hi := p.A, p.B
	for i, x := range src {
		if x < lo {
			x = lo
		}
		if x > hi {
			x = hi
		}
		dst[i] = x
	}
}

func affine32(dst, src []float32, p Params) {
	src = src[:len(dst)]
	a, b := p.A, p.B
	for i, x := range src {
		dst[i] = float32(a*x) + b
	}
}

func hardSigmoid32(x float32, p Params) float32 { return unit(float32(p.A*x) + p.B) }

func hardSwish32(x float32, _ Params) float32 {
	return x * unit(float32(x*float32(1.0/6))+0.5)
}

// unit clips to [0, 1].
func unit(x float32) float32 {
	if x < 0 {
		x = 0
	}
	if x > 1 {
		x = 1
	}
	return x
}

func softsign32(x float32, _ Params) float32 {
	return x / (1 + float32(math.Abs(float64(x))))
}
