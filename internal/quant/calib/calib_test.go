package calib

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

var mappings = []target{{dtype.Uint8, false}, {dtype.Int8, true}, {dtype.Int8, false}, {dtype.Int4, true}, {dtype.Int16, true}}

func observed(t testing.TB, method string, o Options, samples ...[]float32) Observer {
	t.Helper()
	obs, err := New(method, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range samples {
		if err := obs.Observe(x); err != nil {
			t.Fatal(err)
		}
	}
	return obs
}

func rangeOf(t testing.TB, o Observer, m target) quant.Range {
	t.Helper()
	r, err := o.Range(m.dtype, m.symmetric)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// searching is the observer whose ranges o remembers.
func searching[T Observer](o Observer) T { return o.(*cached).Observer.(T) }

func draw(i, n int) []float32 { return shapes[i].draw(rand.New(rand.NewPCG(1, uint64(i))), n) }

// inPieces cuts values at random places and puts the pieces in another order.
func inPieces(x []float32, seed uint64) [][]float32 {
	r := rand.New(rand.NewPCG(seed, 7))
	var list [][]float32
	for len(x) > 0 {
		n := 1 + r.IntN(min(len(x), 3000))
		list = append(list, x[:n])
		x = x[n:]
	}
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// Neither the order of values nor the pieces in which they come change
// anything, bit for bit, except for moving averages, sums, and what entropy knows of
// samples.
func TestOrder(t *testing.T) {
	for i, s := range shapes {
		x := draw(i, 30000)
		for _, method := range Methods[:4] {
			whole, cut := observed(t, method, Options{}, x), observed(t, method, Options{}, inPieces(x, uint64(i))...)
			if !reflect.DeepEqual(counts(whole), counts(cut)) {
				t.Errorf("%s, %s: pieces in another order give another state", s.name, method)
			}
			list := inPieces(x, uint64(i))
			a := observed(t, method, Options{}, list...)
			slices.Reverse(list)
			if b := observed(t, method, Options{}, list...); !reflect.DeepEqual(a, b) {
				t.Errorf("%s, %s: samples in another order give another state", s.name, method)
			}
		}
	}
}

// counts is what an observer knows of values, without what it knows of samples.
func counts(o Observer) any {
	if c, ok := o.(*cached); ok {
		if e, ok := c.Observer.(*entropy); ok {
			return e.stream
		}
	}
	return o
}

// Values times a power of two have ranges times that power, bit for bit.
func TestScaling(t *testing.T) {
	for i, s := range shapes {
		x := draw(i, 5000)
		for _, k := range []int{-60, 90} {
			y := make([]float32, len(x))
			for j, v := range x {
				y[j] = float32(math.Ldexp(float64(v), k))
			}
			for _, method := range Methods[:4] {
				a, b := observed(t, method, Options{}, x), observed(t, method, Options{}, y)
				for _, m := range mappings[:3] {
					r, q := rangeOf(t, a, m), rangeOf(t, b, m)
					if want := (quant.Range{Min: math.Ldexp(r.Min, k), Max: math.Ldexp(r.Max, k)}); q != want {
						t.Errorf("%s, %s, %v: times 2^%d the range is %v, expected %v", s.name, method, m, k, q, want)
					}
				}
			}
		}
	}
}

// A range is that of all that was seen, also after it was asked for before.
func TestAgain(t *testing.T) {
	for _, method := range Methods[:4] {
		x := draw(3, 5000)
		o := observed(t, method, Options{}, x[:2000])
		for _, m := range mappings {
			rangeOf(t, o, m)
		}
		if err := o.Observe(x[2000:]); err != nil {
			t.Fatal(err)
		}
		all := observed(t, method, Options{}, x)
		for _, m := range mappings {
			for range 2 {
				if got, want := rangeOf(t, o, m), rangeOf(t, all, m); got != want {
					t.Errorf("%s, %v: %v, expected %v", method, m, got, want)
				}
			}
		}
	}
}

// Ranges lie within what was seen, and have some width where that has.
func TestWithin(t *testing.T) {
	for i, s := range shapes {
		x := draw(i, 5000)
		lo, hi := float64(slices.Min(x)), float64(slices.Max(x))
		for _, method := range Methods[:4] {
			o := observed(t, method, Options{}, x)
			for _, m := range mappings {
				r := rangeOf(t, o, m)
				if r.Min < lo || r.Max > hi || r.Min > r.Max || r.Min == 0 && r.Max == 0 {
					t.Errorf("%s, %s, %v: range %v of values from %g to %g", s.name, method, m, r, lo, hi)
				}
			}
		}
	}
}

func TestHistogram(t *testing.T) {
	for i, s := range shapes {
		x := draw(i, 10000)
		h := observed(t, "mse", Options{}, x).Histogram()
		n := uint64(0)
		for b, c := range h.Counts {
			width := (h.Max - h.Min) / float64(len(h.Counts))
			lo, hi := h.Min+float64(b)*width, h.Min+float64(b+1)*width
			inside := uint64(0)
			for _, v := range x {
				if f := float64(v); f >= 0 && f >= lo && f < hi || f < 0 && f > lo && f <= hi { // mirrored
					inside++
				}
			}
			n += c
			if inside != c {
				t.Errorf("%s: %d values from %g to %g, expected %d", s.name, c, lo, hi, inside)
			}
		}
		if n != uint64(len(x)) || len(h.Counts) > reportBins {
			t.Errorf("%s: %d values in %d bins", s.name, n, len(h.Counts))
		}
	}
	if observed(t, "minmax", Options{}, draw(0, 100)).Histogram() != nil || observed(t, "minmax", Options{Histogram: true}, draw(0, 100)).Histogram() == nil {
		t.Error("minmax keeps a histogram only where it is asked for")
	}
	if h := observed(t, "mse", Options{}, []float32{0, 0}).Histogram(); !slices.Equal(h.Counts, []uint64{2}) {
		t.Errorf("zeros: %v", h)
	}
}

// Numbers at the ends of what float32 holds find bins.
func TestExtremeValues(t *testing.T) {
	negative := float32(math.Copysign(0, -1))
	for _, x := range [][]float32{
		{math.MaxFloat32, -math.MaxFloat32}, {math.SmallestNonzeroFloat32}, {-math.SmallestNonzeroFloat32, 1}, {negative}, {negative, 5, -5},
		{1e-30, math.MaxFloat32}, {-1, -2, -4096}, {8192, 0.5, 1, 2, 3},
	} {
		for _, method := range Methods[:4] {
			var each [][]float32
			for i := range x {
				each = append(each, x[i:i+1])
			}
			o := observed(t, method, Options{}, each...)
			if !reflect.DeepEqual(counts(o), counts(observed(t, method, Options{}, x))) {
				t.Errorf("%v, %s: one by one gives another state", x, method)
			}
			for _, m := range mappings {
				if _, err := quant.Fit(rangeOf(t, o, m), m.dtype, m.symmetric); err != nil {
					t.Errorf("%v, %s: %v", x, method, err)
				}
			}
		}
	}
}

func TestPercentile(t *testing.T) {
	for i, s := range shapes {
		x := draw(i, 20000)
		size := make([]float64, len(x))
		for j, v := range x {
			size[j] = math.Abs(float64(v))
		}
		slices.Sort(size)
		for _, p := range []float64{90, 99, 99.9, 99.999, 100} {
			o := observed(t, "percentile", Options{Percentile: p}, x)
			r := rangeOf(t, o, mappings[0])
			limit := size[len(x)-1-int((1-p/100)*float64(len(x)))]
			if limit == 0 {
				limit = size[len(x)-1]
			}
			lo, hi := math.Max(float64(slices.Min(x)), -limit), math.Min(float64(slices.Max(x)), limit)
			if w := o.(*percentile).width(); math.Abs(r.Min-lo) > w || math.Abs(r.Max-hi) > w {
				t.Errorf("%s, %g %%: %v, expected from %g to %g within %g", s.name, p, r, lo, hi, w)
			}
		}
	}
}

func TestMovingAverage(t *testing.T) {
	o := observed(t, "minmax", Options{MovingAverage: 0.25}, []float32{0, 8}, []float32{-4, 4}, []float32{0, 7})
	if r := rangeOf(t, o, mappings[0]); r != (quant.Range{Min: -0.75, Max: 7}) {
		t.Errorf("%v", r)
	}
}

// The deviation of values becomes that of the type's numbers.
func TestDistribution(t *testing.T) {
	for ty, want := range map[dtype.Type]float64{dtype.Float8E4M3FN: 448, dtype.Float8E5M2: 57344} {
		o := observed(t, "distribution", Options{}, draw(0, 100000))
		r, err := o.Range(ty, false)
		if err != nil {
			t.Fatal(err)
		}
		scale, n, squares := r.Max/want, 0., 0.
		for code := range 256 {
			if v := float64(dtype.FromNarrow(ty, byte(code))) * scale; !math.IsNaN(v) && !math.IsInf(v, 0) {
				n, squares = n+1, squares+v*v
			}
		}
		if d := math.Sqrt(squares / n); math.Abs(d-1) > 0.02 || r.Min != -r.Max {
			t.Errorf("%s: range %v, the type's numbers deviate by %g, expected 1", ty, r, d)
		}
		if _, err := o.Range(dtype.Int8, false); err == nil {
			t.Error("no error for int8")
		}
	}
}

func TestErrors(t *testing.T) {
	for method, o := range map[string]Options{
		"kl": {}, "percentile": {Percentile: 101}, "minmax": {MovingAverage: -1}, "entropy": {Bins: 128}, "mse": {Bins: 1 << 30},
	} {
		if _, err := New(method, o); err == nil {
			t.Errorf("no error for %s with %v", method, o)
		}
	}
	for _, method := range Methods {
		o := observed(t, method, Options{}, nil)
		if _, err := o.Range(dtype.Int8, false); err == nil || !strings.Contains(err.Error(), "no value was seen") {
			t.Errorf("%s: %v", method, err)
		}
		if o.Histogram() != nil {
			t.Errorf("%s: a histogram of nothing", method)
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			err := o.Observe([]float32{0, float32(bad)})
			if err == nil || !strings.Contains(err.Error(), "value 1 is "+fmt.Sprint(bad)) {
				t.Errorf("%s: %v", method, err)
			}
		}
	}
	for _, method := range []string{"entropy", "mse"} {
		if _, err := observed(t, method, Options{}, []float32{1}).Range(dtype.Float32, false); err == nil {
			t.Errorf("%s: no error for float32", method)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	x := draw(4, 100000)
	for _, m := range Methods {
		b.Run(m, func(b *testing.B) {
			o := observed(b, m, Options{})
			for b.Loop() {
				if err := o.Observe(x); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/value")
		})
	}
}

func BenchmarkRange(b *testing.B) {
	for i, s := range shapes {
		x := draw(i, 1000000)
		for _, method := range Methods[2:4] {
			o := observed(b, method, Options{}, x)
			for _, m := range mappings[:2] {
				b.Run(fmt.Sprintf("%s/%s/%v", s.name, method, m), func(b *testing.B) {
					for b.Loop() {
						clear(o.(*cached).ranges)
						rangeOf(b, o, m)
					}
				})
			}
		}
	}
}
