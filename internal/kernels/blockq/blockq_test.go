package blockq

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

// formats are those that are computed with integers, in order.
func formats() (out []block.Format) {
	for f := range block.Format(64) {
		if layouts[f] != nil && f.Valid() {
			out = append(out, f)
		}
	}
	return out
}

// halfAt are the offsets of the float16 numbers in a block.
var halfAt = map[block.Format][]int{
	block.Q4_0: {0}, block.Q4_1: {0, 2}, block.Q5_0: {0}, block.Q5_1: {0, 2}, block.Q8_0: {0}, block.IQ4_NL: {0}, block.IQ4_XS: {0},
	block.Q2_K: {80, 82}, block.Q3_K: {108}, block.Q4_K: {0, 2}, block.Q5_K: {0, 2}, block.Q6_K: {208}, block.MXFP4: {},
}

// randomRows are n rows of k elements: any bytes, with scales near 2^-6; noise in
// plain floats.
func randomRows(f block.Format, n, k int, seed uint64) []byte {
	row, err := f.RowBytes(k)
	if err != nil {
		panic(err)
	}
	r := rand.New(rand.NewPCG(seed, uint64(f)))
	b := make([]byte, n*row)
	if isHalf(f) {
		block.Encode(f, b, noise(n*k, seed))
		return b
	}
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for at := 0; at < len(b); at += f.Bytes() {
		for _, h := range halfAt[f] {
			le.PutUint16(b[at+h:], dtype.F32ToF16((r.Float32()-.5)/32))
		}
		if f == block.MXFP4 {
			b[at] = byte(118 + r.IntN(5))
		}
	}
	return b
}

func pack(t testing.TB, f block.Format, n, k int, rows []byte) *Packed {
	t.Helper()
	size, err := PackedSize(f, n, k)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Pack(kerneltest.Guarded(t, size), f, n, k, rows)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func noise(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// TestUnpackDecodes holds what is packed against package block's decoders.
func TestUnpackDecodes(t *testing.T) {
	const n, k = 19, 512
	for _, f := range formats() {
		t.Run(f.String(), func(t *testing.T) {
			rows := randomRows(f, n, k, 3)
			p := pack(t, f, n, k, rows)
			want := make([]float32, n*k)
			block.Decode(f, want, rows)
			l := p.layout
			groups := k / groupSize
			values, dw, extra := make([]int8, groups*8*vector), make([]float32, groups*cols), make([]float32, groups*2*cols)
			for panel := range 2 {
				a := args{w: unsafe.Pointer(&p.panel(panel)[0]), values: unsafe.Pointer(&values[0]), dw: unsafe.Pointer(&dw[0]), extra: unsafe.Pointer(&extra[0]), units: k / l.unit()}
				l.unpack(&a)
				for i := panel * cols * k; i < min(n, (panel+1)*cols)*k; i++ {
					j, g, e := i/k%cols, i%k/groupSize, i%groupSize
					v := float32(values[g*8*vector+e/4*vector+4*j+e%4])
					d := dw[g*cols+j]
					var got float32
					switch h := (2*g+e/16)*cols + j; l.kind() {
					case plain, signed:
						got = d * v
					case offset:
						got = float32(d*v) + extra[g*cols+j]
					case pair:
						got = float32(d*extra[h]) * v
					case twoOffsets:
						got = float32(d*v) + extra[h]
					}
					if got != want[i] {
						t.Fatalf("row %d, element %d: packed as %v, decodes to %v", i/k, i%k, got, want[i])
					}
				}
			}
		})
	}
}

// product runs a task on guarded memory.
func product(t testing.TB, p *Packed, x []float32, m int, threads int, bias, residual []float32) []float32 {
	t.Helper()
	workers := pool.New(threads)
	defer workers.Close()
	y := kerneltest.Floats(t, m*p.n, nil)
	task := Task{Product: Product{M: m, N: p.n, K: p.k, X: x, StrideX: p.k, Packed: p, Y: y, StrideY: p.n, Bias: bias, Residual: residual, StrideR: p.n}}
	task.Scratch = kerneltest.Guarded(t, task.ScratchSize(threads))
	if err := task.Run(workers); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(y)
}

func TestMatchesArithmetic(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, f := range formats() {
			k := max(96, f.Elems())
			for _, n := range []int{1, 16, 37, 150} {
				rows := randomRows(f, n, k, 5)
				p := pack(t, f, n, k, rows)
				for _, m := range []int{1, 2, 3, 5, 16, 19, 21, 40} {
					x := kerneltest.Floats(t, m*k, nil)
					bias, residual := noise(n, 2), noise(m*n, 3)
					y := product(t, p, x, m, 1, bias, residual)
					exact := make([]float32, m*n)
					Reference(exact, f, m, n, k, x, rows)
					for i, got := range y {
						want := exact[i] + bias[i%n]
						want += residual[i]
						if !kerneltest.Same(got, want) {
							t.Fatalf("%v, %d×%d×%d: row %d column %d: got %v, want %v", f, m, n, k, i/n, i%n, got, want)
						}
					}
				}
			}
		}
	})
}

