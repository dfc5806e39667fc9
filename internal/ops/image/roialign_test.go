package image

import (
	"math"
	"testing"
)

// Regions that reach to infinity are refused: their samples have no place.
func TestRoiAlignOfInfiniteRegions(t *testing.T) {
	inf := math.Inf(1)
	for _, half := range []bool{false, true} {
		for _, region := range [][2]float64{{-inf, 5}, {inf, 5}, {5, inf}, {-inf, inf}, {math.NaN(), 1}} {
			if _, _, _, err := (roiSampling{1, half, 2}).axis(region[0], region[1], 3); err == nil {
				t.Errorf("half pixels %v: a region from %v to %v is not refused", half, region[0], region[1])
			}
		}
	}
}
