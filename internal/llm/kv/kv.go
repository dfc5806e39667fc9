// Package kv manages the blocks of a paged key-value cache: who holds them,
// which are free, and which hold the tokens of a prefix that may come again.
//
// A block is held by as many sequences as have it in their table. When the last
// one lets go of it, a block whose contents are published stays where it is until
// its place is needed, the one that was let go first being taken first.
package kv

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/salver-ml/salver/internal/kernels/paged"
)

// BlockTokens is the number of tokens of a block.
const BlockTokens = paged.BlockTokens

// Key names the contents of a full block: all tokens of its sequence up to its
// end, and whose they are. SHA-256 keeps one tenant from guessing another's.
type Key [sha256.Size]byte

// Root is where the keys of a tenant's sequences begin. Tenants share nothing.
func Root(tenant string) Key { return sha256.Sum256([]byte("salver kv\x00" + tenant)) }

// Next is the key of the block that holds tokens after the one called k, of which so
// many are a prompt's, and what follows was generated.
func (k Key) Next(tokens []int32, prompt int) Key {
	b := make([]byte, 0, len(k)+4*BlockTokens+1)
	b = append(b, k[:]...)
	for _, t := range tokens {
		b = binary.LittleEndian.AppendUint32(b, uint32(t))
	}
	if prompt < len(tokens) {
		b = append(b, byte(prompt))
	}
	return sha256.Sum256(b)
}

// none ends a list.
const none = -1

type block struct {
	refs       int
	key        Key
	published  bool
	prev, next int32 // in the list of blocks that nobody holds
}

// Manager is the state of a cache. It is not safe for concurrent use.
type Manager struct {
	blocks      []block
	first, last int32 // of those that nobody holds, in the order of reuse
	free        int
	byKey       map[Key]int32
}

// New makes a manager of n free blocks.
func New(n int) *Manager {
	m := &Manager{blocks: make([]block, n), first: none, last: none, byKey: map[Key]int32{}}
	for i := range m.blocks {
		m.append(int32(i))
	}
	return m
}

// Len is the number of blocks, and Free that of those that nobody holds.
func (m *Manager) Len() int  { return len(m.blocks) }
func (m *Manager) Free() int { return m.free }

// Take gives a block to one holder. Its contents, if they were published, are
// lost. ok is false if all blocks are held.
func (m *Manager) Take() (b int32, ok bool) {
	if m.first == none {
		return 0, false
	}
	b = m.first
	m.remove(b)
	m.forget(b)
	m.blocks[b].refs = 1
	return b, true
}

// Hold adds a holder of a block that has some.
func (m *Manager) Hold(b int32) { m.blocks[b].refs++ }

// Holders is how many hold a block.
func (m *Manager) Holders(b int32) int { return int(m.blocks[b].refs) }

// Shared reports whether a block has several holders, so that none may write to it.
func (m *Manager) Shared(b int32) bool { return m.blocks[b].refs > 1 }

// Release takes a holder away.
func (m *Manager) Release(b int32) {
	x := &m.blocks[b]
	if x.refs--; x.refs > 0 {
		return
	}
	if x.published {
		m.append(b)
	} else {
		m.prepend(b)
	}
}

// Publish says what a full block holds, so that Find gives it. If another block
// holds the same, that one stays the one that is found.
func (m *Manager) Publish(b int32, k Key) {
	if _, ok := m.byKey[k]; ok || m.blocks[b].published {
		return
	}
	m.blocks[b].key, m.blocks[b].published = k, true
	m.byKey[k] = b
}

// Find looks for a published block and holds it.
func (m *Manager) Find(k Key) (b int32, ok bool) {
	b, ok = m.byKey[k]
	if !ok {
		return 0, false
	}
	if m.blocks[b].refs == 0 {
		m.remove(b)
	}
	m.blocks[b].refs++
	return b, true
}

func (m *Manager) forget(b int32) {
	if x := &m.blocks[b]; x.published {
		delete(m.byKey, x.key)
		x.published = false
	}
}

func (m *Manager) append(b int32) {
	m.blocks[b].prev, m.blocks[b].next = m.last, none
	m.link(m.last, b)
	m.last = b
	m.free++
}

func (m *Manager) prepend(b int32) {
	m.blocks[b].prev, m.blocks[b].next = none, m.first
	if m.first != none {
		m.blocks[m.first].prev = b
	} else {
		m.last = b
	}
	m.first = b
	m.free++
}

// link makes b the one after prev, or the first.
func (m *Manager) link(prev, b int32) {
	if prev == none {
		m.first = b
		return
	}
	m.blocks[prev].next = b
}

func (m *Manager) remove(b int32) {
	x := &m.blocks[b]
	m.link(x.prev, x.next)
	if x.next != none {
		m.blocks[x.next].prev = x.prev
	} else {
		m.last = x.prev
	}
	m.free--
}
