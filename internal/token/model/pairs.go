package model

import "math/bits"

// pairs maps two numbers to the rank of their merge and its result.
type pairs struct {
	slots []pair // open addressing; zeros are free
	shift int
}

// pair is a merge of two numbers.
type pair struct {
	key  uint64 // of pairKey
	rank uint32
	id   int32
}

// pairKey is not 0 but for two numbers that no merge has, since None is no symbol.
func pairKey(left, right int32) uint64 { return ^(uint64(uint32(left))<<32 | uint64(uint32(right))) }

// sides gives the two numbers that merge.
func (p *pair) sides() (left, right int32) { return int32(^p.key >> 32), int32(uint32(^p.key)) }

// regions are the parts of a table that indexPairs fills one after the other.
const regions = 512

// indexPairs makes a table of a list. Of pairs with the same key the
// first counts. They are brought into the order of their places first: filling a table
// of megabytes at random waits for memory at each of hundreds of thousands of pairs.
func indexPairs(list []pair) *pairs {
	size := max(bits.Len(uint(len(list)+len(list)*2/3+1)), bits.Len(regions))
	p := &pairs{slots: make([]pair, 1<<size), shift: 64 - size}
	for _, s := range inOrder(list, size) {
		if at := p.at(s.key); at.key == 0 {
			*at = s
		}
	}
	return p
}

// inOrder sorts a list by the region of a table of 1<<size places, and leaves those
// of the same region as they were.
func inOrder(list []pair, size int) []pair {
	var ends [regions + 1]int
	shift := 64 - bits.Len(regions-1)
	for _, s := range list {
		ends[hash(s.key)>>shift+1]++
	}
	for i := range regions {
		ends[i+1] += ends[i]
	}
	sorted := make([]pair, len(list))
	for _, s := range list {
		region := &ends[hash(s.key)>>shift]
		sorted[*region] = s
		*region++
	}
	return sorted
}

func hash(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 }

// find gives the merge of two numbers; its key is 0 if there is none.
func (p *pairs) find(left, right int32) *pair { return p.at(pairKey(left, right)) }

// at gives the place of a key, or the free one where it would be.
func (p *pairs) at(key uint64) *pair {
	mask := len(p.slots) - 1
	at := int(hash(key) >> p.shift)
	for p.slots[at].key != key && p.slots[at].key != 0 {
		at = (at + 1) & mask
	}
	return &p.slots[at]
}
