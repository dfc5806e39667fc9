package nbits

import (
	"errors"
	"fmt"
	"path"

	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// Method is how codes are chosen.
type Method uint8

// The methods.
const (
	RTN  Method = iota // rounding to nearest
	GPTQ               // needs samples
	AWQ                // needs samples
	HQQ
)

// String is the method's name, such as "gptq".
func (m Method) String() string { return [...]string{"weight-only", "gptq", "awq", "hqq"}[m] }

// Options of weight-only quantization.
type Options struct {
	Method Method
	// Scheme is how numbers are stored, of HQQ in 4 bits with zero points that are no
	// whole numbers unless Portable: integers of 2, 4 or 8 bits in groups of a
	// power of two from 16, NF4 likewise, or float8 with a scale for each output. Its
	// type of scales is that of the products.
	Scheme weight.Scheme
	// Bits are those of layers that have others than Scheme's, by name of the node:
	// see Spread.
	Bits map[string]int
	// MinMax covers all numbers of a group. Otherwise the range with the smallest
	// squared error is taken.
	MinMax bool
	// Portable writes standard operators of opset 21 only.
	Portable bool
	// AccuracyLevel is MatMulNBits' attribute: 0 and 1 keep activations in float32, 4
	// allows to round them to 8 bits in blocks, for which there are faster kernels.
	AccuracyLevel int
	// Embeddings quantizes the tables of Gather too. They are rounded to nearest.
	Embeddings bool
	// Damp, ActOrder and Sequential are those of GPTQ, Sequential of AWQ too.
	Damp                 float64
	ActOrder, Sequential bool
	// Samples are for GPTQ and AWQ; with them, errors of outputs are reported.
	Samples samples.Set
	// Memory bounds what is gathered at a time, in bytes; 0 stands for 1 GiB. What one
	// input needs is taken anyway.
	Memory int64
	// Ops are the operators to quantize, of MatMul, Gemm and Gather; nil is all.
	Ops []string
	// Exclude are patterns as of path.Match for names of nodes to leave as they are.
	Exclude []string
	Pool    *pool.Pool
	// Progress, if not nil, is told how many of how many steps are done.
	Progress func(done, all int)
}

// defaultMemory is what is gathered at a time by default.
const defaultMemory = 1 << 30

// complete checks the options and fills in what was left out.
func (o Options) complete() (Options, error) {
	s := &o.Scheme
	if o.Method == HQQ && s.Kind == weight.Int && s.Bits == 4 && !s.Symmetric && !o.Portable {
		s.FloatZero = true
	}
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	if err := o.Check(); err != nil {
		return o, err
	}
	if (o.Method == GPTQ || o.Method == AWQ) && (o.Samples == nil || o.Samples.Len() == 0) {
		return o, fmt.Errorf("%v looks at what layers read: it needs samples", o.Method)
	}
	return o, nil
}

// Check reports what cannot be asked for, whatever the model and the samples.
func (o *Options) Check() error {
	s := &o.Scheme
	if err := s.Check(); err != nil {
		return err
	}
	if err := o.checkScheme(); err != nil {
		return err
	}
	switch {
	case o.Method == HQQ && (s.Kind != weight.Int || s.Symmetric):
		return errors.New("HQQ chooses zero points: it needs integers that are not symmetric")
	case o.AccuracyLevel < 0 || o.AccuracyLevel > 4:
		return fmt.Errorf("the accuracy level is %d, expected 0 to 4", o.AccuracyLevel)
	case o.Damp < 0:
		return fmt.Errorf("damping is %g, expected 0 or more", o.Damp)
	case o.Embeddings && (o.Portable || s.Kind != weight.Int || s.Bits == 2):
		return errors.New("embeddings become com.microsoft's GatherBlockQuantized, which has 4 or 8 bits and is not standard")
	}
	for _, p := range o.Exclude {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("exclude %q: %w", p, err)
		}
	}
	return nil
}

// checkScheme refuses what no operator holds.
func (o *Options) checkScheme() error {
	s := &o.Scheme
	whole := s.Group == 0
	switch {
	case s.Kind == weight.MXFP4:
		return errors.New("ONNX has no operator for weights in mxfp4: expected integers, nf4 or float8")
	case s.Kind == weight.E4M3 || s.Kind == weight.E5M2:
		if !whole {
			return fmt.Errorf("%v has one scale for each output, not for groups of %d", s.Kind, s.Group)
		}
		return nil
	case s.Kind == weight.Int && s.Bits != 2 && s.Bits != 4 && s.Bits != 8:
		return fmt.Errorf("ONNX holds weights of 2, 4 or 8 bits, not %d", s.Bits)
	case s.Kind == weight.Int && s.Bits == 2 && o.Portable:
		return errors.New("standard ONNX of opset 21 holds weights of 4 or 8 bits, not 2")
	case whole && (!o.Portable || s.Kind != weight.Int):
		return errors.New("a scale for each output alone is only for integers in standard operators: give groups")
	case !whole && (s.Group < 16 || s.Group&(s.Group-1) != 0):
		return fmt.Errorf("groups have %d columns, expected a power of two from 16", s.Group)
	case s.FloatZero && (o.Portable || s.Bits != 4):
		return errors.New("zero points that are no whole numbers need com.microsoft's MatMulNBits of 4 bits")
	}
	return nil
}

// scheme is that of a layer.
func (o *Options) scheme(l *layer) weight.Scheme {
	s := o.Scheme
	s.Scale = l.weights.Const.DType
	if bits := o.Bits[l.node.Name]; bits != 0 && s.Kind == weight.Int {
		s.Bits = bits
	}
	return s
}

func (o *Options) told(done, all int) {
	if o.Progress != nil {
		o.Progress(done, all)
	}
}
