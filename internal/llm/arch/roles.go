package arch

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/blockq"
	"github.com/salver-ml/salver/internal/op"
)

// A token's role is whether it came with the request or was generated. Products may
// compute the two differently, where that is faster for the many tokens of a prompt.

// withRole is how many inputs a product has that knows the roles.
const withRole = 5

// giveRoles tells the products which tokens were generated. Logits are computed in one
// arithmetic, whoever wants them. Where products of prompts have an arithmetic of their
// own, attention has one too.
func (b *Builder) giveRoles() {
	generated := b.inputs["generated"]
	if generated == nil {
		return
	}
	for i, n := range b.graph.Nodes[:b.layers] {
		if n.FullName() != op.Salver+"::BlockMatMul" {
			continue
		}
		for len(n.In) < withRole-1 {
			n.AddInput(nil) // no bias, no residual
		}
		if b.narrow > 0 && i >= b.narrow {
			n.AddInput(b.inputs["generated_rows"])
		} else {
			n.AddInput(generated)
		}
	}
	if !HasRoles(b.graph) {
		return
	}
	for _, n := range b.graph.Nodes[:b.layers] {
		if n.FullName() == op.Salver+"::PagedAttention" {
			n.AddInput(generated)
		}
	}
}

// HasRoles reports whether a graph computes tokens of prompts differently from those
// that are generated, on this machine.
func HasRoles(g *ir.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool {
		if n.FullName() != op.Salver+"::BlockMatMul" || len(n.In) < withRole {
			return false
		}
		f, err := block.Parse(n.Str("format"))
		return err == nil && blockq.PromptsDiffer(f)
	})
}
