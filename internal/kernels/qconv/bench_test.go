package qconv

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/cpu"
)

func BenchmarkPack(b *testing.B) {
	p := Params{In: 512, Out: 512, Kernel: []int{3, 3}, Hi: 255}
	plan, err := New(p, 7, 7, cpu.Level())
	if err != nil {
		b.Fatal(err)
	}
	dst, w := make([]byte, plan.PackedSize()), Weights{Data: make([]int8, p.WeightCount()), Scale: []float32{1}}
	b.SetBytes(int64(p.WeightCount()))
	for b.Loop() {
		if err := plan.Pack(dst, w); err != nil {
			b.Fatal(err)
		}
	}
}

func bench(b *testing.B, p Params, h, w int) {
	p.Hi = 255
	rng := rand.New(rand.NewPCG(1, 2))
	plan, err := New(p, h, w, cpu.Level())
	if err != nil {
		b.Fatal(err)
	}
	oh, ow := plan.OutSize()
	weights := Weights{Data: make([]int8, p.WeightCount()), Scale: []float32{.001}}
	for i := range weights.Data {
		weights.Data[i] = int8(rng.IntN(256)) // too large for the kernels of pairs
	}
	op := Operands{N: 1, In: random(rng, h*w*p.In), Packed: make([]byte, plan.PackedSize()), Out: make([]byte, oh*ow*p.Out), Scratch: make([]byte, plan.ScratchSize(1))}
	if p.Residual != nil {
		op.Residual = make([]byte, len(op.Out))
	}
	if err := plan.Pack(op.Packed, weights); err != nil {
		b.Fatal(err)
	}
	r := plan.NewRunner()
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		if err := r.Run(nil, op); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	b.ReportMetric(2*float64(plan.MACs())/best.Seconds()/1e9, "best-GOP/s")
	b.ReportMetric(float64(best.Nanoseconds())/1e3, "best-µs")
}

func BenchmarkLayers(b *testing.B) {
	pad := []int{1, 1, 1, 1}
	res := &Residual{MidHi: 255, MidScale: 1, Scale: 1, OutScale: 2}
	for _, c := range []struct {
		name string
		p    Params
		side int
	}{
		{"7x7/2 3-64 224", Params{In: 3, Out: 64, Kernel: []int{7, 7}, Stride: []int{2, 2}, Pads: []int{3, 3, 3, 3}}, 224},
		{"3x3 64-64 56", Params{In: 64, Out: 64, Kernel: []int{3, 3}, Pads: pad}, 56},
		{"3x3 128-128 28", Params{In: 128, Out: 128, Kernel: []int{3, 3}, Pads: pad}, 28},
		{"3x3 256-256 14", Params{In: 256, Out: 256, Kernel: []int{3, 3}, Pads: pad}, 14},
		{"3x3 512-512 7", Params{In: 512, Out: 512, Kernel: []int{3, 3}, Pads: pad}, 7},
		{"1x1 64-256 56", Params{In: 64, Out: 256, Kernel: []int{1, 1}}, 56},
		{"1x1 64-256 56 residual", Params{In: 64, Out: 256, Kernel: []int{1, 1}, Residual: res}, 56},
		{"1x1 256-64 56", Params{In: 256, Out: 64, Kernel: []int{1, 1}}, 56},
		{"1x1 1024-256 14", Params{In: 1024, Out: 256, Kernel: []int{1, 1}}, 14},
		{"1x1 512-2048 7", Params{In: 512, Out: 2048, Kernel: []int{1, 1}}, 7},
		{"1x1/2 256-512 56", Params{In: 256, Out: 512, Kernel: []int{1, 1}, Stride: []int{2, 2}}, 56},
		{"depthwise 96 112/2", Params{In: 96, Out: 96, Groups: 96, Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: pad}, 112},
		{"depthwise 144 56", Params{In: 144, Out: 144, Groups: 144, Kernel: []int{3, 3}, Pads: pad}, 56},
		{"depthwise 576 14", Params{In: 576, Out: 576, Groups: 576, Kernel: []int{3, 3}, Pads: pad}, 14},
		{"1x1 24-144 56", Params{In: 24, Out: 144, Kernel: []int{1, 1}}, 56},
		{"1x1 2048-1000 1", Params{In: 2048, Out: 1000, Kernel: []int{1, 1}}, 1},
	} {
		b.Run(c.name, func(b *testing.B) { bench(b, c.p, c.side, c.side) })
	}
}
