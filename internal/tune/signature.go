package tune

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

// Signature describes a layer by all that its time depends on: precision,
// operator, attributes, types and shapes. anyBatch leaves the first dimension of
// what isn't constant out, as choices of the arithmetic must.
func Signature(p *op.Prep, anyBatch bool) string {
	var b strings.Builder
	if p.Precision != op.FP32 {
		b.WriteString(p.Precision.String() + " ")
	}
	if p.Node.Domain != "" {
		b.WriteString(p.Node.Domain + ".")
	}
	b.WriteString(p.Node.Op)
	writeFacts(&b, p.In, anyBatch)
	for _, name := range slices.Sorted(maps.Keys(p.Node.Attrs)) {
		fmt.Fprintf(&b, " %s=%s", name, p.Node.Attrs[name])
	}
	b.WriteString(" ->")
	writeFacts(&b, p.Out, anyBatch)
	return b.String()
}

func writeFacts(b *strings.Builder, facts []op.Fact, anyBatch bool) {
	for i, f := range facts {
		if i == 0 {
			b.WriteByte('(')
		} else {
			b.WriteString(", ")
		}
		if !f.Present {
			b.WriteByte('_')
			continue
		}
		if f.Const != nil {
			b.WriteString("const ")
		}
		b.WriteString(f.DType.String() + "[")
		for k, d := range f.Shape {
			if k > 0 {
				b.WriteByte(',')
			}
			if k == 0 && anyBatch && f.Const == nil {
				b.WriteByte('*')
				continue
			}
			b.WriteString(d.String())
		}
		b.WriteByte(']')
	}
	b.WriteByte(')')
}

// sampled is how many bytes of each constant's beginning Fingerprint reads.
const sampled = 64

// Fingerprint identifies an optimized graph: its nodes and types, and the
// beginnings of its constants.
func Fingerprint(g *ir.Graph) string {
	h := sha256.New()
	for _, v := range g.Inputs {
		fmt.Fprintln(h, v.Type)
	}
	for _, n := range g.Nodes {
		writeNode(h, n)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func writeNode(h io.Writer, n *ir.Node) {
	fmt.Fprintln(h, n.Domain, n.Op)
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		fmt.Fprintln(h, name, n.Attrs[name])
	}
	for _, v := range n.In {
		if v == nil {
			continue
		}
		fmt.Fprintln(h, v.Type)
		if v.IsConst() {
			fmt.Fprintf(h, "%x\n", v.Const.Data[:min(len(v.Const.Data), sampled)])
		}
	}
}
