package conv

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/mmap"
)

// netLayer is a layer of a network and how often it occurs.
type netLayer struct {
	count             int
	in, out, size     int // channels, input height = width
	kernel, stride, g int
	residual          bool
}

func (l netLayer) params() Params {
	pad := l.kernel / 2
	return Params{
		In: l.in, Out: l.out, Groups: l.g, Kernel: []int{l.kernel, l.kernel}, Stride: []int{l.stride, l.stride},
		Pads: []int{pad, pad, pad, pad}, Residual: l.residual, Act: Activation{Kind: Relu},
	}
}

var resNet50 = []netLayer{
	{1, 3, 64, 224, 7, 2, 1, false},
	{1, 64, 64, 56, 1, 1, 1, false}, {3, 64, 64, 56, 3, 1, 1, false}, {2, 64, 256, 56, 1, 1, 1, true}, {2, 64, 256, 56, 1, 1, 1, false}, {2, 256, 64, 56, 1, 1, 1, false},
	{1, 256, 128, 56, 1, 1, 1, false}, {1, 128, 128, 56, 3, 2, 1, false}, {1, 256, 512, 56, 1, 2, 1, false},
	{4, 128, 512, 28, 1, 1, 1, true}, {3, 512, 128, 28, 1, 1, 1, false}, {3, 128, 128, 28, 3, 1, 1, false},
	{1, 512, 256, 28, 1, 1, 1, false}, {1, 256, 256, 28, 3, 2, 1, false}, {1, 512, 1024, 28, 1, 2, 1, false},
	{6, 256, 1024, 14, 1, 1, 1, true}, {5, 1024, 256, 14, 1, 1, 1, false}, {5, 256, 256, 14, 3, 1, 1, false},
	{1, 1024, 512, 14, 1, 1, 1, false}, {1, 512, 512, 14, 3, 2, 1, false}, {1, 1024, 2048, 14, 1, 2, 1, false},
	{3, 512, 2048, 7, 1, 1, 1, true}, {2, 2048, 512, 7, 1, 1, 1, false}, {2, 512, 512, 7, 3, 1, 1, false},
}

var mobileNetV2 = []netLayer{
	{1, 3, 32, 224, 3, 2, 1, false},
	{1, 32, 32, 112, 3, 1, 32, false}, {1, 32, 16, 112, 1, 1, 1, false},
	{1, 16, 96, 112, 1, 1, 1, false}, {1, 96, 96, 112, 3, 2, 96, false}, {1, 96, 24, 56, 1, 1, 1, false},
	{2, 24, 144, 56, 1, 1, 1, false}, {1, 144, 144, 56, 3, 1, 144, false}, {1, 144, 24, 56, 1, 1, 1, true},
	{1, 144, 144, 56, 3, 2, 144, false}, {1, 144, 32, 28, 1, 1, 1, false},
	{3, 32, 192, 28, 1, 1, 1, false}, {2, 192, 192, 28, 3, 1, 192, false}, {2, 192, 32, 28, 1, 1, 1, true},
	{1, 192, 192, 28, 3, 2, 192, false}, {1, 192, 64, 14, 1, 1, 1, false},
	{4, 64, 384, 14, 1, 1, 1, false}, {4, 384, 384, 14, 3, 1, 384, false}, {3, 384, 64, 14, 1, 1, 1, true},
	{1, 384, 96, 14, 1, 1, 1, false},
	{3, 96, 576, 14, 1, 1, 1, false}, {2, 576, 576, 14, 3, 1, 576, false}, {2, 576, 96, 14, 1, 1, 1, true},
	{1, 576, 576, 14, 3, 2, 576, false}, {1, 576, 160, 7, 1, 1, 1, false},
	{3, 160, 960, 7, 1, 1, 1, false}, {3, 960, 960, 7, 3, 1, 960, false}, {2, 960, 160, 7, 1, 1, 1, true},
	{1, 960, 320, 7, 1, 1, 1, false}, {1, 320, 1280, 7, 1, 1, 1, false},
}

func BenchmarkResNet50Layers(b *testing.B)    { benchmarkNet(b, resNet50, false) }
func BenchmarkResNet50Winograd(b *testing.B)  { benchmarkNet(b, resNet50, true) }
func BenchmarkMobileNetV2Layers(b *testing.B) { benchmarkNet(b, mobileNetV2, false) }

