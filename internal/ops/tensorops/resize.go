package tensorops

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	o := op.Op{
		Name: "Resize", Doc: "changes the size of images by nearest, linear or cubic interpolation along each axis",
		Out: op.Ports("Y:T1"), Types: op.Types{"T1": op.AllTensors, "T2": op.Floats},
		Infer: resizeInfer, Ref: resizeRef, Compile: compileResize,
		Rows: sameAxis(func(n *ir.Node, axis int) bool {
			return changesSize(n, axis) || n.Str("coordinate_transformation_mode") == "tf_crop_and_resize"
		}),
	}
	mode := op.Default(ir.Str("nearest"))
	register := func(name string, in []op.Port, attrs op.Attrs, cases op.Cases, versions ...int) {
		o := o
		o.Name, o.In, o.Attrs, o.Versions, o.Cases = name, in, attrs, versions, cases
		op.Register(&o)
	}
	attrs := func() op.Attrs {
		return op.Attrs{
			"mode": mode, "coordinate_transformation_mode": op.Default(ir.Str("half_pixel")), "cubic_coeff_a": op.Default(ir.Float(-0.75)),
			"exclude_outside": op.Default(ir.Int(0)), "extrapolation_value": op.Default(ir.Float(0)), "nearest_mode": op.Default(ir.Str("round_prefer_floor")),
		}
	}
	scaled := op.Ports("X:T1", "scales:float32")
	register("Upsample", op.Ports("X:T1"), op.Attrs{"mode": mode, "scales": op.Required(ir.KindFloats)}, nil, 7)
	register("Upsample", scaled, op.Attrs{"mode": mode}, upsampleCases{}, 9)
	register("Resize", scaled, op.Attrs{"mode": mode}, nil, 10)
	register("Resize", op.Ports("X:T1", "roi:T2", "scales:float32", "sizes:int64?"), attrs(), nil, 11)
	optional := op.Ports("X:T1", "roi:T2?", "scales:float32?", "sizes:int64?")
	register("Resize", optional, attrs(), nil, 13)
	newest := attrs()
	newest["antialias"], newest["axes"] = op.Default(ir.Int(0)), op.Opt(ir.KindInts)
	newest["keep_aspect_ratio_policy"] = op.Default(ir.Str("stretch"))
	register("Resize", optional, newest, resizeCases{}, 18, 19)
}

// resizing is a Resize or Upsample with its operands: what is wanted of each
// axis of the input.
type resizing struct {
	coord, mode, nearest string
	cubicA               float64
	exclude, antialias   bool
	extrapolation        float64
	axes                 []axisSize
}

// axisSize is one axis: its sizes, the scale between them, and the part of the
// input that is shown, from 0 to 1 (tf_crop_and_resize).
type axisSize struct {
	in, out    int
	scale      float64
	start, end float64
}

// newResizing reads the attributes. Versions before 11 have neither coordinate
// modes nor rounding modes: they are asymmetric, and round down when they
// enlarge and up when they shrink.
func newResizing(n *ir.Node) resizing {
	r := resizing{
		coord: n.Str("coordinate_transformation_mode"), mode: n.Str("mode"), nearest: n.Str("nearest_mode"),
		cubicA: float64(n.Float("cubic_coeff_a")), exclude: n.Bool("exclude_outside"), antialias: n.Bool("antialias"),
		extrapolation: float64(n.Float("extrapolation_value")),
	}
	if r.coord == "" {
		r.coord, r.nearest = "asymmetric", "simple"
	}
	if r.mode == "bilinear" {
		r.mode = "linear"
	}
	return r
}

// operands are the inputs of a Resize, nil where absent or empty.
type operands struct {
	scales []float32
	sizes  []int
	roi    []float64
}

// resolve computes the sizes of all axes.
func (r *resizing) resolve(n *ir.Node, in []int, o operands) error {
	axes := n.Ints("axes")
	if axes == nil {
		for i := range in {
			axes = append(axes, i)
		}
	}
	axes, err := op.Axes(axes, len(in))
	if err != nil {
		return err
	}
	r.axes = make([]axisSize, len(in))
	for i, d := range in {
		r.axes[i] = axisSize{in: d, out: d, scale: 1, end: 1}
	}
	switch {
	case o.scales != nil && o.sizes != nil:
		return fmt.Errorf("expected scales or sizes, found both")
	case o.sizes != nil:
		err = r.bySizes(axes, o.sizes, n.Str("keep_aspect_ratio_policy"))
	default:
		err = r.byScales(axes, o.scales)
	}
	if err != nil {
		return err
	}
	if len(o.roi) > 0 && r.coord == "tf_crop_and_resize" {
		if len(o.roi) != 2*len(axes) {
			return fmt.Errorf("roi: expected %d numbers, a start and an end for each axis, found %d", 2*len(axes), len(o.roi))
		}
		for i, a := range axes {
			r.axes[a].start, r.axes[a].end = o.roi[i], o.roi[i+len(axes)]
		}
	}
	dims := r.outDims()
	return tensor.CheckSize(dims)
}