// TestIndependence compares a row's bits alone and in company, on threads, and at
// every level.
func TestIndependence(t *testing.T) {
	const n, k = 83, 768
	for _, f := range formats() {
		t.Run(f.String(), func(t *testing.T) {
			rows := randomRows(f, n, k, 7)
			x := noise(65*k, 9)
			copy(x[3*k:], special())
			var want []float32
			kerneltest.Levels(t, func(t *testing.T) {
				p := pack(t, f, n, k, rows)
				if want == nil {
					want = product(t, p, x, 65, 1, nil, nil)
				}
				step := 1
				if cpu.Level() == cpu.Generic {
					step = 9
				}
				for m := 1; m <= 65; m += step {
					from := 65 - m
					for i, got := range product(t, p, x[from*k:], m, 1+m%3, nil, nil) {
						if w := want[from*n+i]; !kerneltest.Same(got, w) {
							t.Fatalf("row %d of %d, column %d: %v, alone or elsewhere %v", i/n, m, i%n, got, w)
						}
					}
				}
			})
		})
	}
}

// special are numbers at the ends of the quantizer's range.
func special() []float32 {
	x := []float32{0, math.Float32frombits(1 << 31), 1, -1, math.MaxFloat32, -math.MaxFloat32, 0x1p-120, 0x1.fffp-121, 0x1p-149}
	for len(x)%groupSize != 0 {
		x = append(x, float32(len(x))*0x1p-122)
	}
	for len(x) < 3*groupSize {
		x = append(x, 0x1p-149*float32(len(x)))
	}
	return x
}

func TestNotFinite(t *testing.T) {
	const n, k, m = 17, 256, 19
	kerneltest.Levels(t, func(t *testing.T) {
		for _, f := range formats() {
			p := pack(t, f, n, k, randomRows(f, n, k, 1))
			for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
				for _, at := range []int{0, 31, 200, 255} {
					x := noise(m*k, 4)
					clean := product(t, p, x, m, 1, nil, nil)
					x[k+at] = bad
					for i, y := range product(t, p, x, m, 1, nil, nil) {
						if i/n == 1 && y == y || i/n != 1 && !kerneltest.Same(y, clean[i]) {
							t.Fatalf("%v: with %v at element %d of row 1, row %d has %v", f, bad, at, i/n, y)
						}
					}
				}
			}
		}
	})
}

// TestExtremeWeights: scales that are zero, subnormal, infinite or NaN, and codes
// and numbers that make the largest sums.
func TestExtremeWeights(t *testing.T) {
	const n, k, most = 16, 256, 16
	for _, f := range formats() {
		for _, scale := range []uint16{0, 0x8000, 1, 0x03ff, 0x7bff, 0xfbff, 0x7c00, 0x7e00} {
			for _, code := range []byte{0, 0xff, 0x80, 0x7f, 0x88} {
				rows := randomRows(f, n, k, 1)
				for i := range rows {
					rows[i] = code
				}
				for at := 0; at < len(rows); at += f.Bytes() {
					for _, h := range halfAt[f] {
						le.PutUint16(rows[at+h:], scale)
					}
				}
				x := noise(most*k, 4)
				for i := range k {
					x[i] = float32(1 - 2*(i/16%2))
					x[k+i] = 1
				}
				var want []float32
				kerneltest.Levels(t, func(t *testing.T) {
					p := pack(t, f, n, k, rows)
					for _, m := range []int{1, 2, most} {
						y := product(t, p, x, m, 1, nil, nil)
						if want == nil {
							want = product(t, p, x, most, 1, nil, nil)
						}
						for i, got := range y {
							if !kerneltest.Same(got, want[i]) {
								t.Fatalf("%v, scale %#x, code %#x: element %d of %d rows is %v, want %v", f, scale, code, i, m, got, want[i])
							}
						}
					}
				})
			}
		}
	}
}

