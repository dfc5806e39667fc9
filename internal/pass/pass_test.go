package pass

import (
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops"
)

func parse(t *testing.T, text string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(text, 17)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes {
		if err := op.Complete(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	return g
}

const chain = `graph "g" {
  input %x float32[2,3]
  %a float32[2,3] = Relu(%x)
  %b float32[2,3] = Neg(%a)
  output %b
}
`

// replacing makes a pass that puts what f makes in the place of each Relu.
func replacing(name string, f func(c *Context, n *ir.Node) *ir.Node) Pass {
	return Pass{Name: name, Level: 1, Rewrite: func(c *Context, n *ir.Node) (*ir.Patch, error) {
		if !n.Is("Relu") {
			return nil, nil
		}
		m := f(c, n)
		return &ir.Patch{Reason: name, Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: m.Out[0]}}}, nil
	}}
}

func node(c *Context, name string, attrs map[string]*ir.Attr, in ...*ir.Value) *ir.Node {
	return ir.NewNode("", name, 17, in, []*ir.Value{c.Value("new")}, attrs)
}

func TestAPassThatWouldBreakATypeIsStopped(t *testing.T) {
	for _, c := range []struct {
		why  string
		pass Pass
		want string
	}{
		{"another element type", replacing("bad", func(c *Context, n *ir.Node) *ir.Node {
			return node(c, "Cast", map[string]*ir.Attr{"to": ir.Int(10)}, n.In[0])
		}), `at Relu "Relu_a": patch "bad": "a" is float32[2,3], its replacement "new" is float16[2,3]`},
		{"another shape", replacing("bad", func(c *Context, n *ir.Node) *ir.Node {
			return node(c, "Transpose", nil, n.In[0])
		}), "has shape [2,3], its replacement \"new\" has [3,2]"},
		{"an unknown attribute", replacing("bad", func(c *Context, n *ir.Node) *ir.Node {
			return node(c, "Abs", map[string]*ir.Attr{"axis": ir.Int(1)}, n.In[0])
		}), `attribute "axis" is unknown`},
		{"an impossible node", replacing("bad", func(c *Context, n *ir.Node) *ir.Node {
			return node(c, "MatMul", nil, n.In[0], n.In[0])
		}), "MatMul"},
	} {
		t.Run(c.why, func(t *testing.T) {
			g := parse(t, chain)
			abs := Pass{Name: "good", Level: 1, Rewrite: func(c *Context, n *ir.Node) (*ir.Patch, error) {
				if !n.Is("Neg") {
					return nil, nil
				}
				m := node(c, "Abs", nil, n.In[0])
				return &ir.Patch{Reason: "good", Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: m.Out[0]}}}, nil
			}}
			r, err := Run(g, []Pass{c.pass, abs}, Options{Level: 1, Verify: true})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(r.Passes[0].Stopped, c.want) {
				t.Errorf("stopped for %q, want %q", r.Passes[0].Stopped, c.want)
			}
			if len(r.Passes[1].Patches) != 1 || len(g.Nodes) != 2 || g.Nodes[0].Op != "Relu" || g.Nodes[1].Op != "Abs" {
				t.Errorf("the other pass did not go on: %s", g)
			}
		})
	}
}

func TestVerifyFindsNodesOutsideTheGraph(t *testing.T) {
	g := parse(t, chain)
	stray := Pass{Name: "stray", Level: 1, Rewrite: func(c *Context, n *ir.Node) (*ir.Patch, error) {
		if !n.Is("Neg") {
			return nil, nil
		}
		node(c, "Exp", nil, n.In[0]) // linked, but in no patch
		m := node(c, "Abs", nil, n.In[0])
		return &ir.Patch{Reason: "stray", Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: m.Out[0]}}}, nil
	}}
	r, err := Run(g, []Pass{stray}, Options{Level: 1, Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Passes[0].Stopped, "which is not in the graph") {
		t.Errorf("got %q", r.Passes[0].Stopped)
	}
}

