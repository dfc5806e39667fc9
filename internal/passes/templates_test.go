package passes_test

import (
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// templates add a few nodes to a sketch.
var templates = []func(s *sketch){
	(*sketch).unary, (*sketch).unary, (*sketch).binary, (*sketch).binary, (*sketch).scalars, (*sketch).activation,
	(*sketch).move, (*sketch).move, (*sketch).reshape, (*sketch).cut, (*sketch).join, (*sketch).shapes,
	(*sketch).product, (*sketch).product, (*sketch).gemm, (*sketch).softmax, (*sketch).reduce, (*sketch).norm, (*sketch).attention,
	(*sketch).rotary, (*sketch).image, (*sketch).image, (*sketch).residual, (*sketch).quantized, (*sketch).half, (*sketch).where,
	(*sketch).gather, (*sketch).scatter, (*sketch).einsum, (*sketch).block, (*sketch).block, (*sketch).block,
}

func oneOf[T any](s *sketch, all ...T) T { return all[s.IntN(len(all))] }

func (s *sketch) unary() {
	s.keep(s.node(oneOf(s, "Relu", "Tanh", "Sigmoid", "Neg", "Abs", "Erf", "Identity", "Softplus", "HardSwish", "Sin", "LeakyRelu", "Elu"), nil, s.pick()))
}

func (s *sketch) binary() {
	a, b := s.pick(), s.pick()
	s.keep(s.node(oneOf(s, "Add", "Mul", "Sub", "Max", "Min"), nil, a, b))
}

// scalars multiplies and adds constants: numbers, columns, rows.
func (s *sketch) scalars() {
	x := s.pick()
	for range 1 + s.IntN(3) {
		c := s.float(oneOf[float32](s, 0, 1, 2, .5, -1))
		if len(x.Type.Shape) > 0 && s.IntN(2) == 0 {
			c = s.weights(s.size(x, -1))
		}
		in := []*ir.Value{x, c}
		if s.IntN(3) == 0 {
			in = []*ir.Value{c, x}
		}
		y := s.node(oneOf(s, "Add", "Mul", "Sub"), nil, in...)
		if y == nil {
			return
		}
		x = y
		s.keep(x)
	}
}

// activation spells out GELU, SiLU, HardSwish and a clip.
func (s *sketch) activation() {
	x := s.pick()
	mul := func(a, b *ir.Value) *ir.Value { return s.node("Mul", nil, a, b) }
	switch s.IntN(4) {
	case 0:
		e := s.node("Erf", nil, s.node("Div", nil, x, s.float(math.Sqrt2)))
		s.keep(mul(mul(x, s.node("Add", nil, e, s.float(1))), s.float(.5)))
	case 1:
		s.keep(mul(x, s.node("Sigmoid", nil, x)))
	case 2:
		c := s.node("Clip", nil, s.node("Add", nil, x, s.float(3)), s.float(0), s.float(6))
		s.keep(s.node("Div", nil, mul(x, c), s.float(6)))
	case 3:
		cube := s.node("Pow", nil, x, s.float(3))
		inner := s.node("Add", nil, x, s.node("Mul", nil, cube, s.float(.044715)))
		t := s.node("Tanh", nil, s.node("Mul", nil, inner, s.float(.7978846)))
		s.keep(mul(s.node("Mul", nil, x, s.float(.5)), s.node("Add", nil, t, s.float(1))))
	}
}

func (s *sketch) move() {
	x := s.pick()
	r := len(x.Type.Shape)
	switch s.IntN(3) {
	case 0:
		s.keep(s.node("Transpose", attrs{"perm": ir.Ints(s.Perm(r)...)}, x))
	case 1:
		s.keep(s.node("Unsqueeze", nil, x, s.ints(int64(s.IntN(r+1)))))
	case 2:
		s.keep(s.node("Squeeze", nil, x))
	}
}

// reshape joins the last two dimensions, or splits the last.
func (s *sketch) reshape() {
	x := s.pick()
	r := len(x.Type.Shape)
	if r == 0 {
		return
	}
	to := make([]int64, r) // zeros keep dimensions
	last := s.size(x, -1)
	switch k := oneOf(s, 2, 4); {
	case s.IntN(4) == 0:
		to = []int64{-1, int64(last)}
	case s.IntN(2) == 0 && last%k == 0:
		to[r-1] = int64(last / k)
		to = append(to, int64(k))
	case r > 1:
		to = to[:r-1]
		to[r-2] = -1
	}
	s.keep(s.node("Reshape", nil, x, s.ints(to...)))
}

func (s *sketch) cut() {
	x := s.pick()
	r := len(x.Type.Shape)
	if r == 0 {
		return
	}
	axis := s.IntN(r)
	n := s.size(x, axis)
	if s.IntN(2) == 0 {
		from := s.IntN(n)
		s.keep(s.node("Slice", nil, x, s.ints(int64(from)), s.ints(int64(oneOf(s, n, from+1+s.IntN(n-from), math.MaxInt32))), s.ints(int64(axis)), s.ints(int64(oneOf(s, 1, 1, 2)))))
		return
	}
	if n%2 != 0 {
		return
	}
	if out := s.all("Split", 2, attrs{"axis": ir.Int(axis)}, x, s.ints(int64(n/2), int64(n/2))); out != nil {
		s.keep(out[0])
		s.keep(out[1])
	}
}

func (s *sketch) join() {
	x := s.pick()
	r := len(x.Type.Shape)
	if r == 0 {
		return
	}
	in := []*ir.Value{x}
	for range 1 + s.IntN(2) {
		in = append(in, oneOf(s, x, s.pick(), s.values[len(s.values)-1]))
	}
	s.keep(s.node("Concat", attrs{"axis": ir.Int(s.IntN(r) - r)}, in...))
}

// shapes reads dimensions and reshapes or expands by them.
func (s *sketch) shapes() {
	x := s.pick()
	r := len(x.Type.Shape)
	if r < 2 {
		return
	}
	dims := s.node("Shape", nil, x)
	dim := func(i int) *ir.Value {
		return s.node("Unsqueeze", nil, s.node("Gather", nil, dims, s.constant(tensor.Scalar(int64(i)))), s.ints(0))
	}
	switch s.IntN(3) {
	case 0:
		s.keep(s.node("Reshape", nil, x, s.node("Concat", attrs{"axis": ir.Int(0)}, dim(0), s.ints(-1))))
	case 1:
		rest := s.node("Mul", nil, dim(0), dim(1))
		s.keep(s.node("Reshape", nil, x, s.node("Concat", attrs{"axis": ir.Int(0)}, rest, s.ints(-1))))
	case 2:
		one := s.node("ReduceMean", attrs{"keepdims": ir.Int(1)}, x, s.ints(int64(s.IntN(r))))
		s.keep(s.node("Expand", nil, one, dims))
	}
}

func (s *sketch) product() {
	x := s.pick()
	r := len(x.Type.Shape)
	if r < 2 {
		return
	}
	var y *ir.Value
	if s.IntN(4) > 0 {
		y = s.node("MatMul", nil, x, s.weights(s.size(x, -1), oneOf(s, 1, 8, 8, 16, 24)))
	} else {
		perm := make([]int, r)
		for i := range perm {
			perm[i] = i
		}
		perm[r-1], perm[r-2] = r-2, r-1
		y = s.node("Mul", nil, s.node("MatMul", nil, x, s.node("Transpose", attrs{"perm": ir.Ints(perm...)}, s.pick())), s.float(.2))
	}
	s.keep(y)
	if y != nil && s.IntN(2) == 0 {
		s.keep(s.node("Add", nil, y, s.weights(s.size(y, -1))))
	}
}

func (s *sketch) gemm() {
	x := s.of(2)
	if x == nil {
		return
	}
	k, n := s.size(x, 1), oneOf(s, 1, 8, 12)
	a := attrs{"alpha": ir.Float(oneOf[float32](s, 1, .5)), "beta": ir.Float(oneOf[float32](s, 1, 2))}
	w := []int{k, n}
	if s.IntN(2) == 0 {
		a["transB"] = ir.Int(1)
		slices.Reverse(w)
	}
	s.keep(s.node("Gemm", a, x, s.weights(w...), s.weights(n)))
}

func (s *sketch) softmax() {
	x := s.pick()
	if r := len(x.Type.Shape); r > 0 {
		s.keep(s.node(oneOf(s, "Softmax", "Softmax", "LogSoftmax"), attrs{"axis": ir.Int(s.IntN(r) - r)}, x))
	}
}

func (s *sketch) reduce() {
	x := s.pick()
	if r := len(x.Type.Shape); r > 0 {
		s.keep(s.node(oneOf(s, "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"), attrs{"keepdims": ir.Int(s.IntN(2))}, x, s.ints(int64(s.IntN(r)))))
	}
}

// norm spells out layer normalization and that of the mean square.
func (s *sketch) norm() {
	x := s.pick()
	r := len(x.Type.Shape)
	if r == 0 {
		return
	}
	mean := func(v *ir.Value) *ir.Value { return s.node("ReduceMean", nil, v, s.ints(-1)) }
	d := x
	if s.IntN(2) == 0 {
		d = s.node("Sub", nil, x, mean(x))
	}
	if d == nil {
		return
	}
	square := s.node("Mul", nil, d, d)
	if s.IntN(2) == 0 {
		square = s.node("Pow", nil, d, s.float(2))
	}
	root := s.node("Sqrt", nil, s.node("Add", nil, mean(square), s.float(1e-2)))
	y := s.node("Div", nil, d, root)
	if s.IntN(2) == 0 {
		y = s.node("Mul", nil, d, s.node("Reciprocal", nil, root))
	}
	if y == nil {
		return
	}
	y = s.node("Mul", nil, y, s.weights(s.size(x, -1)))
	if s.IntN(2) == 0 {
		y = s.node("Add", nil, y, s.weights(s.size(x, -1)))
	}
	s.keep(y)
}

// heads splits the last dimension of [n, t, heads·size] and puts heads first.
func (s *sketch) heads(x *ir.Value, heads int) *ir.Value {
	if x == nil {
		return nil
	}
	split := s.node("Reshape", nil, x, s.ints(0, 0, int64(heads), int64(s.size(x, -1)/heads)))
	return s.node("Transpose", attrs{"perm": ir.Ints(0, 2, 1, 3)}, split)
}

// attention spells out what transformers do, with and without a mask.
func (s *sketch) attention() {
	x := s.of(3)
	if x == nil || s.size(x, -1)%2 != 0 {
		return
	}
	width := oneOf(s, 8, 16)
	project := func() *ir.Value { return s.node("MatMul", nil, x, s.weights(s.size(x, -1), width)) }
	q, k, v := s.heads(project(), 2), s.heads(project(), 2), s.heads(project(), 2)
	if s.IntN(3) == 0 {
		q, k = s.turned(q), s.turned(k)
	}
	scores := s.node("MatMul", nil, q, s.node("Transpose", attrs{"perm": ir.Ints(0, 1, 3, 2)}, k))
	scores = s.node(oneOf(s, "Mul", "Div"), nil, scores, s.float(oneOf[float32](s, .5, 2)))
	switch s.IntN(3) {
	case 0:
		row := s.node("ReduceMean", attrs{"keepdims": ir.Int(0)}, x, s.ints(-1))
		hide := s.node("Cast", attrs{"to": ir.Int(int(dtype.Float32))}, s.node("Less", nil, row, s.float(-10)))
		mask := s.node("Unsqueeze", nil, s.node("Mul", nil, hide, s.float(-50)), s.ints(1, 2))
		scores = s.node("Add", nil, scores, mask)
	case 1:
		scores = s.node("Add", nil, scores, s.node("Slice", nil, s.weights(1, 2, 1, 5), s.ints(0), s.ints(1), s.ints(3)))
	}
	y := s.node("MatMul", nil, s.node("Softmax", attrs{"axis": ir.Int(-1)}, scores), v)
	y = s.node("Reshape", nil, s.node("Transpose", attrs{"perm": ir.Ints(0, 2, 1, 3)}, y), s.ints(0, 0, int64(width)))
	s.keep(y)
}

func (s *sketch) rotary() {
	if x := s.of(4); x != nil {
		s.keep(s.turned(x))
	}
}

// turned is a rotary embedding of the last dimension's halves.
func (s *sketch) turned(x *ir.Value) *ir.Value {
	if x == nil || s.size(x, -1)%2 != 0 {
		return nil
	}
	d := s.size(x, -1)
	part := func(from, to int) *ir.Value {
		return s.node("Slice", nil, x, s.ints(int64(from)), s.ints(int64(to)), s.ints(-1))
	}
	turn := s.node("Concat", attrs{"axis": ir.Int(-1)}, s.node("Neg", nil, part(d/2, d)), part(0, d/2))
	return s.node("Add", nil, s.node("Mul", nil, x, s.weights(1, d)), s.node("Mul", nil, turn, s.weights(1, d)))
}

// image convolves, normalizes, pools, pads and resizes.
func (s *sketch) image() {
	x := s.of(4)
	if x == nil {
		return
	}
	c, ok := x.Type.Shape[1].Int()
	if !ok {
		return
	}
	switch s.IntN(8) {
	case 0, 1, 2:
		out, k, group := oneOf(s, 4, 8), oneOf(s, 1, 3), 1
		if s.IntN(4) == 0 {
			out, group = c, c
		}
		in := []*ir.Value{x, s.weights(out, c/group, k, k)}
		if s.IntN(2) == 0 {
			in = append(in, s.weights(out))
		}
		x = s.node("Conv", attrs{"group": ir.Int(group), "pads": ir.Ints(k/2, k/2, k/2, k/2), "strides": oneOf(s, ir.Ints(1, 1), ir.Ints(2, 2))}, in...)
		s.keep(x)
		if x != nil && s.IntN(2) == 0 {
			s.keep(s.batchNorm(x))
		}
	case 3:
		s.keep(s.batchNorm(x))
	case 4:
		s.keep(s.node(oneOf(s, "MaxPool", "AveragePool"), attrs{"kernel_shape": ir.Ints(2, 2), "strides": oneOf(s, ir.Ints(1, 1), ir.Ints(2, 2))}, x))
	case 5:
		s.keep(s.node("GlobalAveragePool", nil, x))
	case 6:
		s.keep(s.node("Pad", attrs{"mode": oneOf(s, ir.Str("constant"), ir.Str("reflect"), ir.Str("edge"))}, x, s.ints(0, 0, 1, 1, 0, 0, 1, 0)))
	case 7:
		empty := s.constant(tensor.New(dtype.Float32, 0))
		scales := s.constant(tensor.FromSlice([]float32{1, 1, 2, 2}, 4))
		a := oneOf(s, attrs{"mode": ir.Str("nearest"), "coordinate_transformation_mode": ir.Str("asymmetric"), "nearest_mode": ir.Str("floor")}, attrs{"mode": ir.Str("linear")})
		s.keep(s.node("Resize", a, x, empty, scales))
	}
}

// block is what residual networks repeat.
func (s *sketch) block() {
	x := s.of(4)
	if x == nil {
		return
	}
	c, ok := x.Type.Shape[1].Int()
	if !ok {
		return
	}
	y := x
	for range 1 + s.IntN(2) {
		a := attrs{"pads": ir.Ints(1, 1, 1, 1)}
		w := s.weights(c, c, 3, 3)
		if s.IntN(3) == 0 {
			a["group"], w = ir.Int(c), s.weights(c, 1, 3, 3)
		}
		y = s.node("Conv", a, y, w, s.weights(c))
		if y != nil && s.IntN(2) == 0 {
			y = s.batchNorm(y)
		}
		if s.IntN(2) == 0 {
			y = s.node(oneOf(s, "Relu", "Sigmoid", "HardSwish", "LeakyRelu"), nil, y)
		}
	}
	if s.IntN(2) == 0 {
		y = s.node(oneOf(s, "Add", "Add", "Mul"), nil, y, x)
	}
	if s.IntN(2) == 0 {
		y = s.node("Relu", nil, y)
	}
	if y != nil && s.IntN(3) == 0 {
		y = s.node("Concat", attrs{"axis": ir.Int(1)}, y, x)
	}
	s.keep(y)
}

func (s *sketch) batchNorm(x *ir.Value) *ir.Value {
	c, ok := x.Type.Shape[1].Int()
	if !ok {
		return nil
	}
	variance := s.numbers(c)
	for i, v := range tensor.Of[float32](variance) {
		tensor.Of[float32](variance)[i] = .5 + v*v
	}
	return s.node("BatchNormalization", nil, x, s.weights(c), s.weights(c), s.weights(c), s.constant(variance))
}

// residual adds what a value was made from, and an activation.
func (s *sketch) residual() {
	x := s.pick()
	n := x.Producer
	if n == nil || n.In[0].Type.DType != dtype.Float32 || n.In[0].IsConst() || s.sample[n.In[0]] == nil {
		return
	}
	y := s.node("Add", nil, x, n.In[0])
	s.keep(y)
	if s.IntN(2) == 0 {
		s.keep(s.node("Relu", nil, y))
	}
}

// quantized goes through eight bits and back, of numbers that are exact: others could
// round to either of two neighbours.
func (s *sketch) quantized() {
	scale, zero := s.float(.5), s.constant(tensor.Scalar(uint8(128)))
	q := s.node("QuantizeLinear", nil, s.g0(), scale, zero)
	y := s.node("DequantizeLinear", nil, q, scale, zero)
	if y == nil {
		return
	}
	s.keep(y)
	r := len(y.Type.Shape)
	switch s.IntN(3) {
	case 0:
		s.keep(s.node("MatMul", nil, y, s.weights(s.size(y, -1), 8)))
	case 1:
		s.keep(s.node("Transpose", attrs{"perm": ir.Ints(s.Perm(r)...)}, y))
	case 2:
		s.keep(s.node("Relu", nil, y))
	}
}

// g0 is an input of the graph, or a constant in a body.
func (s *sketch) g0() *ir.Value {
	if s.depth == 0 {
		return s.g.Inputs[s.IntN(len(s.g.Inputs))]
	}
	return s.weights(2, 8)
}

// half takes a way through 16 bits that rounds nothing away: that of ones and zeros.
func (s *sketch) half() {
	b := s.node("Greater", nil, s.g0(), s.float(0))
	h := s.node("Cast", attrs{"to": ir.Int(int(dtype.Float16))}, b)
	s.keep(s.node("Cast", attrs{"to": ir.Int(int(dtype.Float32))}, s.node("Identity", nil, h)))
}

func (s *sketch) where() {
	cond := s.node(oneOf(s, "Greater", "Less", "GreaterOrEqual"), nil, s.g0(), s.float(0))
	s.keep(s.node("Where", nil, cond, s.pick(), oneOf(s, s.pick(), s.float(0))))
}

func (s *sketch) gather() {
	x := s.pick()
	r := len(x.Type.Shape)
	if r == 0 {
		return
	}
	axis := s.IntN(r)
	at := s.constant(tensor.Scalar(int64(oneOf(s, 0, -1))))
	if s.IntN(2) == 0 {
		at = s.ints(0, -1, 0)
	}
	s.keep(s.node("Gather", attrs{"axis": ir.Int(axis)}, x, at))
}

func (s *sketch) scatter() {
	x := s.pick()
	if len(x.Type.Shape) < 2 {
		return
	}
	row := s.node("Gather", nil, x, s.ints(0))
	s.keep(s.node("ScatterND", nil, x, s.constant(tensor.FromSlice([]int64{-1}, 1, 1)), row))
}

func (s *sketch) einsum() {
	x, y := s.of(3), s.of(3)
	if x == nil || y == nil {
		return
	}
	s.keep(s.node("Einsum", attrs{"equation": ir.Str(oneOf(s, "bid,bjd->bij", "bij,bjd->bid", "bid,bjd->bji", "bid,bid->bi"))}, x, y))
}

// branch is an If whose branches give values of one shape.
func (s *sketch) branch() {
	x := s.pick()
	cond := s.node("Greater", nil, s.node("ReduceMax", attrs{"keepdims": ir.Int(0)}, s.g0()), s.float(oneOf[float32](s, -100, 2.2)))
	if s.IntN(4) == 0 {
		cond = s.constant(tensor.Scalar(s.IntN(2) == 0))
	}
	if cond == nil {
		return
	}
	side := func() *ir.Attr {
		b := s.within("branch")
		b.values = append(b.values, x)
		for range s.IntN(5) {
			b.grow()
		}
		b.g.AddOutput("y", b.like(x))
		return ir.GraphAttr(b.g)
	}
	s.keep(s.node("If", attrs{"then_branch": side(), "else_branch": side()}, cond))
}

// like gives a young value of x's shape, through an operator so that it is of the graph.
func (s *sketch) like(x *ir.Value) *ir.Value {
	for i := len(s.values) - 1; i >= max(len(s.values)-6, 0); i-- {
		if v := s.values[i]; v.Type.Shape.Equal(x.Type.Shape) {
			if y := s.node(oneOf(s, "Tanh", "Identity"), nil, v); y != nil {
				return y
			}
		}
	}
	return s.node("Tanh", nil, x)
}

// inner makes an input of a body that holds what a value outside does.
func (s *sketch) inner(like *ir.Value) *ir.Value {
	v := ir.NewValue(s.name("in"), like.Type)
	s.sample[v] = s.sampleOf(like)
	return v
}

func (s *sketch) loop() {
	x := s.pick()
	i, on := ir.NewValue(s.name("i"), ir.Type{DType: dtype.Int64, Shape: shape.Shape{}}), ir.NewValue(s.name("on"), ir.Type{DType: dtype.Bool, Shape: shape.Shape{}})
	state := s.inner(x)
	s.sample[i], s.sample[on] = tensor.Scalar(int64(0)), tensor.Scalar(true)
	b := s.within("loop", i, on, state)
	b.values = append(b.values, state, state)
	for range s.IntN(5) {
		b.grow()
	}
	b.g.AddOutput("on", b.node("Identity", nil, on))
	y := b.like(state)
	if y == nil {
		return
	}
	b.g.AddOutput("state", y)
	b.g.AddOutput("item", oneOf(b, y, b.node("Relu", nil, y)))
	trips := oneOf(s, s.constant(tensor.Scalar(int64(1+s.IntN(3)))), s.node("Squeeze", nil, s.node("Slice", nil, s.node("Shape", nil, s.g0()), s.ints(0), s.ints(1))))
	if trips == nil {
		return
	}
	if out := s.all("Loop", 2, attrs{"body": ir.GraphAttr(b.g)}, trips, s.constant(tensor.Scalar(true)), x); out != nil {
		s.keep(out[0])
		s.keep(out[1])
	}
}

func (s *sketch) scan() {
	x := s.of(3)
	if x == nil {
		return
	}
	row := s.node("Gather", nil, x, s.constant(tensor.Scalar(int64(0))))
	if row == nil {
		return
	}
	state, item := s.inner(row), s.inner(row)
	b := s.within("scan", state, item)
	b.values = append(b.values, state, item)
	for range s.IntN(4) {
		b.grow()
	}
	y := b.node("Tanh", nil, b.node("Add", nil, b.like(state), item))
	if y == nil {
		return
	}
	b.g.AddOutput("state", y)
	b.g.AddOutput("item", b.node("Neg", nil, y))
	a := attrs{"body": ir.GraphAttr(b.g), "num_scan_inputs": ir.Int(1), "scan_input_axes": ir.Ints(0), "scan_input_directions": ir.Ints(s.IntN(2)), "scan_output_axes": ir.Ints(0)}
	if out := s.all("Scan", 2, a, row, x); out != nil {
		s.keep(out[0])
		s.keep(out[1])
	}
}