// benchmarkNet times every layer on one thread (the best of its runs), and
// reports the network's total in milliseconds.
func benchmarkNet(b *testing.B, net []netLayer, winograd bool) {
	for _, level := range cpu.Levels()[1:] {
		b.Run(level.String(), func(b *testing.B) {
			total, flops := 0.0, 0.0
			for _, l := range net {
				p := l.params()
				p.Winograd = winograd
				best, plan := timeLayer(b, p, []int{l.size, l.size}, level)
				total += best * float64(l.count)
				flops += float64(plan.FLOPs(1) * l.count)
				b.Logf("%-44s %-11v %9.1f µs %6.1f GF ×%d", fmt.Sprintf("%d×%d/%d %d→%d at %d² g%d", l.kernel, l.kernel, l.stride, l.in, l.out, l.size, l.g),
					plan.Algorithm(), best*1e6, float64(plan.FLOPs(1))/best/1e9, l.count)
			}
			b.ReportMetric(total*1e3, "ms/net")
			b.ReportMetric(flops/total/1e9, "GF")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// timeLayer gives the best time of a layer in seconds.
func timeLayer(b *testing.B, p Params, spatial []int, level cpu.Target) (float64, *Plan) {
	plan, err := New(p, spatial, level)
	if err != nil {
		b.Fatal(err)
	}
	arena := &mmap.Arena{} // in huge pages, as in a session: with AVX2 in small ones some layers take up to 1.7 times as long
	b.Cleanup(arena.Free)
	arena.Alloc(1 << 20) // smaller buffers lie in a slab once there is one
	floats := func(n int) []float32 {
		return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(arena.Alloc(n*4)))), n)
	}
	op := Operands{N: 1, In: floats(plan.InSize(1)), Weights: floats(plan.PackedSize()), Out: floats(plan.OutSize(1)), Scratch: floats(plan.ScratchSize(1))}
	if p.Residual {
		op.Residual = floats(plan.OutSize(1))
	}
	r := plan.NewRunner()
	best := 1e9
	for begin, n := time.Now(), 0; n < 5 || time.Since(begin) < 60*time.Millisecond; n++ {
		t := time.Now()
		if err := r.Run(nil, op); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(t).Seconds())
	}
	return best, plan
}

// BenchmarkOtherLayers times shapes beyond those two networks.
func BenchmarkOtherLayers(b *testing.B) {
	one := []int{1, 1, 1, 1}
	for _, c := range []struct {
		name    string
		p       Params
		spatial []int
	}{
		{"ResNeXt 3×3 128→128 g32 at 56²", Params{In: 128, Out: 128, Groups: 32, Kernel: []int{3, 3}, Pads: one}, []int{56, 56}},
		{"ShuffleNet 1×1 240→240 g3 at 28²", Params{In: 240, Out: 240, Groups: 3, Kernel: []int{1, 1}}, []int{28, 28}},
		{"grouped 3×3 256→256 g4 at 28²", Params{In: 256, Out: 256, Groups: 4, Kernel: []int{3, 3}, Pads: one}, []int{28, 28}},
		{"1-D k3 80→384 at 3000", Params{In: 80, Out: 384, Kernel: []int{3}, Pads: []int{1, 1}}, []int{3000}},
		{"1-D k3/2 384→384 at 3000", Params{In: 384, Out: 384, Kernel: []int{3}, Stride: []int{2}, Pads: []int{1, 1}}, []int{3000}},
		{"3-D 3×3×3 32→64 at 16×28²", Params{In: 32, Out: 64, Kernel: []int{3, 3, 3}, Pads: []int{1, 1, 1, 1, 1, 1}}, []int{16, 28, 28}},
		{"dilated 3×3 d2 256→256 at 28²", Params{In: 256, Out: 256, Kernel: []int{3, 3}, Dilation: []int{2, 2}, Pads: []int{2, 2, 2, 2}}, []int{28, 28}},
		{"3×3 2048→512 at 32²", Params{In: 2048, Out: 512, Kernel: []int{3, 3}, Pads: one}, []int{32, 32}},
		{"depthwise 5×5 240 at 28²", Params{In: 240, Out: 240, Groups: 240, Kernel: []int{5, 5}, Pads: []int{2, 2, 2, 2}}, []int{28, 28}},
		{"3×3/2 3→32 SiLU at 320²", Params{In: 3, Out: 32, Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: one, Act: Activation{Kind: Silu}}, []int{320, 320}},
		{"1×1 64→64 SiLU at 80²", Params{In: 64, Out: 64, Kernel: []int{1, 1}, Act: Activation{Kind: Silu}}, []int{80, 80}},
		{"1×1 64→64 ReLU at 80²", Params{In: 64, Out: 64, Kernel: []int{1, 1}, Act: Activation{Kind: Relu}}, []int{80, 80}},
	} {
		for _, level := range cpu.Levels()[1:] {
			b.Run(c.name+" "+level.String(), func(b *testing.B) {
				best, plan := timeLayer(b, c.p, c.spatial, level)
				b.ReportMetric(best*1e6, "µs")
				b.ReportMetric(float64(plan.FLOPs(1))/best/1e9, "GF")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
