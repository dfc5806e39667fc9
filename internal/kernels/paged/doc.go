// Package paged computes attention of language models over a paged cache
// (PagedAttention, arXiv 2309.06180): the keys and values of a sequence lie in
// blocks of BlockTokens tokens, in any order, which a table lists.
//
//	O = softmax(scale·Q·Kᵀ)·V, causal, optionally within a window
//
// # Layout
//
// A block of keys holds, for each head of keys, D rows of BlockTokens numbers,
// that is, its tokens are columns: a vector is four elements of four tokens. A block
// of values holds BlockTokens rows of D numbers a head.
//
// # Arithmetic
//
// A score is four chains s[i] = fma(q[d], k[d], s[i]), over d = i, i+4, i+8 … from +0,
// then (s[0]+s[2]) + (s[1]+s[3]), times scale, each rounded, and with a soft cap c
// then c·tanh(score/c). Keys are taken in
// tiles of TileTokens at absolute positions. Per query, m is the largest score so
// far and l the sum of e^(score-m): a tile raises m if need be, both l and the
// sums of O are multiplied by e^(m_old-m_new), rounded, and the tile's exponentials,
// those of keys that the query does not see being 0, are summed in the order of
// package softmax. O continues the chain o = fma(p[j], v[j], o) over all keys in order. That
// is so for each part of PartTokens keys at absolute positions, which begins anew. Parts are
// joined in order: with m the larger one of both, f = e^(m_before-m) and
// g = e^(m_part-m), l is the rounded l·f plus the rounded l_part·g, and O is
// fma(g, O_part, O·f), O·f rounded. In the end O is multiplied by the rounded reciprocal of l. So the bits of a query's row depend
// on its own sequence up to its own position, never on other sequences, chunks of
// the prompt, the order of blocks or threads. At level generic a multiplication
// rounds before the addition; all levels with FMA give the same bits.
//
// Sequences that are marked as a prompt's have, on AMX and with D a multiple of 32,
// products of package mma instead: Q, keys, values and the weights, which are those of
// package softmax, are rounded to bfloat16; a score's steps are 32 elements, O continues
// its sum over steps of 32 keys at absolute positions, and l is the sum of weights that
// are not rounded.
package paged

const (
	// BlockTokens is the number of tokens of a block.
	BlockTokens = 4
	// TileTokens is the number of keys between two corrections of the sums.
	TileTokens = 128
	// PartTokens is the number of keys after which the sums begin anew, a multiple of
	// TileTokens.
	PartTokens = 256
)
