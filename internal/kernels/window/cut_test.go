package window

import "testing"

func TestCutCoversEverythingOnce(t *testing.T) {
	for _, w := range []Work{
		{Images: 1, Depths: 1, Groups: 3, Rows: 7, Cols: 7, LineBytes: 1 << 10, Threads: 1},
		{Images: 3, Depths: 2, Groups: 2, Rows: 57, Cols: 5, LineBytes: 64 << 10, Threads: 3},
		{Images: 2, Depths: 1, Groups: 5, Rows: 1, Cols: 1000, LineBytes: 1 << 10, Least: 56, Threads: 4},
		{Images: 8, Depths: 1, Groups: 4, Rows: 14, Cols: 14, LineBytes: 1 << 10, WeightBytes: 9 << 20, Threads: 2},
		{Images: 2, Depths: 1, Groups: 3, Rows: 33, Cols: 32, LineBytes: 256 << 10, WeightBytes: 36 << 20, Anew: true, Threads: 4},
	} {
		c := NewCut(w)
		seen := make(map[[5]int]bool)
		for i := range c.Chunks() {
			k := c.At(i)
			for y := k.Area.R0; y < k.Area.R1; y++ {
				for x := k.Area.C0; x < k.Area.C1; x++ {
					at := [5]int{k.Image, k.Depth, k.Group, y, x}
					if seen[at] {
						t.Fatalf("%+v: %v twice", w, at)
					}
					seen[at] = true
				}
			}
		}
		if want := w.Images * w.Depths * w.Groups * w.Rows * w.Cols; len(seen) != want {
			t.Errorf("%+v: %d of %d places", w, len(seen), want)
		}
	}
}

func TestCutGivesThreadsEquallyManyChunks(t *testing.T) {
	for _, c := range []struct {
		w             Work
		parts, chunks int
	}{
		{Work{Images: 1, Depths: 1, Groups: 5, Rows: 1, Cols: 49, LineBytes: 1 << 10, Least: 56, Threads: 2}, 2, 10},
		{Work{Images: 1, Depths: 1, Groups: 5, Rows: 1, Cols: 40, LineBytes: 1 << 10, Least: 112, Threads: 2}, 1, 5}, // too few columns for two
		{Work{Images: 1, Depths: 1, Groups: 9, Rows: 56, Cols: 56, LineBytes: 1 << 10, Threads: 2}, 2, 18},
		{Work{Images: 1, Depths: 1, Groups: 9, Rows: 56, Cols: 56, LineBytes: 1 << 10, Threads: 3}, 2, 18},
		{Work{Images: 1, Depths: 1, Groups: 17, Rows: 56, Cols: 56, LineBytes: 1 << 10, Threads: 2}, 1, 17}, // one more of many
		{Work{Images: 1, Depths: 1, Groups: 5, Rows: 56, Cols: 56, LineBytes: 1 << 10, Threads: 1}, 1, 5},
	} {
		cut := NewCut(c.w)
		if cut.parts != c.parts || cut.Chunks() != c.chunks {
			t.Errorf("%+v: %d parts and %d chunks, expected %d and %d", c.w, cut.parts, cut.Chunks(), c.parts, c.chunks)
		}
	}
}

// A part of one row would read all of a group's weights for it, from where they are far away.
func TestCutReadsLargeWeightsOnce(t *testing.T) {
	for _, c := range []struct {
		anew                   bool
		groups, threads, parts int
	}{
		{false, 16, 1, 32},
		{true, 16, 1, 1},
		{true, 16, 2, 1},
		{true, 16, 8, 2}, // as many as the threads need
	} {
		cut := NewCut(Work{Images: 1, Depths: 1, Groups: c.groups, Rows: 32, Cols: 32, LineBytes: 256 << 10, WeightBytes: 36 << 20, Anew: c.anew, Threads: c.threads})
		if cut.parts != c.parts {
			t.Errorf("%+v: %d parts", c, cut.parts)
		}
	}
	few := NewCut(Work{Images: 1, Depths: 1, Groups: 64, Rows: 32, Cols: 32, LineBytes: 64 << 10, WeightBytes: 9 << 20, Anew: true, Threads: 1})
	if few.groupFirst || few.parts != 8 {
		t.Errorf("%d parts, group after group: %v; reading the input for each group costs more", few.parts, few.groupFirst)
	}
}
