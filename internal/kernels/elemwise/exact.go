package elemwise

import "math"

// exact holds the functions in float64: the definition of each Op, the kernels
// for float64 tensors, and the oracle of the vector kernels.
var exact = [numOps]func(x float64, p Params) float64{
	Abs:        func(x float64, _ Params) float64 { return math.Abs(x) },
	Neg:        func(x float64, _ Params) float64 { return -x },
	Sign:       func(x float64, _ Params) float64 { return sign(x) },
	Floor:      func(x float64, _ Params) float64 { return math.Floor(x) },
	Ceil:       func(x float64, _ Params) float64 { return math.Ceil(x) },
	Round:      func(x float64, _ Params) float64 { return math.RoundToEven(x) },
	Sqrt:       func(x float64, _ Params) float64 { return math.Sqrt(x) },
	Reciprocal: func(x float64, _ Params) float64 { return 1 / x },
	Square:     func(x float64, _ Params) float64 { return x * x },
	Exp:        func(x float64, _ Params) float64 { return math.Exp(x) },
	Log:        func(x float64, _ Params) float64 { return math.Log(x) },
	Sin:        func(x float64, _ Params) float64 { return math.Sin(x) },
	Cos:        func(x float64, _ Params) float64 { return math.Cos(x) },
	Tan:        func(x float64, _ Params) float64 { return math.Tan(x) },
	Asin:       func(x float64, _ Params) float64 { return math.Asin(x) },
	Acos:       func(x float64, _ Params) float64 { return math.Acos(x) },
	Atan:       func(x float64, _ Params) float64 { return math.Atan(x) },
	Sinh:       func(x float64, _ Params) float64 { return math.Sinh(x) },
	Cosh:       func(x float64, _ Params) float64 { return math.Cosh(x) },
	Asinh:      func(x float64, _ Params) float64 { return math.Asinh(x) },
	Acosh:      func(x float64, _ Params) float64 { return math.Acosh(x) },
	Atanh:      func(x float64, _ Params) float64 { return math.Atanh(x) },
	Tanh:       func(x float64, _ Params) float64 { return math.Tanh(x) },
	Sigmoid:    func(x float64, _ Params) float64 { return sigmoid(x) },
	Erf:        func(x float64, _ Params) float64 { return math.Erf(x) },
	Gelu:       func(x float64, _ Params) float64 { return timesTail(x, math.Erfc(-x/math.Sqrt2)/2) },
	GeluTanh:   func(x float64, _ Params) float64 { return geluTanh(x) },
	Silu:       func(x float64, p Params) float64 { return timesTail(x, sigmoid(float64(p.A)*x)) },
	HardSigmoid: func(x float64, p Params) float64 {
		return clip(float64(float64(p.A)*x)+float64(p.B), 0, 1)
	},
	HardSwish: func(x float64, _ Params) float64 { return x * clip(float64(x*(1.0/6))+0.5, 0, 1) },
	Mish:      func(x float64, _ Params) float64 { return timesTail(x, math.Tanh(softplus(x))) },
	Softplus:  func(x float64, _ Params) float64 { return softplus(x) },
	Softsign:  func(x float64, _ Params) float64 { return x / (1 + math.Abs(x)) },
	Elu: func(x float64, p Params) float64 {
		if x > 0 {
			return float64(p.B) * x
		}
		return float64(p.A) * math.Expm1(float64(p.C)*x)
	},
	LeakyRelu: func(x float64, p Params) float64 {
		if x < 0 {
			return float64(p.A) * x
		}
		return x
	},
	ThresholdedRelu: func(x float64, p Params) float64 {
		if x > float64(p.A) || x != x {
			return x
		}
		return 0
	},
	Relu: func(x float64, _ Params) float64 {
		if x < 0 {
			return 0
		}
		return x
	},
	Clip: func(x float64, p Params) float64 { return clip(x, float64(p.A), float64(p.B)) },
	Shrink: func(x float64, p Params) float64 {
		switch l, b := float64(p.A), float64(p.B); {
		case x < -l:
			return x + b
		case x > l:
			return x - b
		case x != x:
			return x
		}
		return 0
	},
	Affine: func(x float64, p Params) float64 { return float64(float64(p.A)*x) + float64(p.B) },
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

// clip leaves NaN as it is.
func clip(x, lo, hi float64) float64 {
	if x < lo {
		x = lo
	}
	if x > hi {
		x = hi
	}
	return x
}

// sigmoid is accurate in the tail of negative x as well.
func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

func softplus(x float64) float64 {
	return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
}

// timesTail is x·t, where t goes to 0 faster than x to -Inf: 0 there, not NaN.
func timesTail(x, t float64) float64 {
	if math.IsInf(x, -1) {
		return math.Copysign(0, -1)
	}
	return x * t
}

func geluTanh(x float64) float64 {
	const c1, c2 = 1.5957691216057308, 0.07135481627260025 // 2√(2/π) and 0.044715 times that
	return timesTail(x, sigmoid(x*(c1+float64(c2*float64(x*x)))))
}
