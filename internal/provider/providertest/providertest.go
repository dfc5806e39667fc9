// Package providertest is the suite that an execution provider must pass. A
// provider's test is one line:
//
//	func TestConformance(t *testing.T) { providertest.Run(t, mine.Provider()) }
//
// It covers the provider's memory, every registered operator on its own cases
// with the reference as judge, and a graph whose operators go to and fro
// between the provider and the host.
package providertest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops" // registers the operators
	"github.com/salver-ml/salver/internal/ops/optest"
	"github.com/salver-ml/salver/internal/plan"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/provider"
	"github.com/salver-ml/salver/internal/tensor"
)

// Run holds p to what the executor relies on.
func Run(t *testing.T, p provider.Provider) {
	if p.Name() == "" {
		t.Error("it has no name")
	}
	t.Run("memory", func(t *testing.T) { checkMemory(t, p.Memory()) })
	t.Run("operators", func(t *testing.T) { checkOperators(t, p) })
	t.Run("graph", func(t *testing.T) { checkGraph(t, p) })
}

// checkMemory copies to the provider's memory and back.
func checkMemory(t *testing.T, m provider.Memory) {
	if m == nil {
		t.Skip("it works in the host's memory")
	}
	for _, n := range []int{0, 1, 63, 64, 4097, 1 << 20} {
		from, back := make([]byte, n), make([]byte, n)
		for i := range from {
			from[i] = byte(i*7 + n)
		}
		a, b := m.Alloc(n), m.Alloc(n)
		if len(a) != n {
			t.Fatalf("Alloc(%d) gives %d bytes", n, len(a))
		}
		if n > 0 && address(a)%plan.Align != 0 {
			t.Errorf("Alloc(%d) is not aligned to %d bytes", n, plan.Align)
		}
		m.Upload(a, from)
		m.Upload(b, back)
		if m.Download(back, a); !bytes.Equal(back, from) {
			t.Errorf("%d bytes change on the way", n)
		}
		if n > 64 { // parts of an arena are copied too
			if m.Download(back[:1], a[64:65]); back[0] != from[64] {
				t.Errorf("a part of %d bytes is not where it was put", n)
			}
		}
		if c := m.CopyCost(n); c < 0 {
			t.Errorf("copying %d bytes costs %v seconds", n, c)
		}
		m.Free(a)
		m.Free(b)
	}
}

// checkOperators runs the cases of every operator that the provider supports.
func checkOperators(t *testing.T, p provider.Provider) {
	workers := pool.New(2)
	t.Cleanup(workers.Close)
	for _, o := range op.All() {
		if o.Cases == nil || o.Random {
			continue
		}
		t.Run(fmt.Sprintf("%s%s-%d", o.Domain, o.Name, o.Versions[0]), func(t *testing.T) {
			for _, c := range o.Cases.Cases() {
				g, in, err := graphOf(o, c)
				if err != nil {
					t.Fatalf("%s: %v", c.Name, err)
				}
				want, err := run(g, in, exec.Options{Provider: provider.Ref})
				if err != nil {
					continue // a case of an error
				}
				got, err := run(g, in, exec.Options{Provider: p, Pool: workers})
				if err != nil {
					t.Errorf("%s: %v", c.Name, err)
					continue
				}
				for i := range want {
					if err := optest.Compare(got[i], want[i], c.Tol); err != nil {
						t.Errorf("%s: output %d: %v", c.Name, i, err)
					}
				}
			}
		})
	}
}

// graphOf makes a graph of one node for a case.
func graphOf(o *op.Op, c op.Case) (*ir.Graph, []*tensor.Tensor, error) {
	g := &ir.Graph{}
	var given []*tensor.Tensor
	in := make([]*ir.Value, len(c.In))
	for i, t := range c.In {
		if t == nil {
			continue
		}
		in[i] = ir.NewValue(fmt.Sprint("in", i), ir.TypeOf(t))
		g.Inputs = append(g.Inputs, in[i])
		given = append(given, t)
	}
	n := max(len(c.Out), 1)
	out := make([]*ir.Value, n)
	for i := range out {
		out[i] = ir.NewValue(fmt.Sprint("out", i), ir.Type{})
	}
	attrs := map[string]*ir.Attr{}
	for k, a := range c.Attrs {
		attrs[k] = a
	}
	opset := c.Opset
	if opset == 0 {
		opset = o.Versions[0]
	}
	node := ir.NewNode(o.Domain, o.Name, opset, in, out, attrs)
	node.Name = o.Name + " " + c.Name
	g.Nodes = []*ir.Node{node}
	for i, v := range out {
		g.AddOutput(fmt.Sprint("out", i), v)
	}
	return g, given, op.Complete(node)
}

func run(g *ir.Graph, in []*tensor.Tensor, o exec.Options) ([]*tensor.Tensor, error) {
	s := exec.New(g, o)
	defer s.Close()
	if _, err := s.Run(context.Background(), in); err != nil {
		return nil, err
	}
	return s.Run(context.Background(), in) // in the frame of the first run
}

// checkGraph runs a network of many forks, from several goroutines at once.
func checkGraph(t *testing.T, p provider.Provider) {
	g := ladder(12)
	x := tensor.FromSlice(ramp(2*8*6), 2, 8, 6)
	want, err := run(g, []*tensor.Tensor{x}, exec.Options{Provider: provider.Ref})
	if err != nil {
		t.Fatal(err)
	}
	s := exec.New(g, exec.Options{Provider: p})
	defer s.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				got, err := s.Run(context.Background(), []*tensor.Tensor{x})
				if err != nil {
					t.Error(err)
					return
				}
				for i := range want {
					if err := optest.Compare(got[i], want[i], 1e-5); err != nil {
						t.Errorf("output %d: %v", i, err)
					}
				}
			}
		})
	}
	wg.Wait()
	made, err := s.PlanFor([]*tensor.Tensor{x})
	if err != nil {
		t.Fatal(err)
	}
	n, size := made.Copies()
	t.Logf("%d steps, %d copies of %d bytes", len(made.Steps()), n, size)
	if p.Memory() == nil && n > 0 {
		t.Errorf("%d copies, though it works in the host's memory", n)
	}
}
