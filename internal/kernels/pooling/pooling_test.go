package pooling

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

func TestKernelsAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	three := pool.New(3)
	defer three.Close()
	done := 0
	for done < 400 {
		p, spatial := randomPooling(rng)
		out, err := p.OutSpatial(spatial)
		if err != nil {
			continue
		}
		done++
		n, channels := 1+rng.IntN(2), 1+rng.IntN(40)
		x := make([]float32, n*channels*product(spatial))
		for i := range x {
			x[i] = rng.Float32()*2 - 1
		}
		want := make([]float32, n*channels*product(out))
		if err := Reference(p, n*channels, spatial, x, want, nil); err != nil {
			t.Fatal(err)
		}
		t.Run(strconv.Itoa(done), func(t *testing.T) { testLevels(t, p, channels, spatial, n, three, x, want) })
	}
}

// testLevels compares every level, layout and number of threads with want.
func testLevels(t *testing.T, p Params, channels int, spatial []int, n int, three *pool.Pool, x, want []float32) {
	t.Helper()
	for _, level := range cpu.Levels() {
		for _, threads := range []*pool.Pool{nil, three} {
			for _, blocked := range []bool{false, true} {
				if blocked && len(spatial) != 2 {
					continue
				}
				got := run(t, p, channels, spatial, level, blocked, threads, n, x)
				for i, w := range want {
					if d := math.Abs(float64(got[i] - w)); got[i] != w && !(d < 2e-6) {
						t.Fatalf("%+v on %v, %v blocked %v: output %d is %g, want %g", p, spatial, level, blocked, i, got[i], w)
					}
				}
			}
		}
	}
}

func randomPooling(rng *rand.Rand) (Params, []int) {
	p := Params{Kind: Kind(rng.IntN(2)), Ceil: rng.IntN(2) == 0, CountIncludePad: rng.IntN(2) == 0}
	r := 2
	if rng.IntN(4) == 0 {
		r = 1 + 2*rng.IntN(2)
	}
	spatial := make([]int, r)
	for i := range r {
		spatial[i] = 1 + rng.IntN(30/r)
		p.Kernel = append(p.Kernel, 1+rng.IntN(4))
		p.Stride = append(p.Stride, 1+rng.IntN(3))
		p.Dilation = append(p.Dilation, 1+rng.IntN(7)/5)
	}
	for i := range 2 * r {
		p.Pads = append(p.Pads, rng.IntN(p.Kernel[i%r]))
	}
	if rng.IntN(5) == 0 {
		p = Global(p.Kind, spatial)
	}
	return p, spatial
}

// run pools plain x in the given layout on buffers that end at an unreadable page.
func run(t *testing.T, p Params, channels int, spatial []int, level cpu.Target, blocked bool, threads *pool.Pool, n int, x []float32) []float32 {
	t.Helper()
	plan, err := New(p, channels, spatial, level, blocked)
	if err != nil {
		t.Fatal(err)
	}
	in, out := guard.Copy(t, x, guard.End), guard.Slice[float32](t, plan.OutSize(n), guard.End)
	if blocked {
		in = guard.Slice[float32](t, plan.InSize(n), guard.End)
		conv.NewToBlocked(channels, product(spatial), level).Run(nil, n, in, x)
	}
	if err := plan.NewRunner().Run(threads, n, in, out); err != nil {
		t.Fatal(err)
	}
	if !blocked {
		return out
	}
	plain := make([]float32, n*channels*product(plan.OutSpatial()))
	conv.NewFromBlocked(channels, product(plan.OutSpatial()), level).Run(nil, n, plain, out)
	return plain
}

// Planes that are alike have the same results wherever they stand, with NaN and infinities too.
func TestPlacesOfPlanes(t *testing.T) {
	const planes, rows, columns = 11, 9, 21
	x := make([]float32, planes*rows*columns)
	for i := range rows * columns {
		v := float32(i*i%23) - 11
		switch i % 17 {
		case 3:
			v = float32(math.NaN())
		case 8:
			v = float32(math.Inf(1 - i%3))
		case 12:
			v = float32(math.Copysign(0, -1))
		}
		for p := range planes {
			x[p*rows*columns+i] = v
		}
	}
	for _, level := range cpu.Levels() {
		for _, kind := range []Kind{Max, Average} {
			for _, stride := range []int{1, 2} {
				for _, kernel := range []int{3, 5} {
					pad := kernel / 2
					p := Params{Kind: kind, Kernel: []int{kernel, kernel}, Stride: []int{stride, stride}, Pads: []int{pad, pad, pad, pad}}
					got := run(t, p, planes, []int{rows, columns}, level, false, nil, 1, x)
					size := len(got) / planes
					for i, v := range got {
						if a, b := math.Float32bits(v), math.Float32bits(got[i%size]); a != b {
							t.Fatalf("%+v on %v: output %d of plane %d is %#x, of the first %#x", p, level, i%size, i/size, a, b)
						}
					}
				}
			}
		}
	}
}

