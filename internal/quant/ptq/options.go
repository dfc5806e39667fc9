package ptq

import (
	"fmt"
	"path"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pool"
)

// Precision is what a node may be kept at instead of 8 bits.
type Precision uint8

// The precisions, the least accurate first.
const (
	Int8    Precision = iota // as Options say
	Int16                    // 8-bit weights, 16-bit activations
	Float32                  // not quantized
)

var precisionNames = [...]string{"int8", "int16", "float32"}

// String names the precision as reports do, e.g. "int16".
func (p Precision) String() string { return precisionNames[p] }

// Format is how a quantized graph is spelled.
type Format uint8

// The formats.
const (
	QDQ       Format = iota // QuantizeLinear and DequantizeLinear around the operators of the original
	QOperator               // QLinearConv, QLinearMatMul and, with Options.Contrib, onnxruntime's QLinear operators
)

// Options of static and dynamic quantization. The zero value is what most want:
// activations of uint8 with a zero point, weights of int8 with one scale for
// each output channel, written as QDQ.
type Options struct {
	// Activations is Uint8, Int8, Uint16 or Int16; Invalid is Uint8.
	Activations dtype.Type
	// Symmetric gives activations their zero point in the middle of the range.
	Symmetric bool
	// Weights is Int8 or Uint8; Invalid is Int8.
	Weights dtype.Type
	// AsymmetricWeights gives weights a zero point. Our kernels are slower then.
	AsymmetricWeights bool
	// PerTensor gives each weight tensor one scale, not one for each channel.
	PerTensor bool
	// ReduceRange leaves one bit of weights unused: onnxruntime's kernels on CPUs
	// without VNNI add up pairs of products in 16 bits.
	ReduceRange bool
	// PerRow gives each row of activations a scale of its own, in dynamic quantization.
	PerRow bool
	Format Format
	// Contrib allows operators of com.microsoft in QOperator graphs.
	Contrib bool
	// Ops are the operators to quantize; nil is all that can be.
	Ops []string
	// Exclude are patterns as of path.Match for names of nodes to leave as they are.
	Exclude []string
	// Keep says for nodes of the prepared graph, by name, what they are computed in.
	Keep map[string]Precision
	Pool *pool.Pool
}

// complete checks the options and fills in what was left out.
func (o Options) complete() (Options, error) {
	if o.Activations == dtype.Invalid {
		o.Activations = dtype.Uint8
	}
	if o.Weights == dtype.Invalid {
		o.Weights = dtype.Int8
	}
	switch o.Activations {
	case dtype.Uint8, dtype.Int8, dtype.Uint16, dtype.Int16:
	default:
		return o, fmt.Errorf("activations of %s: expected uint8, int8, uint16 or int16", o.Activations)
	}
	if o.Weights != dtype.Int8 && o.Weights != dtype.Uint8 {
		return o, fmt.Errorf("weights of %s: expected int8 or uint8", o.Weights)
	}
	if o.ReduceRange && (o.Weights != dtype.Int8 || o.AsymmetricWeights) {
		return o, fmt.Errorf("a reduced range is for symmetric int8 weights")
	}
	for _, p := range o.Exclude {
		if _, err := path.Match(p, ""); err != nil {
			return o, fmt.Errorf("exclude %q: %w", p, err)
		}
	}
	return o, nil
}

// precision says what a node is computed in, and why if that is not Int8.
func (o *Options) precision(n *ir.Node) (p Precision, why string) {
	for _, pattern := range o.Exclude {
		if ok, _ := path.Match(pattern, n.Name); ok { // complete has checked the pattern
			return Float32, fmt.Sprintf("excluded by %q", pattern)
		}
	}
	if p := o.Keep[n.Name]; p != Int8 {
		return p, "kept"
	}
	return Int8, ""
}
