package layout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Winograd marks the convolutions that Winograd's algorithm computes. Its
// weights take four times the memory, so the layers with the most pixels come
// first, which win the most for each byte, until a part of the largest activations is
// spent, since it pays where these are large and weights are small, and a small part of the
// model's weights. It needs working memory too, so a layer at which the activations are the
// largest is left alone. Neither batch nor threads enter into it.
var Winograd = pass.Pass{
	Name: "winograd", Level: 3, Last: true,
	Doc: fmt.Sprintf("Convolutions of 3×3 and stride 1 over %d pixels or more, of images and of the planes of volumes, use Winograd's algorithm, those with the most pixels first, "+
		"as long as its larger weights take no more than %d %% of what the largest activations do and %d %% of the model's weights, and its working memory nothing.",
		winogradPixels, winogradPercent, winogradWeightsPercent),
	Rewrite: markWinograd,
}

const (
	// winogradPixels are the fewest that make up for reading larger weights.
	winogradPixels = 28 * 28
	// winogradPercent is spent of the largest activations, winogradWeightsPercent of all
	// weights: of ResNet-50 that pays for all layers with so many pixels.
	winogradPercent        = 15
	winogradWeightsPercent = 6
	// winogradScratch is the working memory of two threads.
	winogradScratch = 2 * conv.WinogradScratch
)

type winogradKey struct{}

func markWinograd(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !couldWinograd(c, n) || n.Has("algorithm") {
		return nil, nil
	}
	chosen, ok := c.Memo[winogradKey{}].(map[*ir.Node]bool)
	if !ok {
		chosen = chooseWinograd(c)
		c.Memo[winogradKey{}] = chosen
	}
	if !chosen[n] {
		c.Near(n, "its weights would take %d bytes more, which other layers use better, or it would need working memory where there is the least", winogradBytes(n))
		return nil, nil
	}
	attrs := maps.Clone(n.Attrs)
	attrs["algorithm"] = ir.Str(conv.Winograd.String())
	b, name := newBuilder(c, blockSize()), "BlockedConv"
	if !blockedConv(n) {
		name = "FusedConv"
	}
	y := b.node(op.Salver, name, n.Out[0].Name, n.In, attrs)
	y.Producer.Name = n.Name
	return b.replace(fmt.Sprintf("%s has %d pixels: Winograd's algorithm", n, pixels(n)), n.Out[0], y), nil
}

// couldWinograd says whether the kernels have it for a layer of enough pixels,
// their number known: not in bfloat16.
func couldWinograd(c *pass.Context, n *ir.Node) bool {
	volume := n.Is("Conv") || n.Domain == op.Salver && n.Op == "FusedConv"
	if !blockedConv(n) && !volume || pixels(n) < winogradPixels {
		return false
	}
	if volume && (!match.Float32(n.In[0]) || !n.In[1].IsConst() || n.Input(2) != nil && !n.In[2].IsConst() || n.In[1].Const.Rank() != 5) {
		return false
	}
	p := shapeParams(n)
	p.BF16 = c.Precision == op.BF16
	return conv.WinogradFits(p, level())
}

func blockedConv(n *ir.Node) bool { return n.Domain == op.Salver && n.Op == "BlockedConv" }

// pixels is the number of pixels of a blocked output [N, C/b, H, W, b] or of a volume [N, C, D, H, W], or 0.
func pixels(n *ir.Node) int {
	s := n.Out[0].Type.Shape
	if len(s) != 5 {
		return 0
	}
	all := 1
	for i, d := range s[2:] {
		size, known := d.Int()
		switch {
		case i == 2 && blockedConv(n):
		case !known:
			return 0
		default:
			all = min(all*size, 1<<40)
		}
	}
	return all
}

// winogradBytes is what a layer's weights take more: 36 numbers for 9.
func winogradBytes(n *ir.Node) int { return 3 * len(n.In[1].Const.Data) }

// chooseWinograd spends the memory. What is marked already is chosen again.
func chooseWinograd(c *pass.Context) map[*ir.Node]bool {
	var layers []*ir.Node
	peak := 0
	for _, n := range c.Graph.Nodes {
		if couldWinograd(c, n) {
			layers = append(layers, n)
		}
		peak = max(peak, activations(n))
	}
	left := peak/100*winogradPercent + weights(c.Graph)/100*winogradWeightsPercent
	layers = slices.DeleteFunc(layers, func(n *ir.Node) bool { return activations(n)+winogradScratch > peak+copied(n) })
	slices.SortStableFunc(layers, func(a, b *ir.Node) int { return cmp.Compare(pixels(b), pixels(a)) })
	chosen := map[*ir.Node]bool{}
	for _, n := range layers {
		if need := winogradBytes(n); need <= left {
			left -= need
			chosen[n] = true
		}
	}
	return chosen
}

// copied is the bytes that another algorithm takes to bring a volume into blocks.
func copied(n *ir.Node) int {
	if blockedConv(n) {
		return 0
	}
	return bytesOf(n.In[0])
}

// weights is the bytes of all constants that nodes read.
func weights(g *ir.Graph) int {
	bytes, seen := 0, map[*ir.Value]bool{}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			if v != nil && v.IsConst() && !seen[v] {
				seen[v] = true
				bytes += len(v.Const.Data)
			}
		}
	}
	return bytes
}

// activations is the bytes that a node reads and writes for one row of a batch:
// unknown sizes count as 1.
func activations(n *ir.Node) int {
	bytes := 0
	for _, v := range slices.Concat(n.In, n.Out) {
		if v == nil || v.IsConst() {
			continue
		}
		bytes += bytesOf(v)
	}
	return bytes
}

// bytesOf is the bytes of a value for one row of a batch: unknown sizes count as 1.
func bytesOf(v *ir.Value) int {
	elements := 1
	for _, d := range v.Type.Shape {
		if size, ok := d.Int(); ok {
			elements *= size
		}
	}
	return v.Type.DType.Bytes(elements)
}
