package block

import (
	"math"
	"math/rand/v2"
	"testing"
)

// worst is a bound of |decoded - x| / max |x| in a block, about one step of the format's grid.
var worst = map[Format]float64{
	F32: 0, F16: 1.0 / 2048, BF16: 1.0 / 256,
	Q4_0: 0.13, Q4_1: 0.07, Q5_0: 0.07, Q5_1: 0.035, Q8_0: 0.005,
	Q2_K: 0.7, Q3_K: 0.4, Q4_K: 0.2, Q5_K: 0.1, Q6_K: 0.05,
	IQ4_NL: 0.2, IQ4_XS: 0.2, MXFP4: 0.26,
}

func TestEveryEncoderHasABound(t *testing.T) {
	for f := range Format(number) {
		if _, ok := worst[f]; ok != f.Encodes() {
			t.Errorf("%v: bound %v, encodes %v", f, ok, f.Encodes())
		}
	}
}

func checkError(t *testing.T, f Format, x []float32) {
	t.Helper()
	y, largest := decode(f, encode(t, f, x)), 0.0
	for _, v := range x {
		largest = max(largest, math.Abs(float64(v)))
	}
	for i := range x {
		// 1e-7 is the step of float16's subnormals, which scales may be.
		if d := math.Abs(float64(x[i]) - float64(y[i])); !(d <= worst[f]*largest+64e-7) {
			t.Fatalf("%v: element %d is %v of at most %v and became %v", f, i, x[i], largest, y[i])
		}
	}
}

// vectors are blocks that try the corners of a search.
func vectors() map[string][]float32 {
	var r *rand.Rand
	list := map[string]func(i int) float64{
		"zero":       func(int) float64 { return 0 },
		"constant":   func(int) float64 { return 3 },
		"negative":   func(int) float64 { return -0.01 },
		"spike":      func(i int) float64 { return max(0, 1-math.Abs(float64(i-17))) },
		"dip":        func(i int) float64 { return -max(0, 1-math.Abs(float64(i-255))) },
		"ramp":       func(i int) float64 { return float64(i - 128) },
		"above":      func(int) float64 { return 5 + r.Float64() },
		"below":      func(int) float64 { return -5 - r.Float64() },
		"normal":     func(int) float64 { return r.NormFloat64() },
		"heavy":      func(int) float64 { return math.Pow(r.NormFloat64(), 5) },
		"rows":       func(i int) float64 { return math.Ldexp(r.NormFloat64(), i/32) },
		"tiny":       func(int) float64 { return r.NormFloat64() * 1e-40 },
		"large":      func(int) float64 { return r.NormFloat64() * 1e4 },
		"signs":      func(i int) float64 { return float64(i%2*2 - 1) },
		"minus zero": func(int) float64 { return math.Copysign(0, -1) },
	}
	all := map[string][]float32{}
	for name, f := range list {
		r = rand.New(rand.NewPCG(1, 2))
		x := make([]float32, 256)
		for i := range x {
			x[i] = float32(f(i))
		}
		all[name] = x
	}
	return all
}

func TestEncodeIsNear(t *testing.T) {
	for name, x := range vectors() {
		t.Run(name, func(t *testing.T) {
			for f := range worst {
				checkError(t, f, x)
			}
		})
	}
}

// Values that a format has come back as they are.
func TestEncodeKeepsRepresentable(t *testing.T) {
	for _, f := range []Format{Q4_0, Q5_0, Q8_0, MXFP4, IQ4_NL} {
		x := make([]float32, 256)
		for i := range x {
			switch f {
			case MXFP4:
				x[i] = 0.25 * float32(valuesE2M1[i%16])
			case IQ4_NL:
				x[i] = -0.25 * float32(valuesIQ4[i%16])
			case Q8_0:
				x[i] = 0.25 * float32(i%32*8-124)
				if i%32 == 0 {
					x[i] = -0.25 * 127
				}
			case Q5_0:
				x[i] = 0.25 * float32(i%32-16)
			default:
				x[i] = 0.25 * float32(i%16-8)
			}
		}
		for i, y := range decode(f, encode(t, f, x)) {
			if y != x[i] {
				t.Errorf("%v: element %d: %v became %v", f, i, x[i], y)
				break
			}
		}
	}
}

// Neither any bits nor any numbers make Decode or Encode panic, and numbers of
// moderate size come back within the format's bound.
func FuzzBlock(f *testing.F) {
	for _, x := range vectors() {
		b := make([]byte, 4*len(x))
		encodeF32(b, x)
		for format := range worst {
			f.Add(uint8(format), b)
		}
	}
	f.Add(uint8(IQ1_M), make([]byte, 1024))
	f.Fuzz(func(t *testing.T, number uint8, b []byte) {
		format := Format(number)
		if n := len(b) / max(1, format.Bytes()); format.Decodes() {
			decode(format, b[:n*format.Bytes()])
		}
		if !format.Encodes() || len(b) < 1024 {
			return
		}
		x := floats(b[:1024])
		encode(t, format, x)
		for i, v := range x {
			if !(math.Abs(float64(v)) < 1e4) {
				x[i] = float32(i)
			}
		}
		checkError(t, format, x)
	})
}

func BenchmarkDecode(b *testing.B) {
	x := make([]float32, 4096)
	for f := range Format(number) {
		if !f.Decodes() {
			continue
		}
		n, err := f.RowBytes(len(x))
		if err != nil {
			b.Fatal(err)
		}
		src := make([]byte, n)
		b.Run(f.String(), func(b *testing.B) {
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				Decode(f, x, src)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	var x []float32
	for range 16 {
		x = append(x, vectors()["normal"]...)
	}
	for f := range worst {
		n, err := f.RowBytes(len(x))
		if err != nil {
			b.Fatal(err)
		}
		dst := make([]byte, n)
		b.Run(f.String(), func(b *testing.B) {
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				Encode(f, dst, x)
			}
		})
	}
}
