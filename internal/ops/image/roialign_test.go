package image

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

// Regions that reach to infinity are refused: their samples have no place.
func TestRoiAlignOfInfiniteRegions(t *testing.T) {
	inf := math.Inf(1)
	for _, half := range []bool{false, true} {
		for _, region := range [][2]float64{{-inf, 5}, {inf, 5}, {5, inf}, {-inf, inf}, {math.NaN(), 1}} {
			if _, err := (roiSampling{1, half, 2}).axis(region[0], region[1], 3); err == nil {
				t.Errorf("half pixels %v: a region from %v to %v is not refused", half, region[0], region[1])
			}
		}
	}
}

// The samples inside an image are those that a look at each finds, in regions that reach
// beyond it, backwards too.
func TestRoiAlignSamplesInside(t *testing.T) {
	const size = 7
	for _, ratio := range []int{0, 1, 3, 128} {
		for _, region := range [][2]float64{{0, 7}, {-30, 40}, {-1, 8}, {9, 12}, {-9, -2}, {6, 6}, {5, -3}, {30, -40}, {-1.5, 7.5}} {
			for _, half := range []bool{false, true} {
				a, err := roiSampling{1, half, ratio}.axis(region[0], region[1], 3)
				if err != nil {
					t.Fatal(err)
				}
				for i := range 3 {
					first, end := a.inside(i, size)
					for k := range a.samples {
						if at := a.at(i, k); (at >= -1 && at <= size) != (k >= first && k < end) {
							t.Errorf("region %v, ratio %d, half %v: bin %d has samples %d to %d inside, and %d is at %v", region, ratio, half, i, first, end, k, at)
						}
					}
				}
			}
		}
	}
}

// A region of any size takes no more time than one as large as the image.
func TestRoiAlignOfHugeRegions(t *testing.T) {
	n := &ir.Node{Op: "RoiAlign", Attrs: map[string]*ir.Attr{"output_height": ir.Int(1), "output_width": ir.Int(1), "sampling_ratio": ir.Int(0), "spatial_scale": ir.Float(1), "mode": ir.Str("avg")}}
	start := testkit.Clock()
	ys, xs, err := roiSamples(n, []float64{-5e5, -5e5, 5e5, 5e5}, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	plane := make([]float64, 64)
	poolBin(plane, 8, ys[0], xs[0], false)
	if took := testkit.Clock() - start; took > 10*time.Second { // it would be hours, point by point
		t.Errorf("it took %v", took)
	}
	if _, err := (roiSampling{1, false, mostRatio + 1}).axis(0, 1, 1); err == nil {
		t.Error("a sampling ratio without bound is not refused")
	}
}

// Rows of channels give the bits that one channel after the other does.
func TestRoiAlignByRowsHasTheSameBits(t *testing.T) {
	const images, channels, h, w, regions = 2, 37, 11, 13, 9
	x, rois, batch := tensor.New(dtype.Float32, images, channels, h, w), tensor.New(dtype.Float32, regions, 4), tensor.New(dtype.Int64, regions)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] = float32(r.NormFloat64())
	}
	for i := range tensor.Of[float32](rois) {
		tensor.Of[float32](rois)[i] = float32(r.Float64()*30 - 8)
	}
	for i := range regions {
		tensor.Of[int64](batch)[i] = int64(r.IntN(images))
	}
	kerneltest.Levels(t, func(t *testing.T) {
		for _, ratio := range []int{0, 1, 2, 5} {
			var want []byte
			for _, threads := range []int{0, 1, 3} { // 0: one channel after the other
				k := &roiKernel{roiSampling: roiSampling{0.5, true, ratio}, images: images, channels: channels, h: h, w: w, dims: []int{regions, channels, 3, 5}, parts: 4}
				c := &op.Call{In: []*tensor.Tensor{x, rois, batch}}
				var kernel op.Kernel = k
				if threads > 0 {
					rows, err := newRoiRows(k)
					if err != nil {
						t.Fatal(err)
					}
					c.Scratch, c.Pool, kernel = tensor.Bytes(rows.ScratchBytes()), pool.New(threads), rows
				}
				if err := kernel.Run(c); err != nil {
					t.Fatal(err)
				}
				if threads == 0 {
					want = c.Out[0].Data
				} else if !bytes.Equal(want, c.Out[0].Data) {
					t.Errorf("ratio %d, %d threads: other bits", ratio, threads)
				}
				if c.Pool != nil {
					c.Pool.Close()
				}
			}
		}
	})
}