// TestLargestSums: products of the largest codes, scales and activations of Q6_K,
// which are just below 2^24.
func TestLargestSums(t *testing.T) {
	const n, k, m, f = 16, 256, 17, block.Q6_K
	rows := make([]byte, n*f.Bytes()) // codes that stand for -32
	for j := range n {
		b := rows[j*f.Bytes():]
		for i := range 16 {
			b[192+i] = 0x80 // scales of -128
		}
		le.PutUint16(b[208:], dtype.F32ToF16(float32(1+j)))
	}
	x := make([]float32, m*k)
	for i := range x {
		x[i] = 1
		if i%k%groupSize == i/k { // and sums a little smaller
			x[i] = 0.5
		}
	}
	want := make([]float32, m*n)
	Reference(want, f, m, n, k, x, rows)
	kerneltest.Levels(t, func(t *testing.T) {
		for i, y := range product(t, pack(t, f, n, k, rows), x, m, 1, nil, nil) {
			if y != want[i] {
				t.Fatalf("row %d, column %d: got %v, want %v", i/n, i%n, y, want[i])
			}
		}
	})
}

// TestFMA compares with exact arithmetic where rounding twice goes wrong.
func TestFMA(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200000 {
		x, y := float32(r.NormFloat64()), float32(r.NormFloat64())
		z := float32(r.NormFloat64()) * float32(math.Ldexp(1, r.IntN(60)-30))
		if got, want := fma(x, y, z), exactFMA(x, y, z); got != want {
			t.Fatalf("fma(%v, %v, %v) = %v, want %v", x, y, z, got, want)
		}
	}
	inf := float32(math.Inf(1))
	if got := fma(inf, 1, 2); got != inf {
		t.Errorf("fma(Inf, 1, 2) = %v", got)
	}
	if got := fma(inf, 1, -inf); got == got {
		t.Errorf("fma(Inf, 1, -Inf) = %v", got)
	}
}

