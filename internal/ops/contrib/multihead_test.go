package contrib

import (
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/shape"
)

// Keys and values that are packed together belong to the queries' batch and have their size.
func TestPackedKeysFitQueries(t *testing.T) {
	n := &ir.Node{Domain: "com.microsoft", Op: "MultiHeadAttention", Attrs: map[string]*ir.Attr{"num_heads": {Kind: ir.KindInt, Int: 2}}}
	q := shape.Of(2, 3, 8)
	if _, err := multiHeadSizes(n, q, shape.Of(2, 5, 2, 2, 4), nil); err != nil {
		t.Error(err)
	}
	for _, k := range []shape.Shape{shape.Of(0, 5, 2, 2, 4), shape.Of(3, 5, 2, 2, 4), shape.Of(2, 5, 2, 2, 2), shape.Of(2, 5, 4, 2, 4), shape.Of(2, 5, 2, 3, 4)} {
		if _, err := multiHeadSizes(n, q, k, nil); err == nil || !strings.Contains(err.Error(), "expected [batch,sequence,heads,2,size]") {
			t.Errorf("keys of %v: %v", k, err)
		}
	}
}
