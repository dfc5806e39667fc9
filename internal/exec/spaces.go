package exec

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/provider"
	"github.com/salver-ml/salver/internal/tensor"
)

// setProviders orders the providers, the host's last, and numbers their
// memories; space 0 is the host's.
func (s *Session) setProviders(accelerators []provider.Provider, host provider.Provider) {
	if host == nil {
		host = provider.CPU
	}
	if host.Memory() != nil {
		accelerators, host = append(accelerators[:len(accelerators):len(accelerators)], host), provider.CPU
	}
	s.providers = append(append([]provider.Provider{}, accelerators...), host)
	s.spaces = []provider.Memory{nil}
	s.spaceOf = make([]int, len(s.providers))
	for i, p := range s.providers {
		if m := p.Memory(); m != nil {
			s.spaceOf[i] = len(s.spaces)
			s.spaces = append(s.spaces, m)
		}
	}
	s.placed = make([][]int, len(s.spaces))
}

// host is the provider that computes what no other does.
func (s *Session) host() int { return len(s.providers) - 1 }

// divide gives each node a provider.
func (c *compiler) divide(nodes []needed) {
	if len(c.s.providers) == 1 {
		return
	}
	c.on = make(map[*ir.Node]int, len(nodes))
	items := make([]provider.Item, len(nodes))
	index := make(map[*ir.Node]int, len(nodes))
	for i, n := range nodes {
		index[n.Node] = i
		items[i] = c.item(n.Node, index)
	}
	for i, p := range provider.Partition(items, c.s.providers) {
		c.on[nodes[i].Node] = p
	}
}

func (c *compiler) item(n *ir.Node, index map[*ir.Node]int) provider.Item {
	it := provider.Item{Node: n, Seconds: make([]float64, len(c.s.providers))}
	in, out := make([]op.Fact, len(n.In)), make([]op.Fact, len(n.Out))
	movable := len(n.Subgraphs()) == 0
	for i, v := range n.In {
		in[i] = c.facts.Get(v)
		movable = movable && (v == nil || canMove(in[i]))
		if v == nil || in[i].Const != nil {
			continue
		}
		from, made := index[v.Producer]
		if !made {
			from = -1
		}
		it.In = append(it.In, provider.Operand{From: from, Bytes: bytesOf(in[i])})
	}
	for i, v := range n.Out {
		if v != nil {
			out[i] = c.facts.Get(v)
			movable = movable && canMove(out[i])
			it.Bytes += bytesOf(out[i])
			it.Output = it.Output || v.IsOutput()
		}
	}
	movable = movable && len(it.In) > 0
	it.Free = movable && op.Of(n).View
	for i, p := range c.s.providers {
		switch {
		case i < c.s.host() && !(movable && (it.Free || p.Supports(n, in, out))):
			it.Seconds[i] = math.Inf(1)
		case !it.Free:
			it.Seconds[i] = p.Cost(n, in, out)
		}
	}
	return it
}

// canMove reports whether a value is a tensor of known size that any memory can hold.
func canMove(f op.Fact) bool {
	_, ok := fixed(f)
	return ok && f.DType != dtype.String
}

func bytesOf(f op.Fact) int {
	dims, ok := fixed(f)
	if !ok {
		return 0
	}
	return f.DType.Bytes(tensor.Count(dims))
}

// in gives the slot of a value that is read in a space: constants get theirs
// here, and values of another space are copied.
func (c *compiler) in(v *ir.Value, space int) (int, error) {
	if v == nil {
		return -1, nil
	}
	if id, ok := c.slotOf[place{v, space}]; ok {
		return id, nil
	}
	if space > 0 {
		if v.Const != nil {
			return c.constIn(v, v.Const, space)
		}
		from, err := c.in(v, 0)
		if err != nil {
			return 0, err
		}
		return c.copyTo(v, from, space)
	}
	for s := 1; s < len(c.s.spaces); s++ {
		if from, ok := c.slotOf[place{v, s}]; ok && c.plan.slots[from].kind != slotConst {
			return c.copyTo(v, from, 0)
		}
	}
	return c.addSlot(v, slotConst, 0, 0), nil
}

// constIn copies a constant into a space, once for all plans.
func (c *compiler) constIn(v *ir.Value, t *tensor.Tensor, space int) (int, error) {
	up, err := c.s.weights.upload(t, space, c.s.spaces[space])
	if err != nil {
		return 0, err
	}
	id := c.addSlot(v, slotConst, 0, space)
	c.plan.slots[id].tensor = up
	return id, nil
}

// copyTo adds a step that copies a value into a space.
func (c *compiler) copyTo(v *ir.Value, from, space int) (int, error) {
	src := c.plan.slots[from]
	if src.shape == nil || src.kind == slotDynamic {
		return 0, fmt.Errorf("the size of %q is unknown: it cannot be copied to another provider's memory", v.Name)
	}
	id := c.addSlot(v, slotArena, 0, space)
	c.plan.slots[id].kind, c.plan.slots[id].tensor = slotArena, nil // what only this plan knows is copied in each run
	m := c.s.spaces[max(space, src.space)]
	c.plan.steps = append(c.plan.steps, &step{node: copyNode(v), copy: true, scratch: -1, over: -1, in: []int{from}, out: []int{id},
		provider: c.providerOf(max(space, src.space)), space: space, kernel: copyKernel{m, space > 0}})
	return id, nil
}

// providerOf is the provider whose memory is a space.
func (c *compiler) providerOf(space int) int {
	for i, s := range c.s.spaceOf {
		if s == space {
			return i
		}
	}
	return c.s.host()
}

// copyNode stands for a copy of v in reports; it is no part of the graph.
func copyNode(v *ir.Value) *ir.Node {
	return &ir.Node{Domain: op.Salver, Op: "Copy", Name: "copy of " + v.Name}
}

// copyKernel copies a tensor between the host and a provider's memory.
type copyKernel struct {
	memory provider.Memory
	up     bool
}

// Run copies.
func (k copyKernel) Run(c *op.Call) error {
	if k.up {
		k.memory.Upload(c.Out[0].Data, c.In[0].Data)
	} else {
		k.memory.Download(c.Out[0].Data, c.In[0].Data)
	}
	return nil
}