func (r *resizing) outDims() []int {
	dims := make([]int, len(r.axes))
	for i, a := range r.axes {
		dims[i] = a.out
	}
	return dims
}

func (r *resizing) byScales(axes []int, scales []float32) error {
	if len(scales) != len(axes) {
		return fmt.Errorf("scales: expected %d numbers, one for each axis, found %d", len(axes), len(scales))
	}
	for i, a := range axes {
		s := float64(scales[i])
		size := scaledSize(r.axes[a].in, scales[i])
		if !(s > 0) || size > tensor.MaxElements {
			return fmt.Errorf("scales[%d] is %v, expected a positive number that keeps the size below %d", i, s, tensor.MaxElements)
		}
		r.axes[a].scale, r.axes[a].out = s, int(size)
	}
	return nil
}

func (r *resizing) bySizes(axes, sizes []int, policy string) error {
	if len(sizes) != len(axes) {
		return fmt.Errorf("sizes: expected %d numbers, one for each axis, found %d", len(axes), len(sizes))
	}
	common := 0.
	for i, a := range axes {
		x := &r.axes[a]
		if sizes[i] < 0 || x.in == 0 && sizes[i] > 0 {
			return fmt.Errorf("sizes[%d] is %d for an axis of size %d, expected at least 0, and 0 for an empty axis", i, sizes[i], x.in)
		}
		x.out = sizes[i]
		if x.in > 0 {
			x.scale = float64(x.out) / float64(x.in)
		}
		if i == 0 || (policy == "not_larger") == (x.scale < common) {
			common = x.scale
		}
	}
	switch policy {
	case "stretch", "":
		return nil
	case "not_larger", "not_smaller":
	default:
		return fmt.Errorf("keep_aspect_ratio_policy: expected stretch, not_larger or not_smaller, found %q", policy)
	}
	for _, a := range axes {
		r.axes[a].scale, r.axes[a].out = common, int(common*float64(r.axes[a].in)+0.5)
	}
	return nil
}

// ports gives the indices of the inputs scales, sizes and roi, or -1.
func resizePorts(n *ir.Node) (scales, sizes, roi int) {
	if n.Op == "Upsample" || n.Opset < 11 {
		return 1, -1, -1
	}
	return 2, 3, 1
}

// operandsOfFacts reads the operands that are constants; known is false where
// one is not.
func operandsOfFacts(n *ir.Node, in []op.Fact) (o operands, known bool) {
	scales, sizes, roi := resizePorts(n)
	get := func(i int) op.Fact {
		if i < 0 || i >= len(in) {
			return op.Fact{}
		}
		return in[i]
	}
	known = true
	o.scales = n.Floats("scales")
	if f := get(scales); f.Present {
		known = f.Const != nil || emptyVector(f)
		if f.Const != nil && f.Const.Len() > 0 {
			o.scales = tensor.Of[float32](f.Const)
		}
	}
	if f := get(sizes); f.Present && !emptyVector(f) {
		v, ok := f.Ints()
		known = known && ok
		if len(v) > 0 {
			o.sizes = v
		}
	}
	if f := get(roi); f.Present && n.Str("coordinate_transformation_mode") == "tf_crop_and_resize" {
		known = known && f.Const != nil
		if f.Const != nil {
			o.roi = num.Floats(f.Const)
		}
	}
	return o, known
}

func emptyVector(f op.Fact) bool { return len(f.Shape) == 1 && f.Shape[0].Is(0) }

func resizeInfer(c *op.Infer) error {
	x := c.In[0]
	if x.Shape == nil {
		c.Set(0, x.DType, nil)
		return nil
	}
	o, known := operandsOfFacts(c.Node, c.In)
	in, fixed := x.Shape.Ints()
	if known && fixed {
		r := newResizing(c.Node)
		if err := r.resolve(c.Node, in, o); err != nil {
			return err
		}
		c.Set(0, x.DType, shape.Of(r.outDims()...))
		return nil
	}
	s := slices.Clone(x.Shape)
	axes := c.Node.Ints("axes")
	if axes == nil {
		for i := range s {
			axes = append(axes, i)
		}
	}
	axes, err := op.Axes(axes, len(s))
	if err != nil {
		return err
	}
	var sizes []shape.Dim
	if _, i, _ := resizePorts(c.Node); i > 0 && c.Input(i).Present {
		sizes, _ = c.Input(i).Dims()
	}
	stretch := c.Node.Str("keep_aspect_ratio_policy") == "stretch" || c.Node.Str("keep_aspect_ratio_policy") == ""
	for i, a := range axes {
		switch {
		case len(sizes) == len(axes) && stretch:
			s[a] = sizes[i]
		case len(o.scales) == len(axes):
			s[a] = scaledDim(s[a], o.scales[i])
		default:
			s[a] = shape.Unknown()
		}
	}
	c.Set(0, x.DType, s)
	return nil
}

