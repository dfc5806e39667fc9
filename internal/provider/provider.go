// Package provider holds the execution providers: what turns an operator with
// known input types into a kernel. A provider must give the answers of the
// reference implementations; package providertest checks it.
//
// A session offers every node to its providers. [Partition] divides the nodes
// among them by what each supports, what it costs there, and what it costs to
// copy tensors where the memory of one ends and that of another begins; the
// executor makes those copies.
package provider

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

// Provider computes operators.
type Provider interface {
	// Name is what commands call it, e.g. "cpu".
	Name() string
	// Supports reports whether it computes a node with these inputs and outputs,
	// whose shapes are all known.
	Supports(n *ir.Node, in, out []op.Fact) bool
	// Cost predicts the seconds that one run of a supported node takes.
	Cost(n *ir.Node, in, out []op.Fact) float64
	// Compile makes a kernel. A nil kernel leaves the operator to the reference,
	// which only providers in host memory may do.
	Compile(p *op.Prep) (op.Kernel, error)
	// Memory is where its kernels find and leave tensors; nil is the host's.
	Memory() Memory
}

// Memory is memory of a provider's own. Its bytes are ranges of addresses that
// only Upload, Download and the provider's kernels may touch.
type Memory interface {
	// Alloc gives n bytes, aligned to plan.Align.
	Alloc(n int) []byte
	// Free takes back what Alloc gave.
	Free(b []byte)
	// Upload copies from the host, Download to it.
	Upload(dst, host []byte)
	Download(host, src []byte)
	// CopyCost predicts the seconds that a copy of n bytes takes.
	CopyCost(n int) float64
}

// CPU runs operators on the fast kernels of this machine's instruction set.
var CPU Provider = cpu{}

// Ref runs every operator on its reference implementation.
var Ref Provider = ref{}

type cpu struct{}

func (cpu) Name() string { return "cpu" }

func (cpu) Supports(*ir.Node, []op.Fact, []op.Fact) bool { return true }

func (cpu) Cost(n *ir.Node, in, out []op.Fact) float64 { return hostCost(n, in, out) }

func (cpu) Compile(p *op.Prep) (op.Kernel, error) {
	o := op.Of(p.Node)
	if o == nil || o.Compile == nil {
		return nil, nil
	}
	return o.Compile(p)
}

func (cpu) Memory() Memory { return nil }

type ref struct{}

func (ref) Name() string { return "ref" }

func (ref) Supports(*ir.Node, []op.Fact, []op.Fact) bool { return true }

func (ref) Cost(n *ir.Node, in, out []op.Fact) float64 { return 100 * hostCost(n, in, out) }

func (ref) Compile(*op.Prep) (op.Kernel, error) { return nil, nil }

func (ref) Memory() Memory { return nil }

// Rough figures of one processor core, for comparisons with other providers.
const (
	hostFlops    = 50e9 // per second
	hostBytes    = 10e9 // per second
	hostOverhead = 1e-6 // seconds for each operator
)

func hostCost(n *ir.Node, in, out []op.Fact) float64 {
	seconds := hostOverhead
	if o := op.Of(n); o != nil && o.Flops != nil {
		seconds += o.Flops(in, out) / hostFlops
	}
	for _, fs := range [][]op.Fact{in, out} {
		for _, f := range fs {
			if count, ok := f.Shape.Count().Int(); ok {
				seconds += float64(f.DType.Bytes(count)) / hostBytes
			}
		}
	}
	return seconds
}

// Find gives a provider by name: cpu, ref, or subset:SEED.
func Find(name string) (Provider, error) {
	for _, p := range []Provider{CPU, Ref} {
		if p.Name() == name {
			return p, nil
		}
	}
	if seed, ok := strings.CutPrefix(name, "subset:"); ok {
		n, err := strconv.ParseUint(seed, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("provider %q: expected a whole number after subset:", name)
		}
		return Subset(n), nil
	}
	return nil, fmt.Errorf("provider %q is unknown: expected cpu, ref or subset:SEED", name)
}
