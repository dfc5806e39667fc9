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
	"github.com/salver-ml/salver/internal/shape"
)

// Winograd marks the convolutions that Winograd's algorithm computes. Its
// weights take four times the memory, so the layers with the most pixels come
// first, which win the most for each byte, until a part of the largest activations is
// spent, since it pays where these are large and weights are small, and a small part of the
// model's weights, or what is little for any process. It needs working memory too, so a layer
// at which the activations are the largest is left alone, unless that is little beside them. Neither batch nor threads enter into it. Where a model leaves the size of
// its images open, one of imageSize decides which layers may; a run whose planes are too small takes
// the direct algorithm for them.
var Winograd = pass.Pass{
	Name: "winograd", Level: 3, Last: true,
	Doc: fmt.Sprintf("Convolutions of 3×3 and stride 1 over %d pixels or more, of images and of the planes of volumes, use Winograd's algorithm, those with the most pixels first, "+
		"as long as its larger weights take no more than %d %% of what the largest activations do and %d %% of the model's weights, or %d MiB, "+
		"and its working memory no more than %d %% of the largest activations. Of images whose size the model leaves open %d² are taken to decide.",
		conv.WinogradPixels, winogradPercent, winogradWeightsPercent, winogradLeast>>20, winogradScratchPercent, imageSize),
	Rewrite: markWinograd,
}

const (
	// imageSize stands for the height and width that a model leaves open: at half of it a detector's
	// layers on an eighth and a sixteenth of the image would have too few pixels, which most images give them.
	imageSize = 512
	// winogradPercent is spent of the largest activations, winogradWeightsPercent of all
	// weights: of ResNet-50 that pays for all layers with so many pixels.
	winogradPercent        = 15
	winogradWeightsPercent = 6
	// winogradLeast may be spent in any model: networks that restore or enlarge images have
	// small weights and many pixels.
	winogradLeast = 8 << 20
	// winogradScratch is the working memory of two threads, which may add a small part to the
	// largest activations.
	winogradScratch        = 2 * conv.WinogradScratch
	winogradScratchPercent = 7
)

type winogradKey struct{}

// winogradPlan is what is chosen for a graph, and the sizes that this is chosen by.
type winogradPlan struct {
	facts  op.Facts
	chosen map[*ir.Node]bool
}

func markWinograd(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !winogradForm(n) || n.Has("algorithm") {
		return nil, nil
	}
	p, ok := c.Memo[winogradKey{}].(*winogradPlan)
	if !ok {
		p = &winogradPlan{facts: imageFacts(c.Graph)}
		p.choose(c)
		c.Memo[winogradKey{}] = p
	}
	if !p.could(c, n) {
		return nil, nil
	}
	if !p.chosen[n] {
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
	return b.replace(fmt.Sprintf("%s has %d pixels: Winograd's algorithm", n, p.pixels(n)), n.Out[0], y), nil
}

// imageFacts are the sizes in a graph whose images have a size that it leaves open, and nil in others, or
// where it can't be any: an input of images has four dimensions, the first of which counts rows of a batch.
func imageFacts(g *ir.Graph) op.Facts {
	facts, open := make([]op.Fact, len(g.Inputs)), false
	for i, v := range g.Inputs {
		facts[i] = op.FactOf(v)
		s := v.Type.Shape
		if len(s) != 4 {
			continue
		}
		s = slices.Clone(s)
		for j, d := range s {
			if _, known := d.Int(); j > 0 && !known {
				s[j], open = shape.Const(imageSize), true
			}
		}
		facts[i].Type.Shape = s
	}
	if !open {
		return nil
	}
	bound, err := op.Bind(g, facts)
	if err != nil {
		return nil
	}
	return bound
}

func blockedConv(n *ir.Node) bool { return n.Domain == op.Salver && n.Op == "BlockedConv" }

// winogradForm says whether a node is a convolution whose kernels may have the algorithm.
func winogradForm(n *ir.Node) bool {
	return blockedConv(n) || n.Is("Conv") || n.Domain == op.Salver && n.Op == "FusedConv"
}

// could says whether the kernels have it for a layer of enough pixels,
// their number known: not in bfloat16.
func (w *winogradPlan) could(c *pass.Context, n *ir.Node) bool {
	if !winogradForm(n) || w.pixels(n) < conv.WinogradPixels {
		return false
	}
	if !blockedConv(n) && (!match.Float32(n.In[0]) || !n.In[1].IsConst() || n.Input(2) != nil && !n.In[2].IsConst() || n.In[1].Const.Rank() != 5) {
		return false
	}
	p := shapeParams(n)
	p.BF16 = c.Precision == op.BF16
	return conv.WinogradFits(p, level())
}

// pixels is the number of pixels of a blocked output [N, C/b, H, W, b] or of a volume [N, C, D, H, W], or 0.
func (w *winogradPlan) pixels(n *ir.Node) int {
	s := w.facts.Get(n.Out[0]).Shape
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

// choose spends the memory. What is marked already is chosen again.
func (w *winogradPlan) choose(c *pass.Context) {
	var layers []*ir.Node
	peak := 0
	for _, n := range c.Graph.Nodes {
		if w.could(c, n) {
			layers = append(layers, n)
		}
		peak = max(peak, w.activations(n))
	}
	left := max(winogradLeast, peak/100*winogradPercent+weights(c.Graph)/100*winogradWeightsPercent)
	most := peak + peak/100*winogradScratchPercent
	layers = slices.DeleteFunc(layers, func(n *ir.Node) bool { return w.activations(n)+winogradScratch > most+w.copied(n) })
	slices.SortStableFunc(layers, func(a, b *ir.Node) int { return cmp.Compare(w.pixels(b), w.pixels(a)) })
	w.chosen = map[*ir.Node]bool{}
	for _, n := range layers {
		if need := winogradBytes(n); need <= left {
			left -= need
			w.chosen[n] = true
		}
	}
}

// copied is the bytes that another algorithm takes to bring a volume into blocks.
func (w *winogradPlan) copied(n *ir.Node) int {
	if blockedConv(n) {
		return 0
	}
	return w.bytes(n.In[0])
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
func (w *winogradPlan) activations(n *ir.Node) int {
	bytes := 0
	for _, v := range slices.Concat(n.In, n.Out) {
		if v == nil || v.IsConst() {
			continue
		}
		bytes += w.bytes(v)
	}
	return bytes
}

// bytes is the bytes of a value for one row of a batch: unknown sizes count as 1.
func (w *winogradPlan) bytes(v *ir.Value) int {
	elements := 1
	for _, d := range w.facts.Get(v).Shape {
		if size, ok := d.Int(); ok {
			elements *= size
		}
	}
	return v.Type.DType.Bytes(elements)
}