// Windows that reach further beside small planes than a neighbour is long read nothing before or after the tensor.
func TestWindowsWiderThanPlanes(t *testing.T) {
	for _, level := range cpu.Levels() {
		for _, kind := range []Kind{Max, Average} {
			for _, dilation := range []int{1, 4} {
				for columns := 2; columns < 12; columns++ {
					kernel := []int{1, 9 - 6*(dilation/4)}
					pad := (kernel[1] - 1) * dilation / 2
					p := Params{Kind: kind, Kernel: kernel, Dilation: []int{1, dilation}, Pads: []int{0, pad, 0, pad}}
					plan, err := New(p, 8, []int{1, columns}, level, false)
					if err != nil {
						t.Fatal(err)
					}
					x := make([]float32, plan.InSize(1))
					for i := range x {
						x[i] = float32(i%13) - 20
					}
					want := make([]float32, plan.OutSize(1))
					if err := Reference(p, 8, []int{1, columns}, x, want, nil); err != nil {
						t.Fatal(err)
					}
					for _, side := range []guard.Side{guard.Start, guard.End} {
						in, out := guard.Copy(t, x, side), guard.Slice[float32](t, len(want), side)
						if err := plan.NewRunner().Run(nil, 1, in, out); err != nil {
							t.Fatal(err)
						}
						for i, w := range want {
							if d := math.Abs(float64(out[i] - w)); !(d < 1e-5) {
								t.Fatalf("%+v on %v, %d columns: output %d is %g, want %g", p, level, columns, i, out[i], w)
							}
						}
					}
				}
			}
		}
	}
}

func TestReferenceKnownValues(t *testing.T) {
	ones := make([]float32, 16)
	for i := range ones {
		ones[i] = 1
	}
	p := Params{Kind: Average, Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: []int{1, 1, 1, 1}, Ceil: true, CountIncludePad: true}
	out := make([]float32, 9)
	if err := Reference(p, 1, []int{4, 4}, ones, out, nil); err != nil {
		t.Fatal(err)
	}
	// ONNX Runtime's answer: the last windows are clipped to the padded input.
	want := []float32{4.0 / 9, 6.0 / 9, 2.0 / 6, 6.0 / 9, 1, 3.0 / 6, 2.0 / 6, 3.0 / 6, 1.0 / 4}
	for i := range want {
		if math.Abs(float64(out[i]-want[i])) > 1e-6 {
			t.Errorf("output %d is %g, want %g", i, out[i], want[i])
		}
	}
	indices := make([]int64, 1)
	if err := Reference(Global(Max, []int{4}), 1, []int{4}, []float32{1, 7, 7, 2}, out[:1], indices); err != nil {
		t.Fatal(err)
	}
	if indices[0] != 1 || out[0] != 7 {
		t.Errorf("maximum %g at %d, want 7 at 1", out[0], indices[0])
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	plan, err := New(Params{Kernel: []int{3, 3}, Stride: []int{2, 2}}, 32, []int{15, 15}, cpu.Level(), true)
	if err != nil {
		t.Fatal(err)
	}
	in, out, r := make([]float32, plan.InSize(1)), make([]float32, plan.OutSize(1)), plan.NewRunner()
	if a := testing.AllocsPerRun(5, func() {
		if err := r.Run(nil, 1, in, out); err != nil {
			t.Fatal(err)
		}
	}); a != 0 {
		t.Errorf("%v allocations a run", a)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		p       Params
		spatial []int
		blocked bool
	}{
		{Params{}, nil, false},
		{Params{Kernel: []int{3}}, []int{2}, false},
		{Params{Kernel: []int{3}, Pads: []int{1}}, []int{9}, false},
		{Params{Kernel: []int{3}, Stride: []int{0}}, []int{9}, false},
		{Params{Kernel: []int{3}}, []int{9}, true},
		{Params{Kernel: []int{3}, Pads: []int{math.MaxInt, math.MaxInt}}, []int{9}, false},
	} {
		if _, err := New(c.p, 4, c.spatial, cpu.Generic, c.blocked); err == nil {
			t.Errorf("%+v on %v: no error", c.p, c.spatial)
		}
	}
}

func BenchmarkPooling(b *testing.B) {
	for _, c := range []struct {
		name     string
		p        Params
		channels int
		spatial  []int
	}{
		{"max 3×3/2 64 at 112²", Params{Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: []int{1, 1, 1, 1}}, 64, []int{112, 112}},
		{"global average 2048 at 7²", Global(Average, []int{7, 7}), 2048, []int{7, 7}},
		{"average 3×3 64 at 128²", Params{Kind: Average, Kernel: []int{3, 3}}, 64, []int{128, 128}},
		{"average 3×3 padded 64 at 128²", Params{Kind: Average, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}}, 64, []int{128, 128}},
		{"max 3×3 padded 64 at 128²", Params{Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}}, 64, []int{128, 128}},
	} {
		for _, blocked := range []bool{false, true} {
			name := c.name + " plain"
			if blocked {
				name = c.name + " blocked"
			}
			b.Run(name, func(b *testing.B) {
				plan, err := New(c.p, c.channels, c.spatial, cpu.Level(), blocked)
				if err != nil {
					b.Fatal(err)
				}
				in, out, r := make([]float32, plan.InSize(1)), make([]float32, plan.OutSize(1)), plan.NewRunner()
				for b.Loop() {
					if err := r.Run(nil, 1, in, out); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