func TestErrors(t *testing.T) {
	p := pack(t, block.Q4_0, 3, 64, randomRows(block.Q4_0, 3, 64, 1))
	good := Product{M: 2, N: 3, K: 64, X: make([]float32, 128), StrideX: 64, Packed: p, Y: make([]float32, 6), StrideY: 3}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Product){
		"no weights": func(p *Product) { p.Packed = nil },
		"another K":  func(p *Product) { p.K = 32 },
		"short X":    func(p *Product) { p.X = p.X[1:] },
		"short Y":    func(p *Product) { p.Y = p.Y[1:] },
		"bias":       func(p *Product) { p.Bias = make([]float32, 2) },
		"residual":   func(p *Product) { p.Residual, p.StrideR = make([]float32, 5), 3 },
	} {
		bad := good
		change(&bad)
		if bad.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, c := range []struct {
		f    block.Format
		n, k int
	}{{block.Q4_K, 4, 32}, {block.Q4_0, 0, 32}, {block.Q4_0, 1, 33}, {block.TQ1_0, 1, 256}, {block.Q8_0, 1 << 60, 32}, {99, 1, 32}} {
		if _, err := PackedSize(c.f, c.n, c.k); err == nil {
			t.Errorf("%v, %d×%d: no error", c.f, c.n, c.k)
		}
	}
	if _, err := Pack(make([]byte, 16), block.Q4_0, 1, 32, make([]byte, 18)); err == nil {
		t.Error("packing into too little: no error")
	}
	if _, err := Pack(make([]byte, 288), block.Q4_0, 1, 32, make([]byte, 17)); err == nil {
		t.Error("packing too few bytes: no error")
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	for _, m := range []int{1, 4} {
		p := pack(t, block.Q4_K, 64, 256, randomRows(block.Q4_K, 64, 256, 1))
		task := Task{Product: Product{M: m, N: 64, K: 256, X: noise(m*256, 1), StrideX: 256, Packed: p, Y: make([]float32, m*64), StrideY: 64}}
		task.Scratch = make([]byte, task.ScratchSize(1))
		run := func() {
			if err := task.Run(nil); err != nil {
				t.Fatal(err)
			}
		}
		run()
		if n := testing.AllocsPerRun(20, run); n != 0 {
			t.Errorf("M=%d: %v allocations", m, n)
		}
	}
}

func exactFMA(x, y, z float32) float32 {
	f := bigFloat(x)
	f.Mul(f, bigFloat(y))
	f.Add(f, bigFloat(z))
	v, _ := f.Float32()
	return v
}

func ExampleTask() {
	rows := make([]byte, 18) // a block of Q4_0: scale 1, all codes 9, which is 1
	le.PutUint16(rows, dtype.F32ToF16(1))
	for i := range rows[2:] {
		rows[2+i] = 0x99
	}
	size, _ := PackedSize(block.Q4_0, 1, 32)
	packed, _ := Pack(make([]byte, size), block.Q4_0, 1, 32, rows)
	x := make([]float32, 32)
	x[0], x[1] = 127, 1
	y := make([]float32, 1)
	task := Task{Product: Product{M: 1, N: 1, K: 32, X: x, StrideX: 32, Packed: packed, Y: y, StrideY: 1}}
	fmt.Println(task.Run(nil), y)
	// Output: <nil> [128]
}

func bigFloat(x float32) *big.Float { return new(big.Float).SetPrec(500).SetFloat64(float64(x)) }

// FuzzPack packs any bytes and holds a product against Reference.
func FuzzPack(f *testing.F) {
	for i, format := range formats() {
		f.Add(uint8(format), uint8(i), randomRows(format, 1, 256, uint64(i)))
	}
	f.Fuzz(func(t *testing.T, number, rows uint8, data []byte) {
		format := block.Format(number)
		if layouts[format] == nil || !format.Valid() {
			if _, err := PackedSize(format, 1, 256); (err == nil) != Supports(format) {
				t.Fatalf("%v: size %v, kernels %v", format, err, Supports(format))
			}
			return
		}
		n, k := int(rows)%20+1, format.Elems()
		w := make([]byte, n*format.Bytes())
		for i := range w {
			if len(data) > 0 {
				w[i] = data[i%len(data)]
			}
		}
		p := pack(t, format, n, k, w)
		x := noise(2*k, 1)
		want := make([]float32, 2*n)
		Reference(want, format, 2, n, k, x, w)
		for i, got := range product(t, p, x, 2, 1, nil, nil) {
			if !kerneltest.Same(got, want[i]) {
				t.Fatalf("%v: element %d is %v, want %v", format, i, got, want[i])
			}
		}
	})
}

// TestNBits: with scales that are float16, the weights are those of formats that
// GGML has, bit by bit.
func TestNBits(t *testing.T) {
	const n, k = 37, 256
	for _, c := range []struct {
		f    block.Format
		bits int
		zero bool
	}{{block.Q4_0, 4, false}, {block.Q4_1, 4, true}, {block.Q8_0, 8, false}} {
		for _, size := range []int{32, 64, 256} {
			w := NBits{N: n, K: k, Bits: c.bits, Block: size, Codes: make([]byte, n*k*c.bits/8)}
			r := rand.New(rand.NewPCG(1, uint64(size)))
			rows := randomRows(c.f, n, k, 4)
			for b := range n * k / size {
				scale, zero := float32(math.Ldexp(1, r.IntN(4)-8)), float32(r.IntN(16))
				w.Scales = append(w.Scales, scale)
				if c.zero {
					w.Zeros = append(w.Zeros, zero)
				}
				for g := b * size / groupSize; g < (b+1)*size/groupSize; g++ {
					raw := rows[g*c.f.Bytes():][:c.f.Bytes()]
					le.PutUint16(raw, dtype.F32ToF16(scale))
					if c.zero {
						le.PutUint16(raw[2:], dtype.F32ToF16(-scale*zero))
					}
					var u unit
					u.parse(c.f, raw)
					for i, code := range u.codes[:groupSize] {
						if at := g*groupSize + i; c.bits == 8 {
							w.Codes[at] = code ^ 0x80
						} else {
							w.Codes[at/2] |= code << (at % 2 * 4)
						}
					}
				}
			}
			kerneltest.Levels(t, func(t *testing.T) {
				bytes, err := w.PackedSize()
				if err != nil {
					t.Fatal(err)
				}
				p, err := w.Pack(kerneltest.Guarded(t, bytes))
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range []int{1, 2, 3, 7, 19, 40} {
					x := noise(m*k, 5)
					want := make([]float32, m*n)
					Reference(want, c.f, m, n, k, x, rows)
					for i, got := range product(t, p, x, m, 1, nil, nil) {
						if got != want[i] {
							t.Fatalf("%d bits in blocks of %d, %d rows: element %d is %v, %v has %v", c.bits, size, m, i, got, c.f, want[i])
						}
					}
				}
			})
		}
	}
	for _, w := range []NBits{{N: 1, K: 32, Bits: 2, Block: 32}, {N: 1, K: 32, Bits: 8, Block: 32, Zeros: []float32{1}}, {N: 1, K: 48, Bits: 4, Block: 32}, {N: 1, K: 32, Bits: 4, Block: 16}, {N: 0, K: 32, Bits: 4, Block: 32}} {
		if _, err := w.PackedSize(); err == nil {
			t.Errorf("%+v: no error", w)
		}
	}
}

// TestTogether runs tasks in many goroutines while the collector does: tile
// registers must not meet the scheduler, nor the collector a stray pointer.
func TestTogether(t *testing.T) {
	const n, k, m = 100, 512, 19
	kerneltest.Levels(t, func(t *testing.T) {
		rows := randomRows(block.Q6_K, n, k, 1)
		size, _ := PackedSize(block.Q6_K, n, k)
		p, err := Pack(make([]byte, size), block.Q6_K, n, k, rows)
		if err != nil {
			t.Fatal(err)
		}
		x := noise(m*k, 2)
		want := product(t, p, x, m, 1, nil, nil)
		workers := pool.New(3)
		defer workers.Close()
		var group sync.WaitGroup
		for range 32 {
			group.Go(func() {
				task := Task{Product: Product{M: m, N: n, K: k, X: x, StrideX: k, Packed: p, Y: make([]float32, m*n), StrideY: n}}
				for range 5 {
					clear(task.Y)
					if err := task.Run(workers); err != nil {
						t.Error(err)
						return
					}
					if !slices.Equal(task.Y, want) {
						t.Error("a product differs from the same alone")
						return
					}
					runtime.GC()
				}
			})
		}
		group.Wait()
	})
}

// TestLongRows has tasks whose calls of kernels are cut short.
func TestLongRows(t *testing.T) {
	const n, k, m = 70, 1 << 16, 33
	for _, f := range append(halves, block.Q4_K) {
		rows := randomRows(f, n, k, 1)
		x := noise(m*k, 2)
		want := make([]float32, m*n)
		if isHalf(f) {
			Reference(want, f, m, n, k, x, rows)
		}
		kerneltest.Levels(t, func(t *testing.T) {
			if cpu.Level() == cpu.Generic {
				return // where the sums of 16-bit floats round otherwise
			}
			p := pack(t, f, n, k, rows)
			alone := product(t, p, x, 1, 1, nil, nil)
			for _, m := range []int{16, m} {
				for i, y := range product(t, p, x, m, 2, nil, nil) {
					if i < n && y != alone[i] || isHalf(f) && y != want[i] {
						t.Fatalf("%v: row %d of %d, column %d is %v, alone %v, by the reference %v", f, i/n, m, i%n, y, alone[i%n], want[i])
					}
				}
			}
		})
	}
}

// TestBlocksFinerThanTheirRow: blocks of all magnitudes, in rows that are large, small, and
// about where they count as zero.
func TestBlocksFinerThanTheirRow(t *testing.T) {
	const n, k, m, f = 16, 2048, 21, block.Q4_0
	rows := randomRows(f, n, k, 1)
	x := noise(m*k, 2)
	for i := range x {
		row, b := i/k, i%k/groupSize
		x[i] = float32(math.Ldexp(float64(x[i]), []int{0, 120, -90, -102}[row%4]-b/2))
		if b%8 == row%8 { // as large as the row has them, or just half, a quarter, …
			x[i] = float32(math.Ldexp(127.5/127, []int{2, 2, -88, -100}[row%4]-b/8))
		}
	}
	want := make([]float32, m*n)
	Reference(want, f, m, n, k, x, rows)
	kerneltest.Levels(t, func(t *testing.T) {
		p := pack(t, f, n, k, rows)
		for _, from := range []int{0, 13, 17, 20} {
			for i, y := range product(t, p, x[from*k:], m-from, 1, nil, nil) {
				if w := want[from*n+i]; !kerneltest.Same(y, w) {
					t.Fatalf("row %d of %d, column %d: got %v, want %v", i/n, m-from, i%n, y, w)
				}
			}
		}
	})
}
