// Package attn computes attention of float32 tensors in tiles, without ever
// holding the matrix of scores:
//
//	O = softmax(scale·Q·Kᵀ + mask)·V
//
// # Arithmetic
//
// The keys are cut into tiles of TileKeys at absolute positions. A score is the
// chain of package gemm over the head's elements, times scale, plus the mask.
// Per query, m is the largest score so far and l the sum of e^(score-m): a tile
// raises m if need be, both l and the sums of O are multiplied by e^(m_old-m_new),
// rounded, and the tile's exponentials are summed in the order of package softmax
// and added to l. O continues package gemm's chain over all keys in order and is
// multiplied by the rounded reciprocal of l at the end (FlashAttention, arXiv
// 2205.14135). So the bits of a query's row depend on the keys, values and mask
// of that query, never on batch, heads, other queries or threads.
//
// Where no mask, limit or function distinguishes queries, the weights are powers of two of
// the scores themselves, not of their distance from the largest: exponents of float32
// reach far enough. A row whose sum shows that they did not is computed again as above.
// docs/NUMERICS.md has the details, which differ between float32 and BF16.
//
// # Masks
//
// A mask is added; -Inf hides a key. Where a query sees no key its row is NaN, as
// softmax has it, or zeros with ZeroMasked. A row with a score of NaN or +Inf is NaN.
// Keys that the mask hides from all queries of a few rows, or places them beyond Keys'
// limits, are not multiplied, and their tiles not read; what they hold does not matter
// then, so that keys and values have to be finite for a row's bits to be its own.
// A mask of -1e30 or less hides too, from queries that see another key.
// With a finite Fill, scores below it are raised to it: a mask of -Inf then stands for
// "replace by Fill", and a query that sees no key weighs all keys alike.
package attn
