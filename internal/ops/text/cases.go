package text

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func row(s ...string) *tensor.Tensor            { return tensor.FromStrings(s) }
func list(t ...*tensor.Tensor) []*tensor.Tensor { return t }

type concatCases struct{}

func (concatCases) Cases() []op.Case {
	return []op.Case{{Name: "broadcast", In: list(row("a", "b"), row("!")), Out: list(row("a!", "b!"))}}
}

type splitCases struct{}

func (splitCases) Cases() []op.Case {
	two := func(dims []int, s ...string) *tensor.Tensor { return tensor.FromStrings(s, dims...) }
	return []op.Case{
		{Name: "spaces", In: list(row(" a  b ", "c")), Out: list(two([]int{2, 2}, "a", "b", "c", ""), tensor.FromSlice([]int64{2, 1}))},
		{Name: "limit", Attrs: map[string]*ir.Attr{"delimiter": ir.Str(","), "maxsplit": ir.Int(1)}, In: list(row("a,b,c")), Out: list(two([]int{1, 2}, "a", "b,c"), tensor.FromSlice([]int64{2}))},
	}
}

type matchCases struct{}

func (matchCases) Cases() []op.Case {
	return []op.Case{{Name: "whole", Attrs: map[string]*ir.Attr{"pattern": ir.Str("a|ab")}, In: list(row("ab", "abc", "a\n")), Out: list(tensor.FromSlice([]bool{true, false, false}))}}
}

type normalizeCases struct{}

func (normalizeCases) Cases() []op.Case {
	attrs := map[string]*ir.Attr{"stopwords": ir.Strs("Monday"), "case_change_action": ir.Str("UPPER")}
	return []op.Case{
		{Name: "fold", Attrs: attrs, In: list(row("monday", "tuesday")), Out: list(row("TUESDAY"))},
		{Name: "nothing left", Attrs: attrs, In: list(row("monday")), Out: list(row(""))},
	}
}

type tfidfCases struct{}

func (tfidfCases) Cases() []op.Case {
	attrs := func(mode string, skip int) map[string]*ir.Attr {
		return map[string]*ir.Attr{
			"mode": ir.Str(mode), "min_gram_length": ir.Int(1), "max_gram_length": ir.Int(2), "max_skip_count": ir.Int(skip),
			"ngram_counts": ir.Ints(0, 2), "ngram_indexes": ir.Ints(2, 0, 1), "pool_int64s": ir.Ints(5, 6, 5, 6), "weights": ir.Floats(1, 2, 10),
		}
	}
	x := tensor.FromSlice([]int64{5, 7, 6, 5, 6})
	return []op.Case{
		{Name: "counts", Attrs: attrs("TF", 0), In: list(x), Out: list(tensor.FromSlice([]float32{2, 1, 2}))},
		{Name: "skips", Attrs: attrs("TF", 1), In: list(x), Out: list(tensor.FromSlice([]float32{2, 2, 2}))},
		{Name: "weights", Attrs: attrs("IDF", 1), In: list(x), Out: list(tensor.FromSlice([]float32{2, 10, 1}))},
	}
}

type labelCases struct{}

func (labelCases) Cases() []op.Case {
	attrs := map[string]*ir.Attr{"keys_strings": ir.Strs("a", "b"), "values_int64s": ir.Ints(5, 6)}
	return []op.Case{{Name: "strings", Attrs: attrs, In: list(row("b", "x", "a")), Out: list(tensor.FromSlice([]int64{6, -1, 5}))}}
}
