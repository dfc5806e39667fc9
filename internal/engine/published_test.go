package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/provider"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// network builds float32 networks of published shapes; their weights are zero.
type network struct{ g *ir.Graph }

func newNetwork(size int) (*network, *ir.Value) {
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Of(1, 3, size, size)})
	return &network{&ir.Graph{Inputs: []*ir.Value{x}, Opsets: map[string]int{"": 17}}}, x
}

func (b *network) node(op string, attrs map[string]*ir.Attr, in ...*ir.Value) *ir.Value {
	v := ir.NewValue(fmt.Sprint("v", len(b.g.Nodes)), ir.Type{})
	n := ir.NewNode("", op, 13, in, []*ir.Value{v}, attrs)
	b.g.Nodes = append(b.g.Nodes, n)
	return v
}

func (b *network) constant(dims ...int) *ir.Value {
	return ir.NewConst(fmt.Sprint("c", len(b.g.Nodes)), tensor.New(dtype.Float32, dims...))
}

// conv is a convolution and a ReLU.
func (b *network) conv(x *ir.Value, in, out, kh, kw, stride, group int, pad string) *ir.Value {
	return b.node("Relu", nil, b.linear(x, in, out, kh, kw, stride, group, pad))
}

func (b *network) linear(x *ir.Value, in, out, kh, kw, stride, group int, pad string) *ir.Value {
	return b.node("Conv", map[string]*ir.Attr{"kernel_shape": ir.Ints(kh, kw), "strides": ir.Ints(stride, stride), "group": ir.Int(group), "auto_pad": ir.Str(pad)},
		x, b.constant(out, in/group, kh, kw), b.constant(out))
}

func (b *network) pool(op string, x *ir.Value, stride int, pad string) *ir.Value {
	return b.node(op, map[string]*ir.Attr{"kernel_shape": ir.Ints(3, 3), "strides": ir.Ints(stride, stride), "auto_pad": ir.Str(pad)}, x)
}

// classify ends a network of so many channels.
func (b *network) classify(x *ir.Value, channels int) *ir.Graph {
	flat := b.node("Flatten", map[string]*ir.Attr{"axis": ir.Int(1)}, b.node("GlobalAveragePool", nil, x))
	b.g.AddOutput("y", b.node("Softmax", map[string]*ir.Attr{"axis": ir.Int(1)}, b.node("Gemm", nil, flat, b.constant(channels, 1001), b.constant(1001))))
	return b.g
}

const same, valid = "SAME_UPPER", "VALID"

// mobileNetV1 is arXiv 1704.04861, table 1.
func mobileNetV1() *ir.Graph {
	b, x := newNetwork(224)
	x = b.conv(x, 3, 32, 3, 3, 2, 1, same)
	in := 32
	for _, l := range [][2]int{{64, 1}, {128, 2}, {128, 1}, {256, 2}, {256, 1}, {512, 2}, {512, 1}, {512, 1}, {512, 1}, {512, 1}, {512, 1}, {1024, 2}, {1024, 1}} {
		x = b.conv(x, in, in, 3, 3, l[1], in, same)
		x = b.conv(x, in, l[0], 1, 1, 1, 1, same)
		in = l[0]
	}
	return b.classify(x, in)
}

// mobileNetV2 is arXiv 1801.04381, table 2.
func mobileNetV2() *ir.Graph {
	b, x := newNetwork(224)
	x = b.conv(x, 3, 32, 3, 3, 2, 1, same)
	in := 32
	for _, l := range [][4]int{{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}} {
		for i := range l[2] {
			stride, y, wide := 1, x, in*l[0]
			if i == 0 {
				stride = l[3]
			}
			if l[0] > 1 {
				y = b.conv(y, in, wide, 1, 1, 1, 1, same)
			}
			y = b.conv(y, wide, wide, 3, 3, stride, wide, same)
			y = b.linear(y, wide, l[1], 1, 1, 1, 1, same)
			if stride == 1 && in == l[1] {
				y = b.node("Add", nil, x, y)
			}
			x, in = y, l[1]
		}
	}
	return b.classify(b.conv(x, in, 1280, 1, 1, 1, 1, same), 1280)
}

// chain is a sequence of convolutions {out, kernel height, kernel width}.
func (b *network) chain(x *ir.Value, in int, layers ...[3]int) *ir.Value {
	for _, l := range layers {
		x = b.conv(x, in, l[0], l[1], l[2], 1, 1, same)
		in = l[0]
	}
	return x
}

func (b *network) concat(in ...*ir.Value) *ir.Value {
	return b.node("Concat", map[string]*ir.Attr{"axis": ir.Int(1)}, in...)
}

