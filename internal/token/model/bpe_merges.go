package model

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unicode/utf8"
)

// MaxMerges bounds the merges of a model.
const MaxMerges = 1 << 26

// AddMerges sets the count merges of a model, the lowest rank first. Several
// goroutines call merge.
func (b *BPE) AddMerges(count int, merge func(rank int) (left, right string)) error {
	if count > MaxMerges {
		return fmt.Errorf("the model has %d merges, expected at most %d", count, MaxMerges)
	}
	list := make([]pair, count)
	each(stretches(count), func(_, from, to int) {
		id := None
		for i := from; i < to; i++ {
			left, right := merge(i)
			id = b.union(left, b.tail(right), id)
			list[i] = pair{pairKey(b.vocab.ID(left), b.vocab.ID(right)), uint32(i), id}
		}
	})
	for i := range list {
		l, r := list[i].sides()
		if l != None && r != None && list[i].id != None {
			continue
		}
		left, right := merge(i)
		l, r, id := b.symbol(left), b.symbol(right), b.symbol(left+b.tail(right))
		if l == None || r == None || id == None {
			return fmt.Errorf("merge %d, of %q and %q: expected both and their union among the pieces", i, left, right)
		}
		list[i] = pair{pairKey(l, r), uint32(i), id}
	}
	b.pairs = indexPairs(list)
	return nil
}

// stretches cuts 0 … n-1 into parts for goroutines.
func stretches(n int) [][2]int {
	const least = 1 << 12 // below it a goroutine isn't worth it
	list := make([][2]int, max(1, min(runtime.GOMAXPROCS(0), n/least)))
	for i := range list {
		list[i] = [2]int{i * n / len(list), (i + 1) * n / len(list)}
	}
	return list
}

// each calls f for stretches, for all at once.
func each(list [][2]int, f func(i, from, to int)) {
	var wg sync.WaitGroup
	for i, s := range list {
		wg.Go(func() { f(i, s[0], s[1]) })
	}
	wg.Wait()
}

// tail is what the right side of a merge adds to the left one.
func (b *BPE) tail(right string) string {
	if len(right) < len(b.Prefix) {
		return right
	}
	return right[len(b.Prefix):]
}

// union gives the number of left+right, or None. As a rule it is the one after that of
// the merge before, since pieces were numbered as they were merged, or the same one.
func (b *BPE) union(left, right string, before int32) int32 {
	for guess := before; guess <= before+1; guess++ {
		if guess < 0 || int(guess) >= b.vocab.Size() || !b.vocab.own[guess] {
			continue
		}
		p := b.vocab.Piece(guess)
		if len(p) == len(left)+len(right) && p[:len(left)] == left && p[len(left):] == right {
			return guess
		}
	}
	return b.vocab.ID(left + right)
}

// symbol gives the number of a text. If it is no piece, it gets a number of its
// own (if Late), or None.
func (b *BPE) symbol(text string) int32 {
	if id := b.vocab.ID(text); id != None || !b.Late || text == "" {
		return id
	}
	id, ok := b.extra[text]
	if !ok {
		id = int32(b.vocab.Size() + len(b.texts))
		b.extra[text] = id
		b.texts = append(b.texts, text)
	}
	return id
}

// AddUnions derives the merges from the vocabulary: any two symbols whose union
// is a piece merge to it, and order gives the pieces' ranks (equal ones are
// merged from left to right). Pieces that skip names are not made.
func (b *BPE) AddUnions(order func(x, y int32) int, skip func(id int32) bool, texts []string) error {
	ids := make([]int32, 0, len(texts))
	for i, text := range texts {
		if len(text) > maxUnion {
			return fmt.Errorf("piece %d has %d bytes, expected at most %d", i, len(text), maxUnion)
		}
		if id := int32(i); text != "" && (skip == nil || !skip(id)) {
			ids = append(ids, id)
		}
	}
	if !slices.IsSortedFunc(ids, order) {
		slices.SortStableFunc(ids, order)
	}
	find := b.vocab
	if b.Alphabet != nil {
		var err error
		if find, err = NewVocab(texts, skip); err != nil {
			return err
		}
	}
	ranks := make([]uint32, len(ids))
	for i := 1; i < len(ids); i++ {
		if ranks[i] = ranks[i-1]; order(ids[i-1], ids[i]) != 0 {
			ranks[i] = uint32(i)
		}
	}
	parts := stretches(len(ids))
	lists, later := make([][]pair, len(parts)), make([][]int, len(parts))
	each(parts, func(part, from, to int) {
		list := make([]pair, 0, 3*(to-from))
		for i := from; i < to; i++ {
			if find.ID(texts[ids[i]]) != ids[i] {
				continue
			}
			var ok bool
			if list, ok = b.unions(list, find, texts[ids[i]], pair{rank: ranks[i], id: ids[i]}, false); !ok {
				later[part] = append(later[part], i)
			}
		}
		lists[part] = list
	})
	list := slices.Concat(lists...)
	for _, i := range slices.Concat(later...) {
		list, _ = b.unions(list, find, texts[ids[i]], pair{rank: ranks[i], id: ids[i]}, true)
	}
	b.pairs = indexPairs(list)
	return nil
}

// maxUnion is the longest piece whose merges are derived, in bytes.
const maxUnion = 4096

// unions appends the merges that make a piece to list. If that needs symbols that are
// no pieces, it gives list back and false, unless it may add them.
func (b *BPE) unions(list []pair, find *Vocab, text string, made pair, mayAdd bool) ([]pair, bool) {
	before := len(list)
	for at := b.width(text); at < len(text); at += b.width(text[at:]) {
		left, known := b.part(find, text[:at], mayAdd)
		right := None
		if left != None {
			var ok bool
			right, ok = b.part(find, text[at:], mayAdd)
			known = known && ok
		}
		if !known {
			return list[:before], false
		}
		if right != None {
			made.key = pairKey(left, right)
			list = append(list, made)
		}
	}
	return list, true
}

// width is the length of the first symbol of text.
func (b *BPE) width(text string) int {
	if b.Alphabet != nil {
		return 1
	}
	_, size := utf8.DecodeRuneInString(text)
	return size
}

// part is the number of a part of a piece: a piece, or one character, which may have
// to be added to the symbols.
func (b *BPE) part(find *Vocab, text string, mayAdd bool) (id int32, known bool) {
	id = find.ID(text)
	if id != None || !b.Late || b.Alphabet != nil || b.width(text) < len(text) {
		return id, true
	}
	if !mayAdd {
		return None, false
	}
	return b.symbol(text), true
}

// ByScore orders pieces by falling score.
func ByScore(scores []float32) func(x, y int32) int {
	return func(x, y int32) int { return cmp.Compare(scores[y], scores[x]) }
}