// scaledSize is the floor of n × scale, whose product is float32 as in ONNX's own shape inference: 0.7 of 10 are 7,
// though the nearest float32 to 0.7 is below it.
func scaledSize(n int, scale float32) float64 { return math.Floor(float64(float32(n) * scale)) }

// scaledDim is the floor of d × scale, for scales that are fractions with a
// small power of two below.
func scaledDim(d shape.Dim, by float32) shape.Dim {
	scale := float64(by)
	if n, fixed := d.Int(); fixed && scale > 0 && scale < tensor.MaxElements {
		return shape.Const(int(scaledSize(n, by)))
	}
	for _, q := range []int{1, 2, 4, 8, 16, 32} {
		if p := scale * float64(q); p == math.Floor(p) && p > 0 && p < 1<<20 {
			return d.Mul(shape.Const(int(p))).Div(shape.Const(q))
		}
	}
	return shape.Unknown()
}

// resizingOfCall resolves a node whose inputs are there.
func resizingOfCall(c *op.Call) (resizing, error) {
	facts := make([]op.Fact, len(c.In))
	for i, t := range c.In {
		if t != nil {
			facts[i] = op.Fact{Type: ir.TypeOf(t), Present: true, Const: t}
		}
	}
	r := newResizing(c.Node)
	o, _ := operandsOfFacts(c.Node, facts)
	return r, r.resolve(c.Node, c.In[0].Shape, o)
}

func resizeRef(c *op.Call) error {
	r, err := resizingOfCall(c)
	if err != nil {
		return err
	}
	x := c.In[0]
	taps, err := r.taps()
	if err != nil {
		return err
	}
	out := c.Output(0, x.DType, r.outDims()...)
	if r.mode == "nearest" {
		return r.pick(out, x, taps)
	}
	if !numeric(x.DType) {
		return fmt.Errorf("mode %s: expected a numeric type, found %s", r.mode, x.DType)
	}
	v := num.Floats(x)
	dims := slices.Clone(x.Shape)
	for axis, t := range taps {
		if t != nil {
			v = t.apply(v, dims, axis, r.extrapolation)
			dims[axis] = r.axes[axis].out
		}
	}
	storeRounded(out, v)
	return nil
}

func numeric(dt dtype.Type) bool { return slices.Contains(op.NumBool, dt) }

// storeRounded stores numbers; integer types take the nearest that they hold.
func storeRounded(out *tensor.Tensor, v []float64) {
	if out.DType.IsInt() {
		lo, hi := 0., math.Ldexp(1, out.DType.Bits())-1
		if out.DType.IsSigned() {
			lo, hi = -math.Ldexp(1, out.DType.Bits()-1), math.Ldexp(1, out.DType.Bits()-1)-1
		}
		for i, x := range v {
			v[i] = min(max(math.RoundToEven(x), lo), hi)
		}
	}
	num.SetFloats(out, v)
}

// pick copies, for each output element, the nearest input element.
func (r *resizing) pick(out, x *tensor.Tensor, taps []*axisTaps) error {
	strides := tensor.Strides(x.Shape)
	fill := tensor.New(x.DType, 1)
	if r.extrapolation != 0 && numeric(x.DType) {
		num.SetFloats(fill, []float64{r.extrapolation})
	}
	at := make([]int, len(out.Shape))
	for i := range out.Len() {
		from, inside := 0, true
		for d, k := range at {
			if t := taps[d]; t != nil {
				inside = inside && !t.outside[k]
				k = t.index[k]
			}
			from += k * strides[d]
		}
		if inside {
			out.CopyElements(i, x, from, 1)
		} else {
			out.CopyElements(i, fill, 0, 1)
		}
		advance(at, out.Shape)
	}
	return nil
}

type resizeCases struct{}

