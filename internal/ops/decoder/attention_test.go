package decoder

import (
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/paged"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// More or fewer generated tokens than there are is an error.
func TestGeneratedTokens(t *testing.T) {
	for _, c := range (pagedCases{}).Cases() {
		if c.Name != "roles" {
			continue
		}
		tokens := int32(c.In[0].Shape[0])
		for _, n := range []int32{-1, 0, tokens, tokens + 1} {
			c.In[9] = tensor.FromSlice([]int32{n}, 1)
			call := &op.Call{Node: &ir.Node{Op: "PagedAttention", Attrs: c.Attrs}, In: c.In, Out: make([]*tensor.Tensor, 1)}
			err := problem(call, &paged.Problem{})
			if fits := n >= 0 && n <= tokens; fits != (err == nil) || err != nil && !strings.Contains(err.Error(), "generated is") {
				t.Errorf("%d of %d tokens generated: %v", n, tokens, err)
			}
		}
		return
	}
	t.Fatal("there is no case with roles")
}
