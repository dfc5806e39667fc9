package providertest

import (
	"context"
	"testing"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ops/optest"
	"github.com/salver-ml/salver/internal/provider"
	"github.com/salver-ml/salver/internal/tensor"
)

func TestConformance(t *testing.T) {
	providers := []provider.Provider{provider.CPU, provider.Ref}
	for seed := range uint64(4) {
		providers = append(providers, provider.Subset(seed))
	}
	for _, p := range providers {
		t.Run(p.Name(), func(t *testing.T) { Run(t, p) })
	}
}

// Three memories in one graph: the copies go through the host.
func TestSeveralProviders(t *testing.T) {
	g := ladder(9)
	in := []*tensor.Tensor{tensor.FromSlice(ramp(2*8*6), 2, 8, 6)}
	want, err := run(g, in, exec.Options{Provider: provider.Ref})
	if err != nil {
		t.Fatal(err)
	}
	s := exec.New(g, exec.Options{Accelerators: []provider.Provider{provider.Subset(11), provider.Subset(12)}})
	defer s.Close()
	got, err := s.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if err := optest.Compare(got[i], want[i], 1e-5); err != nil {
			t.Errorf("output %d: %v", i, err)
		}
	}
	p, err := s.PlanFor(in)
	if err != nil {
		t.Fatal(err)
	}
	steps := map[string]int{}
	for _, st := range p.Steps() {
		steps[st.Provider]++
	}
	if n, _ := p.Copies(); n == 0 || len(steps) != 3 {
		t.Errorf("%d copies, steps %v: expected all three providers to take part", n, steps)
	}
}
