package model

import (
	"fmt"
	"hash/maphash"
	"math/bits"
)

// Vocab finds the number of a piece. Numbers are positions in the list of pieces.
type Vocab struct {
	pieces  []string
	slots   []slot // open addressing
	own     []bool // by number: ID finds it
	seed    maphash.Seed
	longest int
}

// slot has a part of the hash beside the number, so that a look at the piece
// itself, which is elsewhere in memory, is needed for the right one only.
type slot struct {
	tag uint32
	id  int32 // None is free
}

// MaxPieces bounds a vocabulary.
const MaxPieces = 1 << 24

// NewVocab indexes pieces, which it keeps. Empty pieces are holes and are never
// found; of equal pieces the first is. Those that skip names, if it is not nil,
// are not found either.
func NewVocab(pieces []string, skip func(id int32) bool) (*Vocab, error) {
	if len(pieces) > MaxPieces {
		return nil, fmt.Errorf("the vocabulary has %d pieces, expected at most %d", len(pieces), MaxPieces)
	}
	v := &Vocab{pieces: pieces, seed: maphash.MakeSeed(), own: make([]bool, len(pieces)), slots: make([]slot, 1<<bits.Len(uint(len(pieces)+len(pieces)/2+1)))}
	for i := range v.slots {
		v.slots[i].id = None
	}
	for i, p := range pieces {
		id := int32(i)
		if p == "" || skip != nil && skip(id) {
			continue
		}
		if at, tag := v.find(p); v.slots[at].id == None {
			v.slots[at], v.own[i] = slot{tag, id}, true
			v.longest = max(v.longest, len(p))
		}
	}
	return v, nil
}

// find gives the place of piece in the table, or the free one where it would be.
func (v *Vocab) find(piece string) (at uint64, tag uint32) {
	mask, hash := uint64(len(v.slots)-1), maphash.String(v.seed, piece)
	at, tag = hash&mask, uint32(hash>>32)
	for v.slots[at].id != None && (v.slots[at].tag != tag || v.pieces[v.slots[at].id] != piece) {
		at = (at + 1) & mask
	}
	return at, tag
}

// ID gives the number of piece, or None.
func (v *Vocab) ID(piece string) int32 {
	if len(piece) > v.longest {
		return None
	}
	at, _ := v.find(piece)
	return v.slots[at].id
}

// Size is one more than the largest number.
func (v *Vocab) Size() int { return len(v.pieces) }

// Piece gives the piece of a number, which must be in range.
func (v *Vocab) Piece(id int32) string { return v.pieces[id] }

// byteTokens finds the pieces <0x00> to <0xFF>; what is missing is None.
func (v *Vocab) byteTokens() (ids [256]int32) {
	for b := range ids {
		ids[b] = v.ID(fmt.Sprintf("<0x%02X>", b))
	}
	return ids
}
