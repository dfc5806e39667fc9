package paged

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// A Sequence is some consecutive tokens of the step that belong together: rows
// Row … Row+Count-1 of Q, at positions First … First+Count-1 of their sequence.
type Sequence struct {
	Row, Count, First int
	Blocks            []int32 // of the cache, in the order of positions
	Prompt            bool    // tokens of a prompt, for which another arithmetic may be used
}

// A Cache is the keys or values of one layer.
type Cache struct {
	DType dtype.Type // Float32 or Float16
	Data  []byte     // blocks × heads × BlockTokens·D numbers
}

// A Problem says what to compute. Q and O are [tokens, Heads·D], NewK and NewV
// [tokens, KVHeads·D], one row for each token of the step.
type Problem struct {
	Heads, KVHeads, D int
	Scale             float32
	Softcap           float32 // 0: none
	Window            int     // a query sees that many keys, its own included; 0: all before it
	Tokens            int
	Q, NewK, NewV, O  []float32
	K, V              Cache
	Slots             []int32 // where a token's key and value go: block·BlockTokens + place; negative: nowhere
	Sequences         []Sequence
}

// A Task is a problem that is prepared once and run often; its Data may change
// between runs. It is used by one goroutine at a time.
type Task struct {
	Problem

	units    []unit
	splits   []split
	partRows int // of all splits
	slots    tiling.Slots
	spaces   *spaces // while it runs
	store    storeTask
}

// A unit is what one chunk computes: what a query tile sees of some keys, of some heads of
// keys.
type unit struct {
	seq         *Sequence
	head, heads int // of keys
	row         int // first query, counted within the sequence
	rows        int
	begin, end  int  // keys
	split       int  // 1 + that of which the unit has some parts, 0 where it has all keys
	prompt      bool // in bfloat16
}

// unit is one of all keys that so many queries see, from a row on.
func (t *Task) unit(s *Sequence, row, rows int) unit {
	u := unit{seq: s, heads: t.KVHeads, row: row, rows: rows, end: s.First + row + rows, prompt: t.tiled(s)}
	if t.Window > 0 {
		first := max(0, s.First+row-t.Window+1)
		u.begin = first - first%TileTokens
	}
	return u
}

// queryTile is the number of queries of a unit, at most.
const queryTile = 16

// Run stores the new keys and values and computes O on the pool's threads. Rows
// of O that belong to no sequence become zero.
func (t *Task) Run(p *pool.Pool) error {
	if err := t.check(); err != nil {
		return err
	}
	p.Run(t.store.chunks(&t.Problem), &t.store)
	t.cut(p.Threads())
	t.slots.Reset(min(p.Threads(), tiling.MaxSlots))
	t.takeSpaces(p.Threads())
	defer t.giveSpaces()
	t.clearPadding()
	p.Run(len(t.units), (*chunkTask)(t))
	return nil
}

// cut makes the units, the longest of a sequence first, so that the threads end
// together. Where tiles are enough for the threads, each is a unit with all its heads,
// whose blocks lie together in memory. Single queries are cut by their keys too.
func (t *Task) cut(threads int) {
	t.units, t.splits, t.partRows = t.units[:0], t.splits[:0], 0
	most := t.promptQueries()
	tiles := t.tiles(most)
	for ; tiles*t.KVHeads < 2*threads && most > queryTile; tiles = t.tiles(most) {
		most = max(queryTile, most/2)
	}
	heads := 1
	if tiles >= 4*threads {
		heads = t.KVHeads
	}
	single := t.keyCut(threads)
	for i := range t.Sequences {
		s := &t.Sequences[i]
		n := t.queries(s, most)
		for end := s.Count; end > 0; end -= n {
			row := max(0, end-n)
			u := t.unit(s, row, end-row)
			if s.Count == 1 && !u.prompt {
				t.cutKeys(u, single)
				continue
			}
			for u.heads = heads; u.head < t.KVHeads; u.head += heads {
				t.units = append(t.units, u)
			}
		}
	}
}

// tiles is into how many tiles the queries are cut, those of prompts into ones of up to
// most.
func (t *Task) tiles(most int) (n int) {
	for i := range t.Sequences {
		n += tiling.Ceil(t.Sequences[i].Count, t.queries(&t.Sequences[i], most))
	}
	return n
}

// queries is how many a tile of a sequence has, at most.
func (t *Task) queries(s *Sequence, most int) int {
	if t.tiled(s) {
		return most
	}
	return queryTile
}

func (t *Task) clearPadding() {
	row := 0
	for i := range t.Sequences {
		s := &t.Sequences[i]
		clear(t.O[row*t.Heads*t.D : max(row, s.Row)*t.Heads*t.D])
		row = max(row, s.Row+s.Count)
	}
	clear(t.O[row*t.Heads*t.D : t.Tokens*t.Heads*t.D])
}

func (t *Problem) check() error {
	if t.Heads < 1 || t.KVHeads < 1 || t.Heads%t.KVHeads != 0 || t.D < 1 {
		return fmt.Errorf("paged: %d heads of %d numbers and %d heads of keys: expected a multiple", t.Heads, t.D, t.KVHeads)
	}
	if n := t.Tokens * t.Heads * t.D; len(t.Q) < n || len(t.O) < n {
		return fmt.Errorf("paged: Q has %d numbers and O %d, expected %d", len(t.Q), len(t.O), n)
	}
	if n := t.Tokens * t.KVHeads * t.D; len(t.NewK) < n || len(t.NewV) < n || len(t.Slots) < t.Tokens {
		return fmt.Errorf("paged: %d keys, %d values and %d slots for %d tokens of %d", len(t.NewK), len(t.NewV), len(t.Slots), t.Tokens, t.KVHeads*t.D)
	}
	blocks := t.blocks(&t.K)
	if t.blocks(&t.V) != blocks || t.K.DType != t.V.DType || t.K.DType != dtype.Float32 && t.K.DType != dtype.Float16 {
		return fmt.Errorf("paged: caches of %d and %d blocks of %s and %s: expected as many, of float32 or float16", blocks, t.blocks(&t.V), t.K.DType, t.V.DType)
	}
	for _, s := range t.Slots[:t.Tokens] {
		if int(s) >= blocks*BlockTokens {
			return fmt.Errorf("paged: slot %d, the cache has %d", s, blocks*BlockTokens)
		}
	}
	return t.checkSequences(blocks)
}

func (t *Problem) checkSequences(blocks int) error {
	row := 0
	for i := range t.Sequences {
		s := &t.Sequences[i]
		if s.Row < row || s.Count < 0 || s.First < 0 || s.Row+s.Count > t.Tokens {
			return fmt.Errorf("paged: sequence %d has rows %d to %d of %d tokens, after row %d", i, s.Row, s.Row+s.Count, t.Tokens, row)
		}
		row = s.Row + s.Count
		need := tiling.Ceil(s.First+s.Count, BlockTokens)
		if len(s.Blocks) < need {
			return fmt.Errorf("paged: sequence %d has %d tokens and a table of %d blocks", i, s.First+s.Count, len(s.Blocks))
		}
		for _, b := range s.Blocks[:need] {
			if b < 0 || int(b) >= blocks {
				return fmt.Errorf("paged: sequence %d has block %d, the cache has %d", i, b, blocks)
			}
		}
	}
	return nil
}

// blocks is how many a cache has.
func (t *Problem) blocks(c *Cache) int { return len(c.Data) / c.DType.Bytes(t.blockLen()*t.KVHeads) }

// blockLen is the numbers of a block of one head.
func (t *Problem) blockLen() int { return BlockTokens * t.D }
