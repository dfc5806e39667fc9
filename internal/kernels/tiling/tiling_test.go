package tiling

import (
	"math"
	"testing"
)

// TestParts checks that the chunks cover each tile of each item exactly once.
func TestParts(t *testing.T) {
	for _, s := range []Shape{
		{Items: 1, M: 1, N: 1, K: 1}, {Items: 1, M: 1024, N: 1024, K: 1024}, {Items: 1, M: 1, N: 4096, K: 4096},
		{Items: 1, M: 5000, N: 3, K: 700}, {Items: 12, M: 128, N: 128, K: 32}, {Items: 3, M: 500, N: 500, K: 100},
		{Items: 100, M: 7, N: 7, K: 7}, {Items: 2, M: 300, N: 40, K: 0, CopiesB: true}, {Items: 0, M: 4, N: 4, K: 4},
		{Items: 1, M: 1500, N: 384, K: 384}, {Items: 1, M: 1471, N: 300, K: 99}, {Items: 1, M: 128, N: 3072, K: 768},
	} {
		s.MR, s.NR, s.ChunkWork, s.StripWork = 14, 32, 1<<19, 1<<16
		for _, threads := range []int{1, 2, 3, 4, 5, 16, 64} {
			g := Split(s, threads)
			most := 0
			seen := map[[3]int]int{}
			for i := range g.Chunks() {
				p := g.Part(i)
				if p.Tile == p.TileEnd || p.Panel == p.PanelEnd {
					t.Errorf("%+v on %d threads: chunk %d is empty", s, threads, i)
				}
				most = max(most, p.TileEnd-p.Tile)
				for item := p.Item; item < p.ItemEnd; item++ {
					for tile := p.Tile; tile < p.TileEnd; tile++ {
						for panel := p.Panel; panel < p.PanelEnd; panel++ {
							seen[[3]int{item, tile, panel}]++
						}
					}
				}
			}
			if most > g.MostTiles() {
				t.Errorf("%+v on %d threads: a chunk has %d row tiles, expected at most %d", s, threads, most, g.MostTiles())
			}
			if want := s.Items * s.Tiles() * s.Panels(); len(seen) != want {
				t.Errorf("%+v on %d threads: %d tiles are computed, want %d", s, threads, len(seen), want)
			}
			for at, n := range seen {
				if n != 1 {
					t.Errorf("%+v on %d threads: tile %v is computed %d times", s, threads, at, n)
				}
			}
		}
	}
}

func TestSplitKeepsThreadsBusy(t *testing.T) {
	for _, s := range []Shape{{Items: 1, M: 128, N: 768, K: 768}, {Items: 1, M: 1, N: 4096, K: 4096}, {Items: 3, M: 200, N: 200, K: 200}} {
		s.MR, s.NR, s.ChunkWork = 14, 32, 1<<19
		for _, threads := range []int{2, 4} {
			if g := Split(s, threads); g.Chunks() < threads {
				t.Errorf("%+v: %d chunks for %d threads", s, g.Chunks(), threads)
			}
		}
	}
}

func TestRows(t *testing.T) {
	heights := map[int]int{}
	for i := range 10 {
		row, end := Rows(i, 128, 10)
		heights[end-row]++
	}
	if heights[13] != 8 || heights[12] != 2 {
		t.Errorf("128 rows in 10 tiles: %v, want 8 of 13 and 2 of 12", heights)
	}
}

func TestSlots(t *testing.T) {
	var s Slots
	s.Reset(3)
	a, b, c := s.Take(), s.Take(), s.Take()
	if a+b+c != 3 {
		t.Errorf("slots %d, %d, %d", a, b, c)
	}
	s.Give(b)
	if got := s.Take(); got != b {
		t.Errorf("slot %d, want %d, the only free one", got, b)
	}
}

func TestBatch(t *testing.T) {
	b := Batch{2, 3}
	if b.Items() != 6 || Batch(nil).Items() != 1 {
		t.Errorf("items %d and %d, want 6 and 1", b.Items(), Batch(nil).Items())
	}
	if off := b.Offset(5, []int{100, 7}); off != 114 {
		t.Errorf("offset of item 5 is %d, want 114", off)
	}
	if last, err := b.Last([]int{100, 0}); last != 100 || err != nil {
		t.Errorf("last offset %d, %v; want 100", last, err)
	}
	if err := b.CheckMatrix(117, 2, 2, 2, []int{100, 7}); err == nil {
		t.Error("117 elements pass where 118 are needed")
	}
	if err := b.CheckMatrix(118, 2, 2, 2, []int{100, 7}); err != nil {
		t.Error(err)
	}
}

// TestCheckMatrixOverflow: sizes whose product is small again modulo 2⁶⁴.
func TestCheckMatrixOverflow(t *testing.T) {
	const huge = math.MaxInt/2 + 1
	for _, tt := range []struct {
		rows, stride int
		batch        Batch
		steps        []int
	}{
		{5, huge, nil, nil},
		{huge, 4, nil, nil},
		{2, 2, Batch{5}, []int{huge}},
		{2, 2, Batch{huge, 5}, []int{8, 1}},
		{2, huge, Batch{2}, []int{huge - 1}},
	} {
		if err := tt.batch.CheckMatrix(1000, tt.rows, 2, tt.stride, tt.steps); err == nil {
			t.Errorf("%+v fits in 1000 elements", tt)
		}
	}
}
