package exec

import (
	"context"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// Nodes that read the same constants with the same attributes pack them once.
func TestAlikeNodesPackOnce(t *testing.T) {
	weight := func(x float32) *ir.Value { return ir.NewConst("w", tensor.FromSlice([]float32{x})) }
	one, other := weight(2), weight(2)
	for _, c := range []struct {
		name    string
		weights []*ir.Value
		bytes   int
	}{
		{"one weight", []*ir.Value{one, one, one}, 4},
		{"two weights", []*ir.Value{one, other, one, other}, 8},
	} {
		x := vector("x")
		b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
		v, want := x, float32(3)
		for _, w := range c.weights {
			v, want = b.node("Scaled", v, w), want*2
		}
		b.g.AddOutput("y", v)
		if err := op.InferTypes(b.g); err != nil {
			t.Fatal(err)
		}
		s := New(b.g, Options{})
		in := tensor.New(x.Type.DType, 2, 2)
		tensor.Of[float32](in)[1] = 3
		out, err := s.Run(context.Background(), []*tensor.Tensor{in})
		if err != nil {
			t.Fatal(err)
		}
		if got := tensor.Of[float32](out[0])[1]; got != want {
			t.Errorf("%s: the result is %v, expected %v", c.name, got, want)
		}
		if got := s.weights.bytes(); got != c.bytes {
			t.Errorf("%s: %d bytes are packed, expected %d", c.name, got, c.bytes)
		}
		s.Close()
	}
}

// What a kernel may see when it packs keeps nodes apart.
func TestAlike(t *testing.T) {
	x, y, w := vector("x"), vector("y"), ir.NewConst("w", tensor.FromSlice([]float32{1}))
	plain := vector("plain")
	plain.Type.Shape = plain.Type.Shape[:1]
	node := func(name string, attrs map[string]*ir.Attr, in ...*ir.Value) *ir.Node {
		return ir.NewNode("test", name, 1, in, []*ir.Value{vector("out")}, attrs)
	}
	first := node("Scaled", map[string]*ir.Attr{"axes": ir.Ints(1, 2)}, x, w, nil)
	for _, c := range []struct {
		name string
		n    *ir.Node
		want bool
	}{
		{"another input", node("Scaled", map[string]*ir.Attr{"axes": ir.Ints(1, 2)}, y, w, nil), true},
		{"another operator", node("Halved", map[string]*ir.Attr{"axes": ir.Ints(1, 2)}, x, w, nil), false},
		{"another attribute", node("Scaled", map[string]*ir.Attr{"axes": ir.Ints(1, 3)}, x, w, nil), false},
		{"no attribute", node("Scaled", nil, x, w, nil), false},
		{"another constant", node("Scaled", map[string]*ir.Attr{"axes": ir.Ints(1, 2)}, x, ir.NewConst("w", tensor.FromSlice([]float32{1})), nil), false},
		{"another rank", node("Scaled", map[string]*ir.Attr{"axes": ir.Ints(1, 2)}, plain, w, nil), false},
		{"one input more", node("Scaled", map[string]*ir.Attr{"axes": ir.Ints(1, 2)}, x, w, y), false},
	} {
		if got := alike(first, c.n); got != c.want {
			t.Errorf("%s: %v, expected %v", c.name, got, c.want)
		}
	}
}

// A constant that very many nodes read, each in its own way, takes no time that grows with
// the square of their number. The first ways are shared still.
func TestAlikeComparesWithFew(t *testing.T) {
	x, w := vector("x"), ir.NewConst("w", tensor.FromSlice(make([]float32, 100)))
	node := func(axis int) *ir.Node {
		return ir.NewNode("test", "Scaled", 1, []*ir.Value{x, w}, []*ir.Value{vector("out")}, map[string]*ir.Attr{"axis": ir.Int(axis)})
	}
	var a alikes
	first := node(0)
	for i := range 50 * mostKinds {
		n := node(i)
		if i == 0 {
			n = first
		}
		if got := a.of(n); got != n {
			t.Fatalf("node %d packs like another", i)
		}
	}
	if got := a.of(node(0)); got != first {
		t.Error("a node packs again what the first one has")
	}
	if n := len(a.read[w.Const]); n != mostKinds {
		t.Errorf("nodes are compared with %d others, expected %d", n, mostKinds)
	}
}
