package split

import "testing"

func TestChunksCoverTheWork(t *testing.T) {
	for _, units := range []int{0, 1, 63, 64, 65, 1000, 1 << 20} {
		for _, grain := range []int{0, 1, 16, 5000} {
			parts := Parts(units, grain)
			if parts < 1 || parts > Most {
				t.Errorf("%d units by %d: %d chunks", units, grain, parts)
			}
			at, atAligned := 0, 0
			for i := range parts {
				lo, hi := Range(units, parts, i)
				if lo != at || hi < lo {
					t.Fatalf("%d units: chunk %d is [%d, %d), the one before ends at %d", units, i, lo, hi, at)
				}
				at = hi
				lo, hi = Aligned(units, 16, parts, i)
				if lo != atAligned || hi < lo || hi%16 != 0 && hi != units {
					t.Fatalf("%d units: aligned chunk %d is [%d, %d), the one before ends at %d", units, i, lo, hi, atAligned)
				}
				atAligned = hi
			}
			if at != units || atAligned != units {
				t.Errorf("%d units by %d: covered %d and %d", units, grain, at, atAligned)
			}
		}
	}
}
