package conv

import "math"

// Kind is an activation that a convolution applies to its own output.
type Kind uint8

const (
	None Kind = iota
	Relu
	Clip      // to [Lo, Hi]
	LeakyRelu // x < 0 ? Alpha·x : x
	HardSwish // x · clip(x/6 + 1/2, 0, 1)
	Sigmoid
	Silu // x · sigmoid(x)
)

// Activation is a kind and its parameters; the zero value does nothing. NaN
// passes through every kind.
type Activation struct {
	Kind   Kind
	Lo, Hi float32 // Clip; Lo > Hi gives Hi, as ONNX says
	Alpha  float32 // LeakyRelu
}

// Apply is the definition of each activation.
func (a Activation) Apply(x float32) float32 {
	switch a.Kind {
	case Relu:
		return atLeast(x, 0)
	case Clip:
		return atMost(atLeast(x, a.Lo), a.Hi)
	case LeakyRelu:
		if x < 0 {
			return x * a.Alpha
		}
		return x
	case HardSwish:
		return x * atMost(atLeast(float32(x*(1.0/6))+0.5, 0), 1)
	case Sigmoid:
		return sigmoid(x)
	case Silu:
		return x * sigmoid(x)
	}
	return x
}

// atLeast and atMost let NaN through, unlike a comparison the other way round.
func atLeast(x, lo float32) float32 {
	if x < lo {
		return lo
	}
	return x
}

func atMost(x, hi float32) float32 {
	if x > hi {
		return hi
	}
	return x
}

func sigmoid(x float32) float32 {
	return float32(1 / (1 + math.Exp(-float64(x))))
}

// clamp is the part of the activation that a kernel does in registers.
func (a Activation) clamp() (lo, hi float32, ok bool) {
	switch a.Kind {
	case Relu:
		return 0, float32(math.Inf(1)), true
	case Clip:
		return a.Lo, a.Hi, true
	}
	return 0, 0, false
}

// after is true for the activations that follow as a pass over finished rows.
func (a Activation) after() bool {
	_, _, inRegisters := a.clamp()
	return a.Kind != None && !inRegisters
}