// inceptionV3 is arXiv 1512.00567, table 1, as TensorFlow's slim builds it.
func inceptionV3() *ir.Graph {
	b, x := newNetwork(299)
	x = b.conv(x, 3, 32, 3, 3, 2, 1, valid)
	x = b.conv(x, 32, 32, 3, 3, 1, 1, valid)
	x = b.conv(x, 32, 64, 3, 3, 1, 1, same)
	x = b.pool("MaxPool", x, 2, valid)
	x = b.conv(x, 64, 80, 1, 1, 1, 1, valid)
	x = b.conv(x, 80, 192, 3, 3, 1, 1, valid)
	x = b.pool("MaxPool", x, 2, valid)
	in := 192
	for _, pooled := range []int{32, 64, 64} {
		x = b.concat(b.chain(x, in, [3]int{64, 1, 1}), b.chain(x, in, [3]int{48, 1, 1}, [3]int{64, 5, 5}),
			b.chain(x, in, [3]int{64, 1, 1}, [3]int{96, 3, 3}, [3]int{96, 3, 3}), b.chain(b.pool("AveragePool", x, 1, same), in, [3]int{pooled, 1, 1}))
		in = 224 + pooled
	}
	x = b.concat(b.conv(x, in, 384, 3, 3, 2, 1, valid), b.conv(b.chain(x, in, [3]int{64, 1, 1}, [3]int{96, 3, 3}), 96, 96, 3, 3, 2, 1, valid), b.pool("MaxPool", x, 2, valid))
	in = 768
	for _, n := range []int{128, 160, 160, 192} {
		x = b.concat(b.chain(x, in, [3]int{192, 1, 1}), b.chain(x, in, [3]int{n, 1, 1}, [3]int{n, 1, 7}, [3]int{192, 7, 1}),
			b.chain(x, in, [3]int{n, 1, 1}, [3]int{n, 7, 1}, [3]int{n, 1, 7}, [3]int{n, 7, 1}, [3]int{192, 1, 7}), b.chain(b.pool("AveragePool", x, 1, same), in, [3]int{192, 1, 1}))
	}
	x = b.concat(b.conv(b.chain(x, in, [3]int{192, 1, 1}), 192, 320, 3, 3, 2, 1, valid),
		b.conv(b.chain(x, in, [3]int{192, 1, 1}, [3]int{192, 1, 7}, [3]int{192, 7, 1}), 192, 192, 3, 3, 2, 1, valid), b.pool("MaxPool", x, 2, valid))
	in = 1280
	for range 2 {
		y := b.chain(x, in, [3]int{384, 1, 1})
		z := b.chain(x, in, [3]int{448, 1, 1}, [3]int{384, 3, 3})
		x = b.concat(b.chain(x, in, [3]int{320, 1, 1}), b.concat(b.chain(y, 384, [3]int{384, 1, 3}), b.chain(y, 384, [3]int{384, 3, 1})),
			b.concat(b.chain(z, 384, [3]int{384, 1, 3}), b.chain(z, 384, [3]int{384, 3, 1})), b.chain(b.pool("AveragePool", x, 1, same), in, [3]int{192, 1, 1}))
		in = 2048
	}
	return b.classify(x, in)
}

// Activation memory is what greedy placement by size reaches on the same
// networks (arXiv 2001.03288, table 2), or less.
func TestPublishedNetworksNeedNoMoreMemory(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func() *ir.Graph
		mib   float64
	}{{"MobileNet v1", mobileNetV1, 4.594}, {"MobileNet v2", mobileNetV2, 5.742}, {"Inception v3", inceptionV3, 7.913}} {
		g := c.build()
		for _, n := range g.Nodes {
			if err := op.Complete(n); err != nil {
				t.Fatal(err)
			}
		}
		if err := op.InferTypes(g); err != nil {
			t.Fatal(err)
		}
		if _, err := pass.Run(g, passes.All, pass.Options{Level: pass.MaxLevel}); err != nil {
			t.Fatal(err)
		}
		s := exec.New(g, exec.Options{Provider: provider.Ref}) // which packs nothing
		start := time.Now()
		p, err := s.PlanFor(smallInputs(g))
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		s.Close()
		s = exec.New(g, exec.Options{})
		if p, err = s.PlanFor(smallInputs(g)); err != nil {
			t.Fatal(err)
		}
		m := p.Memory()
		mib := float64(m.Arena) / (1 << 20)
		t.Logf("%s: %.3f MiB, bound %.3f, published %.3f, planned in %v", c.name, mib, float64(m.ArenaBound)/(1<<20), c.mib, took)
		if mib > c.mib+.0005 {
			t.Errorf("%s: arena of %.4f MiB, published %.3f", c.name, mib, c.mib)
		}
		s.Close()
	}
}
