package llm

import (
	"testing"

	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
)

// Steps that differ little are computed by the same plan, and none computes fewer
// tokens or logits than it has.
func TestPlansAreFew(t *testing.T) {
	plans := map[[2]int]bool{}
	for tokens := 129; tokens <= 512; tokens++ {
		for logits := 0; logits <= 16; logits++ {
			n, l := planned(tokens, logits)
			if n < tokens || l < logits || l > n {
				t.Fatalf("%d tokens and %d logits are computed as %d and %d", tokens, logits, n, l)
			}
			plans[[2]int{n, l}] = true
		}
	}
	if len(plans) > 24*4 {
		t.Errorf("%d plans for steps of 129 to 512 tokens", len(plans))
	}
	for n := 1; n <= 32; n++ {
		if tokens, logits := planned(n, n); tokens != n || logits != n {
			t.Errorf("%d generated tokens are computed as %d with %d logits", n, tokens, logits)
		}
	}
}

// What fills up a step has the role of the rest, if all have one.
func TestRolesOfPadding(t *testing.T) {
	part := func(prompt, from, n, tokens int) work {
		r := &request{Request: &textgen.Request{PromptLogprobs: -1}}
		return work{&sequence{request: r, prompt: prompt, tokens: make([]int32, tokens), blocks: make([]int32, blocksFor(tokens))}, from, n}
	}
	many := func(n int, w work) (all []work) {
		for range n {
			all = append(all, w)
		}
		return all
	}
	generating, begun, ending := part(3, 9, 1, 10), part(90, 0, 50, 90), part(40, 0, 40, 40)
	for _, c := range []struct {
		name                                   string
		step                                   []work
		generated, tokens, generatedRows, rows int
	}{
		{"generating", many(37, generating), 40, 40, 40, 40},
		{"few generating", many(3, generating), 3, 3, 3, 3},
		{"a prompt that goes on", append(many(3, generating), begun), 3, 56, 8, 8},
		{"a prompt that ends", append(many(3, generating), ending), 3, 48, 3, 8},
		{"a prompt alone", []work{ending}, 0, 40, 0, 1},
		{"a prompt alone that goes on", []work{begun}, 0, 56, 0, 0},
	} {
		r := &runner{vocab: 2, width: 8, sequences: make([]int32, 2*len(c.step)), tables: make([]int32, 8*len(c.step)), generated: make([]int32, 1), generatedRows: make([]int32, 1),
			inputs: make([]*tensor.Tensor, stepInputs), outputs: make([]*tensor.Tensor, 1)}
		r.prepare(c.step)
		if got, want := [4]int{int(r.generated[0]), len(r.tokens), int(r.generatedRows[0]), len(r.rows)}, [4]int{c.generated, c.tokens, c.generatedRows, c.rows}; got != want {
			t.Errorf("%s: generated, tokens and the same of rows are %v, expected %v", c.name, got, want)
		}
	}
}