func (resizeCases) Cases() []op.Case {
	scales := func(s ...float32) *tensor.Tensor { return tensor.FromSlice(s) }
	attrs := func(mode, coord string) map[string]*ir.Attr {
		return map[string]*ir.Attr{"mode": ir.Str(mode), "coordinate_transformation_mode": ir.Str(coord)}
	}
	x := sequence(2, 3, 5, 7)
	return []op.Case{
		{Name: "nearest twice", Attrs: attrs("nearest", "asymmetric"), In: []*tensor.Tensor{tensor.FromSlice([]int8{1, 2, 3, 4}, 1, 1, 2, 2), nil, scales(1, 1, 2, 2)},
			Out: []*tensor.Tensor{tensor.FromSlice([]int8{1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4}, 1, 1, 4, 4)}},
		{Name: "nearest of eight bytes", Attrs: attrs("nearest", "asymmetric"), In: []*tensor.Tensor{tensor.FromSlice([]float64{1, 2, 3, 4}, 1, 1, 2, 2), nil, scales(1, 1, 1, 3)}},
		{Name: "nearest", Attrs: attrs("nearest", "half_pixel"), In: []*tensor.Tensor{x, nil, scales(1, 1, 1.7, 0.6)}},
		{Name: "nearest from the second", Attrs: map[string]*ir.Attr{"nearest_mode": ir.Str("ceil")}, In: []*tensor.Tensor{x, nil, scales(1, 1, 1, 0.4)}},
		{Name: "a size just below a whole one", Attrs: attrs("nearest", "asymmetric"), In: []*tensor.Tensor{tensor.FromSlice([]int8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 10), nil, scales(0.7)},
			Out: []*tensor.Tensor{tensor.FromSlice([]int8{0, 1, 3, 4, 6, 7, 9}, 7)}},
		{Name: "nearest batch", Attrs: attrs("nearest", "half_pixel"), In: []*tensor.Tensor{x, nil, scales(2, 1, 1, 1)}},
		{Name: "linear", Attrs: attrs("linear", "half_pixel"), In: []*tensor.Tensor{x, nil, scales(1, 1, 2, 2)}},
		{Name: "linear of bytes", Attrs: attrs("linear", "half_pixel"), In: []*tensor.Tensor{tensor.FromSlice([]int8{-128, 127, 3, -4, 100, 90}, 1, 1, 2, 3), nil, scales(1, 1, 2, 2)}},
		{Name: "cubic of bytes", Attrs: attrs("cubic", "half_pixel"), In: []*tensor.Tensor{tensor.FromSlice([]uint8{0, 255, 3, 255, 200, 0}, 1, 1, 2, 3), nil, scales(1, 1, 2, 2)}},
		{Name: "linear corners", Attrs: attrs("linear", "align_corners"), In: []*tensor.Tensor{x, nil, nil, tensor.FromSlice([]int64{2, 3, 9, 4})}},
		{Name: "cubic", Attrs: attrs("cubic", "pytorch_half_pixel"), In: []*tensor.Tensor{x, nil, scales(1, 1, 2.5, 0.5)}},
		{Name: "cubic to one", Attrs: attrs("cubic", "pytorch_half_pixel"), In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4, 5}), nil, scales(0.2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1})}},
		{Name: "crop to one", Attrs: attrs("linear", "tf_crop_and_resize"), In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4, 5}), tensor.FromSlice([]float32{0, 1}), scales(0.2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{3})}},
		{Name: "linear, channels last", Attrs: attrs("linear", "half_pixel"), In: []*tensor.Tensor{sequence(1, 5, 7, 19), nil, scales(1, 0.7, 1.6, 1)}},
		{Name: "linear of large planes", Attrs: attrs("linear", "half_pixel"), In: []*tensor.Tensor{sequence(3, 2, 33, 41), nil, scales(1, 1, 2.3, 1.9)}},
		{Name: "linear, one axis smaller", Attrs: attrs("linear", "align_corners"), In: []*tensor.Tensor{sequence(2, 3, 33, 41), nil, scales(1, 1, 2.3, 0.7)}},
		{Name: "linear to nothing", Attrs: attrs("linear", "half_pixel"), In: []*tensor.Tensor{sequence(2, 3, 5, 2), nil, scales(1, 1, 2, 0.4)}},
		{Name: "linear to half", Attrs: attrs("linear", "half_pixel"), In: []*tensor.Tensor{sequence(2, 3, 46, 58), nil, scales(1, 1, 0.5, 0.5)}},
		{Name: "cubic of channels last", Attrs: attrs("cubic", "half_pixel"), In: []*tensor.Tensor{sequence(2, 31, 17, 9), nil, scales(1, 2, 1.4, 1)}},
		{Name: "cubic of wide rows", Attrs: attrs("cubic", "half_pixel"), In: []*tensor.Tensor{sequence(1, 2, 9, 37), nil, scales(1, 1, 0.6, 1.3)}},
	}
}
