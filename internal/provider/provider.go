// Package provider holds the execution providers: what turns an operator with
// known input types into a kernel. A provider must give the answers of the
// reference implementations; the operators' cases check it.
package provider

import (
	"fmt"

	"github.com/salver-ml/salver/internal/op"
)

// Provider compiles operators.
type Provider interface {
	// Name is what commands call it, e.g. "cpu".
	Name() string
	// Compile makes a kernel. A nil kernel leaves the operator to the reference.
	Compile(p *op.Prep) (op.Kernel, error)
}

// CPU runs operators on the fast kernels of this machine's instruction set.
var CPU Provider = cpu{}

// Ref runs every operator on its reference implementation.
var Ref Provider = ref{}

type cpu struct{}

func (cpu) Name() string { return "cpu" }

func (cpu) Compile(p *op.Prep) (op.Kernel, error) {
	o := op.Of(p.Node)
	if o == nil || o.Compile == nil {
		return nil, nil
	}
	return o.Compile(p)
}

type ref struct{}

func (ref) Name() string { return "ref" }

func (ref) Compile(*op.Prep) (op.Kernel, error) { return nil, nil }

// Find gives a provider by name.
func Find(name string) (Provider, error) {
	for _, p := range []Provider{CPU, Ref} {
		if p.Name() == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("provider %q is unknown: expected cpu or ref", name)
}