func TestAPatchMayTakeOverWhatABodyComputes(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x float32[2]
  input %c bool[]
  %a = Abs(%x)
  %y = If(%c) {else_branch = graph "e" {
      %b = Neg(%a)
      %d = Relu(%b)
      output "o" %d
    }, then_branch = graph "t" {
      %d = Exp(%a)
      output "o" %d
    }}
  output %y
}
`)
	outwards := Pass{Name: "outwards", Level: 1, Rewrite: func(c *Context, n *ir.Node) (*ir.Patch, error) {
		if !n.Is("Abs") {
			return nil, nil
		}
		reader := n.Out[0].Uses()[0].Node
		if !reader.Is("Neg") || slices.Contains(c.Graph.Nodes, reader) {
			return nil, nil
		}
		m := node(c, "Neg", nil, n.Out[0])
		return &ir.Patch{Reason: "outwards", Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: reader.Out[0], New: m.Out[0]}}}, nil
	}}
	r, err := Run(g, []Pass{outwards}, Options{Level: 1, Verify: true})
	if err != nil || len(r.Passes[0].Patches) != 1 || r.Passes[0].Stopped != "" {
		t.Fatalf("%v %+v\n%s", err, r, g)
	}
}

func TestWhatAPatchTeachesReachesLaterNodes(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x float32[2,3]
  input %s int64[2]
  %a = Reshape(%x, %s)
  %b = Relu(%a)
  output %b
}
`)
	constant := Pass{Name: "constant", Level: 1, Rewrite: func(c *Context, n *ir.Node) (*ir.Patch, error) {
		if !n.Is("Reshape") || !n.Out[0].Type.Shape[0].IsUnknown() {
			return nil, nil
		}
		m := node(c, "Flatten", map[string]*ir.Attr{"axis": ir.Int(2)}, n.In[0])
		return &ir.Patch{Reason: "known", Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: m.Out[0]}}}, nil
	}}
	if _, err := Run(g, []Pass{constant}, Options{Level: 1, Verify: true}); err != nil {
		t.Fatal(err)
	}
	if got := g.Outputs[0].Value.Type.String(); got != "float32[6,1]" {
		t.Errorf("the result is %s, want float32[6,1]", got)
	}
}

func TestGrowthIsBoundedOverAll(t *testing.T) {
	g := parse(t, chain)
	granted := 0
	greedy := Pass{Name: "greedy", Level: 1, Rewrite: func(c *Context, _ *ir.Node) (*ir.Patch, error) {
		for c.Grow(1 << 18) {
			granted++
		}
		return nil, nil
	}}
	if _, err := Run(g, []Pass{greedy}, Options{Level: 1}); err != nil {
		t.Fatal(err)
	}
	if granted != 16 {
		t.Errorf("%d quarters of a MiB were granted, want 16", granted)
	}
}

// A pass that comes last sees nothing that another could still change.
func TestLast(t *testing.T) {
	g := parse(t, chain)
	to := func(name, from, result string, last bool) Pass {
		return Pass{Name: name, Level: 1, Last: last, Rewrite: func(c *Context, n *ir.Node) (*ir.Patch, error) {
			if !n.Is(from) {
				return nil, nil
			}
			m := node(c, result, nil, n.In[0])
			return &ir.Patch{Reason: name, Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: m.Out[0]}}}, nil
		}}
	}
	// Neg becomes Ceil in the first round and Floor in the second; last would take Ceil.
	r, err := Run(g, []Pass{to("second", "Ceil", "Floor", false), to("last", "Ceil", "Abs", true), to("first", "Neg", "Ceil", false)}, Options{Level: 1})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Passes[1].Patches); n != 0 || g.Nodes[1].Op != "Floor" {
		t.Errorf("the last pass made %d patches, the graph is\n%s", n, g)
	}
}
