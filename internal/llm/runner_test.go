package llm

import "testing"

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
