package text

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "TfIdfVectorizer", Versions: []int{9}, Doc: "counts the n-grams of a pool, optionally weighted",
		In: op.Ports("X:T"), Out: op.Ports("Y:float32"), Types: op.Types{"T": {dtype.String, dtype.Int32, dtype.Int64}},
		Attrs: op.Attrs{
			"max_gram_length": op.Required(ir.KindInt), "min_gram_length": op.Required(ir.KindInt), "max_skip_count": op.Required(ir.KindInt),
			"mode": op.Required(ir.KindString), "ngram_counts": op.Required(ir.KindInts), "ngram_indexes": op.Required(ir.KindInts),
			"pool_int64s": op.Opt(ir.KindInts), "pool_strings": op.Opt(ir.KindStrings), "weights": op.Opt(ir.KindFloats),
		},
		Infer: tfidfInfer, Ref: tfidfRef, Rows: tfidfRows, Cases: tfidfCases{},
	})
}

// vectorWidth is the number of coordinates of an n-gram vector.
func vectorWidth(n *ir.Node) (int, error) {
	indexes := n.Ints("ngram_indexes")
	if len(indexes) == 0 || slices.Min(indexes) < 0 {
		return 0, fmt.Errorf("ngram_indexes %v: expected at least one index, none below 0", indexes)
	}
	width := slices.Max(indexes) + 1
	return width, tensor.CheckSize([]int{width})
}

// tfidfRows: rows of a matrix are apart, the items of a vector are one n-gram source.
func tfidfRows(n *ir.Node, in []int) ([]int, bool) {
	if in[0] == 0 && len(n.In[0].Type.Shape) != 2 {
		return nil, false
	}
	return op.RowsFirst(n, in)
}

func tfidfInfer(c *op.Infer) error {
	width, err := vectorWidth(c.Node)
	if err != nil {
		return err
	}
	switch s := c.In[0].Shape; {
	case s == nil:
		c.Set(0, dtype.Float32, nil)
	case len(s) <= 1:
		c.Set(0, dtype.Float32, shape.Of(width))
	case len(s) == 2:
		c.Set(0, dtype.Float32, shape.Shape{s[0], shape.Const(width)})
	default:
		return fmt.Errorf("input has shape %v, expected 1 or 2 dimensions", s)
	}
	return nil
}

// grams maps each n-gram of the pool, its items joined, to its place in
// ngram_indexes.
type grams map[string]int

// gramKey joins the items of an n-gram, each after its length, so
// that different n-grams give different keys.
func gramKey(items []string) string {
	var b strings.Builder
	for _, s := range items {
		b.WriteString(strconv.Itoa(len(s)))
		b.WriteByte(':')
		b.WriteString(s)
	}
	return b.String()
}

func newGrams(n *ir.Node) (grams, error) {
	pool := n.Strs("pool_strings")
	for _, v := range n.Ints("pool_int64s") {
		pool = append(pool, strconv.Itoa(v))
	}
	starts := append(n.Ints("ngram_counts"), len(pool))
	places := len(n.Ints("ngram_indexes"))
	g := grams{}
	at := 0
	for i, from := range starts[:len(starts)-1] {
		size, to := i+1, starts[i+1]
		if from < 0 || to < from || to > len(pool) || (to-from)%size != 0 {
			return nil, fmt.Errorf("ngram_counts %v: expected rising positions in a pool of %d with whole %d-grams", starts[:len(starts)-1], len(pool), size)
		}
		for ; from < to; from += size {
			if at >= places {
				return nil, fmt.Errorf("ngram_indexes has %d numbers, expected one for each n-gram of the pool", places)
			}
			if size >= n.Int("min_gram_length") && size <= n.Int("max_gram_length") {
				g[gramKey(pool[from:from+size])] = at
			}
			at++
		}
	}
	return g, nil
}

func tfidfRef(c *op.Call) error {
	x, n := c.In[0], c.Node
	width, err := vectorWidth(n)
	if err != nil {
		return err
	}
	g, err := newGrams(n)
	if err != nil {
		return err
	}
	indexes, weights, mode := n.Ints("ngram_indexes"), n.Floats("weights"), n.Str("mode")
	if weights != nil && len(weights) != len(indexes) || !slices.Contains([]string{"TF", "IDF", "TFIDF"}, mode) {
		return fmt.Errorf("mode %q with %d weights: expected TF, IDF or TFIDF and %d weights", mode, len(weights), len(indexes))
	}
	dims, length := []int{width}, x.Len()
	if x.Rank() == 2 {
		dims, length = []int{x.Shape[0], width}, x.Shape[1]
	}
	items := x.Strings
	if x.DType != dtype.String {
		for _, v := range num.Int64s(x) {
			items = append(items, strconv.FormatInt(v, 10))
		}
	}
	out := tensor.Of[float32](c.Output(0, dtype.Float32, dims...))
	clear(out)
	for row := range tensor.Count(dims) / width {
		counts := g.count(items[row*length:(row+1)*length], len(indexes), n)
		for i, f := range counts {
			if mode == "IDF" {
				f = min(f, 1)
			}
			if mode != "TF" && weights != nil {
				f *= weights[i]
			}
			out[row*width+indexes[i]] += f
		}
	}
	return nil
}

// count counts how often each n-gram of the pool occurs with any number of
// skipped items between its own.
func (g grams) count(items []string, places int, n *ir.Node) []float32 {
	counts := make([]float32, places)
	low, high := n.Int("min_gram_length"), n.Int("max_gram_length")
	for skip := range min(n.Int("max_skip_count"), len(items)) + 1 {
		for start := range items {
			var gram []string
			for i := start; i < len(items) && len(gram) < high; i += skip + 1 {
				gram = append(gram, items[i])
				if len(gram) < low || len(gram) == 1 && skip > 0 {
					continue // single items do not depend on the skip: counted once
				}
				if at, ok := g[gramKey(gram)]; ok {
					counts[at]++
				}
			}
		}
	}
	return counts
}
