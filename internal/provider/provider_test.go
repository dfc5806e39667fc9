package provider

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{Domain: "providertest", Name: "Same", Versions: []int{1}, In: op.Ports("x:T"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput,
		Ref: func(c *op.Call) error {
			copy(c.Output(0, dtype.Float32, c.In[0].Shape...).Data, c.In[0].Data)
			return nil
		}})
}

// A kernel of the subset notices tensors that were not copied to its memory.
func TestSubsetNoticesMissingCopies(t *testing.T) {
	s := Subset(1)
	n := ir.NewNode("providertest", "Same", 1, []*ir.Value{ir.NewValue("x", ir.Type{})}, []*ir.Value{ir.NewValue("y", ir.Type{})}, nil)
	k, err := s.Compile(&op.Prep{Node: n})
	if err != nil {
		t.Fatal(err)
	}
	host := func() *tensor.Tensor { return tensor.New(dtype.Float32, 4) }
	own := func() *tensor.Tensor {
		return &tensor.Tensor{DType: dtype.Float32, Shape: []int{4}, Data: s.Memory().Alloc(16)}
	}
	for _, c := range []struct {
		in, out *tensor.Tensor
		fault   string
	}{{host(), own(), "input 0"}, {own(), host(), "output 0"}, {own(), own(), ""}} {
		err := k.Run(&op.Call{Context: context.Background(), Node: n, In: []*tensor.Tensor{c.in}, Out: []*tensor.Tensor{c.out}})
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("expected a fault at %q, found %v", c.fault, err)
		}
	}
}

// device is a provider with memory of its own of which only costs matter.
type device struct {
	Provider
	copy float64
}

func (d device) Memory() Memory { return deviceMemory{d.copy} }

type deviceMemory struct{ copy float64 }

func (deviceMemory) Alloc(n int) []byte        { return make([]byte, n) }
func (deviceMemory) Free([]byte)               {}
func (deviceMemory) Upload(dst, host []byte)   { copy(dst, host) }
func (deviceMemory) Download(host, src []byte) { copy(host, src) }
func (m deviceMemory) CopyCost(int) float64    { return m.copy }

func TestPartition(t *testing.T) {
	inf := math.Inf(1)
	// A chain of six nodes; the device is faster at 1, 2 and 4, and can't do 3.
	chain := func(seconds ...[]float64) []Item {
		items := make([]Item, len(seconds))
		for i, s := range seconds {
			items[i] = Item{Seconds: s, In: []Operand{{From: i - 1, Bytes: 100}}, Bytes: 100, Output: i == len(seconds)-1}
		}
		return items
	}
	nodes := [][]float64{{9, 1}, {1, 5}, {1, 5}, {inf, 1}, {1, 5}, {9, 1}}
	for _, c := range []struct {
		name string
		copy float64
		want []int
	}{
		{"copies cost nothing", 0, []int{1, 0, 0, 1, 0, 1}},
		{"one of the two islands pays", 3, []int{1, 0, 0, 1, 1, 1}},
		{"none pays", 5, []int{1, 1, 1, 1, 1, 1}},
	} {
		if got := Partition(chain(nodes...), []Provider{device{CPU, c.copy}, CPU}); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, expected %v", c.name, got, c.want)
		}
	}
	// What only renames bytes stays where they are.
	views := chain([]float64{1, 9}, []float64{0, 0}, []float64{1, 9})
	views[1].Free = true
	if got := Partition(views, []Provider{device{CPU, 0.1}, CPU}); !slices.Equal(got, []int{0, 0, 0}) {
		t.Errorf("a view: got %v", got)
	}
}

func TestFind(t *testing.T) {
	for _, name := range []string{"cpu", "ref", "subset:7"} {
		if p, err := Find(name); err != nil || p.Name() != name {
			t.Errorf("%s: %v %v", name, p, err)
		}
	}
	for _, name := range []string{"gpu", "subset:", "subset:x"} {
		if _, err := Find(name); err == nil || !strings.Contains(err.Error(), "expected") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
