package arch

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
)

// Rope is rotary position embedding (arXiv 2104.09864) and how it is stretched
// to longer contexts.
type Rope struct {
	Base      float64 // θ
	LocalBase float64 // θ of the layers with a sliding window; 0: Base
	Dim       int     // elements of a head that are turned
	Scaling   string  // "", "linear", "yarn", "llama3", "longrope"
	Factor    float64
	Original  int     // the context that the model was trained for before it was stretched
	LowFreq   float64 // of llama3
	HighFreq  float64
	BetaFast  float64 // of yarn
	BetaSlow  float64
	Fractions bool    // of yarn: its ramp may begin and end between two pairs
	AttnScale float64 // of yarn and longrope: multiplies cosines and sines; 0: as the paper has it
	// Short and Long are longrope's divisors of the frequencies: for contexts up
	// to Original, and beyond.
	Short, Long []float64
}

func (r *Rope) check(head int) error {
	switch {
	case r.Dim < 0 || r.Dim > head || r.Dim%2 != 0:
		return fmt.Errorf("rotary embedding turns %d of a head's %d elements: expected an even number of them", r.Dim, head)
	case r.Dim == 0:
		return nil
	case !isBase(r.Base) || r.LocalBase != 0 && !isBase(r.LocalBase):
		return fmt.Errorf("the bases of rotary embeddings are %v and %v, expected finite numbers of more than 1", r.Base, r.LocalBase)
	case r.Scaling != "" && (!(r.Factor > 0) || r.Original < 1):
		return fmt.Errorf("rotary embedding is stretched %v times from a context of %d: expected positive numbers", r.Factor, r.Original)
	case r.Scaling == "llama3" && !(r.LowFreq > 0 && r.HighFreq > r.LowFreq):
		return fmt.Errorf("low_freq_factor is %v and high_freq_factor %v, expected a positive one and a larger one", r.LowFreq, r.HighFreq)
	case r.Scaling == "yarn" && !(r.BetaSlow > 0 && r.BetaFast > r.BetaSlow):
		return fmt.Errorf("beta_slow is %v and beta_fast %v, expected a positive one and a larger one", r.BetaSlow, r.BetaFast)
	case len(r.Short)+len(r.Long) > 0 && (len(r.Short) != r.Dim/2 || len(r.Long) != r.Dim/2):
		return fmt.Errorf("longrope has %d short and %d long factors, expected %d of each", len(r.Short), len(r.Long), r.Dim/2)
	}
	return nil
}

func isBase(b float64) bool { return b > 1 && !math.IsInf(b, 1) }

// frequencies are the angles by which a pair turns from one token to the next,
// and the factor for cosines and sines. divisors, which a file may have, divide them.
func (r *Rope) frequencies(divisors []float64) (f []float32, scale float32, err error) {
	n := r.Dim / 2
	f = make([]float32, n)
	for i := range f {
		w := math.Pow(r.Base, -2*float64(i)/float64(r.Dim))
		switch r.Scaling {
		case "", "longrope":
		case "linear":
			w /= r.Factor
		case "llama3":
			w = r.llama3(w)
		case "yarn":
			w = r.yarn(w, i)
		default:
			return nil, 0, fmt.Errorf("rope scaling %q is not supported; known are linear, yarn, llama3 and longrope", r.Scaling)
		}
		if divisors != nil {
			w /= divisors[i]
		}
		f[i] = float32(w)
	}
	return f, float32(r.attention()), nil
}

// attention is the factor of cosines and sines.
func (r *Rope) attention() float64 {
	switch {
	case r.AttnScale != 0:
		return r.AttnScale
	case r.Scaling == "yarn":
		return yarnScale(r.Factor, 1)
	case r.Scaling == "longrope" && r.Factor > 1: // arXiv 2402.13753
		return math.Sqrt(1 + math.Log(r.Factor)/math.Log(float64(r.Original)))
	}
	return 1
}

// llama3 leaves short waves alone, stretches long ones, and blends between.
func (r *Rope) llama3(w float64) float64 {
	wave := 2 * math.Pi / w
	low, high := float64(r.Original)/r.LowFreq, float64(r.Original)/r.HighFreq
	switch {
	case wave < high:
		return w
	case wave > low:
		return w / r.Factor
	}
	smooth := (float64(r.Original)/wave - r.LowFreq) / (r.HighFreq - r.LowFreq)
	return (1-smooth)*w/r.Factor + smooth*w
}

// yarn is arXiv 2309.00071: a ramp between stretching and leaving alone.
func (r *Rope) yarn(w float64, i int) float64 {
	at := func(rotations float64) float64 {
		return float64(r.Dim) * math.Log(float64(r.Original)/(rotations*2*math.Pi)) / (2 * math.Log(r.Base))
	}
	low, high := at(r.BetaFast), at(r.BetaSlow)
	if !r.Fractions {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(r.Dim-1))
	ramp := min(max((float64(i)-low)/max(high-low, .001), 0), 1)
	return w/r.Factor*ramp + w*(1-ramp)
}

// Rotary turns heads by their tokens' positions; local says with the angles of
// layers that have a sliding window.
func (b *Builder) Rotary(x *ir.Value, heads int, local bool) *ir.Value {
	attrs := map[string]*ir.Attr{"heads": ir.Int(heads), "interleaved": ir.Int(0)}
	if b.interleaved {
		attrs["interleaved"] = ir.Int(1)
	}
	return b.Node("salver::Rotary", attrs, x, b.rotaryTable(local && b.Rope.LocalBase != 0))
}

// rotaryTable is made once for each kind of layer.
func (b *Builder) rotaryTable(local bool) *ir.Value {
	label, r := "frequencies", b.Rope
	if local { // never stretched
		label, r = "frequencies_local", Rope{Base: r.LocalBase, Dim: r.Dim}
	}
	if t, ok := b.tables[label]; ok || b.err != nil {
		return t
	}
	var divisors []float64
	if !local {
		divisors = b.divisors()
	}
	f, scale, err := r.frequencies(divisors)
	if err != nil {
		b.Fail("%w", err)
		return nil
	}
	scope := b.scope
	b.scope = ""
	b.tables[label] = b.Node("salver::RotaryTable", map[string]*ir.Attr{"scale": ir.Float(scale)}, b.inputs["positions"], b.Const(label, f))
	b.scope = scope
	return b.tables[label]
}

// divisors of the frequencies are a tensor of the file, or longrope's.
func (b *Builder) divisors() []float64 {
	r := &b.Rope
	short, long := b.wide("rope_factors_short.weight", r.Short), b.wide("rope_factors_long.weight", r.Long)
	switch {
	case b.Has("rope_freqs.weight"):
		return b.wide("rope_freqs.weight", nil)
	case short == nil || long == nil:
		if r.Scaling == "longrope" {
			b.Fail("longrope needs short and long factors, and has %d and %d", len(short), len(long))
		}
		return nil
	case b.options.Context > r.Original:
		return long
	}
	return short
}

// wide gives numbers of the file, or else those that are given.
func (b *Builder) wide(name string, otherwise []float64) []float64 {
	if !b.Has(name) {
		return otherwise
	}
	var out []float64
	for _, v := range b.Vector(name, b.Rope.Dim/2) {
		if !(v > 0) {
			b.Fail("tensor %q has the number %v, expected positive ones", name, v)
		}
		out = append(out, float64(v))
	}
	return out
}
