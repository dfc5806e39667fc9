package guard

import (
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/ir"
)

// Target is a kind of CPU that a model is quantized for.
type Target struct {
	Name  string
	level cpu.Target
	vnni  bool
}

// Targets are the kinds that are known.
var Targets = []Target{{"avx2", cpu.AVX2, false}, {"vnni", cpu.AVX512, true}, {"amx", cpu.AMX, true}}

// FindTarget gives the target of a name.
func FindTarget(name string) (Target, error) {
	var names []string
	for _, t := range Targets {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return Target{}, fmt.Errorf("%q: expected one of %s", name, strings.Join(names, ", "))
}

// Force makes kernels those of the target until restore is called; ok is false where
// this machine has none like it.
func (t Target) Force() (restore func(), ok bool) {
	if !slices.Contains(cpu.Levels(), t.level) {
		return nil, false
	}
	restore = cpu.Force(t.level)
	if has := cpu.Has(); has.VNNI != t.vnni || t.level == cpu.AVX2 && has.AVXVNNI {
		restore()
		return nil, false
	}
	return restore, true
}

// cost is by what factor integers make a kind of layer faster. bench/quant/costs.py
// measures it on chains of such layers, of which this is the middle of a kind's sizes.
type cost struct {
	kind       string
	avx2, vnni float64
}

// AVX2 has no instruction that adds up products of bytes in 32 bits: where a window
// has few channels to add up, widening costs more than the smaller numbers win. Tiles
// (amx) hold dense layers only and are faster there than VNNI.
var (
	depthwise    = cost{"depthwise convolutions", .6, 1.2}
	narrowGroups = cost{"convolutions in groups of less than 8 channels", .6, 2.4}
	groups       = cost{"convolutions in groups", 1.2, 3}
	dense        = cost{"convolutions", 1.2, 3.8}
	products     = cost{"products", 1.4, 3.8}
)

// costOf gives the kind of a layer; ok is false of other nodes.
func costOf(n *ir.Node) (c cost, ok bool) {
	switch {
	case n.Is("MatMul") || n.Is("Gemm"):
		return products, true
	case !n.Is("Conv") || len(n.In[1].Type.Shape) < 3:
		return c, false
	}
	channels, known := n.In[1].Type.Shape[1].Int()
	switch g := n.Int("group"); {
	case g <= 1 || !known:
		return dense, true
	case channels == 1:
		return depthwise, true
	case channels < 8:
		return narrowGroups, true
	}
	return groups, true
}

// Slow gives the layers of a graph that are faster in float32 on a target than in
// integers, by name, and why.
func (t Target) Slow(g *ir.Graph) map[string]string {
	slow := map[string]string{}
	for _, n := range g.Nodes {
		c, ok := costOf(n)
		gain := c.vnni
		if !t.vnni {
			gain = c.avx2
		}
		if ok && gain < 1 {
			slow[n.Name] = fmt.Sprintf("%s: %s take %.1f times as long in int8", t.Name, c.kind, 1/gain)
		}
	}
	return slow
}
