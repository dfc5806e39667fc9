package weight

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/pool"
)

// randomMatrix has normal numbers, with heavier tails where wanted.
func randomMatrix(seed uint64, rows, cols int, heavy bool) Matrix {
	r := rand.New(rand.NewPCG(seed, 1))
	m := Matrix{rows, cols, make([]float32, rows*cols)}
	for i := range m.Data {
		x := r.NormFloat64() * .05
		if heavy && r.IntN(20) == 0 {
			x *= 6
		}
		m.Data[i] = float32(x)
	}
	return m
}

// correlated gives inputs that depend on each other, some of them much larger.
func correlated(seed uint64, n, cols int) []float32 {
	r := rand.New(rand.NewPCG(seed, 2))
	const hidden = 12
	mix := make([]float64, hidden*cols)
	for i := range mix {
		mix[i] = r.NormFloat64()
	}
	x := make([]float32, n*cols)
	for i := range n {
		var z [hidden]float64
		for j := range z {
			z[j] = r.NormFloat64()
		}
		for j := range cols {
			v := .3 * r.NormFloat64()
			for k := range z {
				v += z[k] * mix[k*cols+j]
			}
			if j%17 == 3 {
				v *= 12
			}
			x[i*cols+j] = float32(v)
		}
	}
	return x
}

func gathered(t testing.TB, x []float32, cols int, p *pool.Pool) *Activations {
	t.Helper()
	a := NewActivations(cols, WantHessian|WantRows)
	if err := a.Add(x, p); err != nil {
		t.Fatal(err)
	}
	return a
}

func (q *Quantized) matrix() Matrix {
	m := Matrix{q.Rows, q.Cols, make([]float32, q.Rows*q.Cols)}
	q.Dequantize(m.Data, nil)
	return m
}

// squared is the squared error of the weights, and outputs that of the products with x.
func squared(w, v Matrix) (sum float64) {
	for i := range w.Data {
		d := float64(w.Data[i]) - float64(v.Data[i])
		sum += d * d
	}
	return sum
}

func outputs(w, v Matrix, x []float32) (sum float64) {
	for i := 0; i < len(x); i += w.Cols {
		for row := range w.Rows {
			var d float64
			for j, a := range w.row(row) {
				d += (float64(a) - float64(v.row(row)[j])) * float64(x[i+j])
			}
			sum += d * d
		}
	}
	return sum / float64(len(x)/w.Cols)
}

var schemes = []Scheme{
	{Bits: 4, Group: 32, Symmetric: true, Scale: dtype.Float16},
	{Bits: 4, Group: 32, Scale: dtype.Float16},
	{Bits: 4, Group: 128, Symmetric: true, Scale: dtype.BFloat16},
	{Bits: 3, Group: 64},
	{Bits: 2, Group: 16, Scale: dtype.Float16},
	{Bits: 8, Symmetric: true},
	{Bits: 8, Group: 100, Scale: dtype.Float16},
	{Kind: NF4, Group: 64, Symmetric: true},
	{Kind: MXFP4, Group: 32, Symmetric: true},
	{Kind: E4M3, Symmetric: true},
	{Kind: E5M2, Symmetric: true, Scale: dtype.BFloat16},
}

// Every code and its parameters are within the scheme, errors within half the
// distance of levels unless clipped, and narrower ranges never increase the error.
func TestRTN(t *testing.T) {
	w := randomMatrix(1, 7, 172, true)
	for _, s := range schemes {
		t.Run(s.String(), func(t *testing.T) {
			q, err := RTN(w, s, RTNOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkCodes(t, q)
			plain := squared(w, q.matrix())
			q, err = RTN(w, s, RTNOptions{Clip: MSE}, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkCodes(t, q)
			clipped := squared(w, q.matrix())
			if clipped > plain {
				t.Errorf("the squared error is %g with the best ranges, %g with the widest", clipped, plain)
			}
			// numbers that are levels already stay as they are
			again, err := RTN(q.matrix(), s, RTNOptions{Clip: MSE}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if d := squared(q.matrix(), again.matrix()); d > 1e-3*clipped {
				t.Errorf("rounding again has an error of %g, the first time %g", d, clipped)
			}
		})
	}
}

func checkCodes(t *testing.T, q *Quantized) {
	t.Helper()
	for _, c := range q.Codes {
		if int(c) >= 1<<q.Scheme.Width() {
			t.Fatalf("code %d has more than %d bits", c, q.Scheme.Width())
		}
	}
	for i, s := range q.Scales {
		if q.Scheme.stored(s) != s && q.Scheme.Kind != MXFP4 {
			t.Fatalf("scale %g is none of %v", s, q.Scheme.Scale)
		}
		if q.Zeros != nil && (q.Zeros[i] != float32(math.Trunc(float64(q.Zeros[i]))) || q.Zeros[i] < 0 || q.Zeros[i] > q.Scheme.largest()) {
			t.Fatalf("zero point %g", q.Zeros[i])
		}
	}
	for _, x := range q.matrix().Data {
		if _, ok := finite([]float32{x}); !ok {
			t.Fatalf("a weight became %v", x)
		}
	}
}

// What comes out is what the formats say, number by number.
func TestSchemes(t *testing.T) {
	for _, c := range []struct {
		s    Scheme
		in   []float32
		want []float32
	}{
		{Scheme{Bits: 4, Symmetric: true}, []float32{-8, 7, 3.4, -2.6}, []float32{-8, 7, 3, -3}},
		{Scheme{Bits: 4, Symmetric: true}, []float32{8, -7, 3.4, -2.6}, []float32{8, -7, 3, -3}},
		{Scheme{Bits: 4}, []float32{0, 15, 3.4, 2.6}, []float32{0, 15, 3, 3}},
		{Scheme{Bits: 4}, []float32{-5, 10, 3.4, -2.6}, []float32{-5, 10, 3, -3}},
		{Scheme{Bits: 8, Symmetric: true}, []float32{-127, 100.2, 0, 1}, []float32{-127, 100, 0, 1}},
		{Scheme{Bits: 2, Group: 2, Symmetric: true}, []float32{-2, 1, 4, -2}, []float32{-2, 1, 4, -2}},
		{Scheme{Kind: NF4, Symmetric: true}, []float32{-2, 2, .16, 0}, []float32{-2, 2, 2 * nf4Levels[8], 0}},
		{Scheme{Kind: MXFP4, Symmetric: true}, []float32{-6, 4.9, .3, 1}, []float32{-6, 4, .5, 1}},
		{Scheme{Kind: MXFP4, Symmetric: true}, []float32{-12, 8.1, .3, 1}, []float32{-12, 8, 0, 1}},
		{Scheme{Kind: E4M3, Symmetric: true}, []float32{448, 17, -1.0625, 0}, []float32{448, 16, -1, 0}},
		{Scheme{Bits: 4, Symmetric: true}, []float32{0, 0, 0, 0}, []float32{0, 0, 0, 0}},
		{Scheme{Kind: NF4, Symmetric: true}, []float32{0, 0, 0, 0}, []float32{0, 0, 0, 0}},
		{Scheme{Kind: MXFP4, Symmetric: true}, []float32{0, 0, 0, 0}, []float32{0, 0, 0, 0}},
		{Scheme{Bits: 4, Scale: dtype.Float16}, []float32{1e-12, 0, -1e-12, 0}, []float32{0, 0, 0, 0}},
	} {
		q, err := RTN(Matrix{1, 4, c.in}, c.s, RTNOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := q.matrix().Data; !slices.Equal(got, c.want) {
			t.Errorf("%v: %v became %v, expected %v", c.s, c.in, got, c.want)
		}
	}
}

// The weighted error is smaller where weights are given than where they are not.
func TestImportance(t *testing.T) {
	w := randomMatrix(3, 5, 96, true)
	importance := make([]float32, w.Cols)
	r := rand.New(rand.NewPCG(4, 4))
	for i := range importance {
		importance[i] = float32(math.Exp(2 * r.NormFloat64()))
	}
	weighted := func(v Matrix) (sum float64) {
		for i := range w.Data {
			d := float64(w.Data[i]) - float64(v.Data[i])
			sum += d * d * float64(importance[i%w.Cols])
		}
		return sum
	}
	for _, s := range schemes[:6] {
		plain, err := RTN(w, s, RTNOptions{Clip: MSE}, nil)
		if err != nil {
			t.Fatal(err)
		}
		with, err := RTN(w, s, RTNOptions{Clip: MSE, Importance: importance}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := weighted(with.matrix()), weighted(plain.matrix()); a > b {
			t.Errorf("%v: the weighted error is %g with importances, %g without", s, a, b)
		}
	}
}

// HQQ leaves less of its norm than the ranges it begins with.
func TestHQQ(t *testing.T) {
	w := randomMatrix(5, 6, 160, true)
	norm := func(v Matrix) (sum float64) {
		for i := range w.Data {
			sum += math.Pow(math.Abs(float64(w.Data[i])-float64(v.Data[i])), hqqNorm)
		}
		return sum
	}
	for _, s := range []Scheme{{Bits: 4, Group: 64, FloatZero: true}, {Bits: 2, Group: 32, FloatZero: true, Scale: dtype.Float16}, {Bits: 3, Group: 64}, {Bits: 4}} {
		plain, err := RTN(w, Scheme{Bits: s.Bits, Group: s.Group, Scale: s.Scale}, RTNOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		q, err := HQQ(context.Background(), w, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, b := norm(q.matrix()), norm(plain.matrix())
		if a > b || s.FloatZero && a > .999*b {
			t.Errorf("%v: %g is left, %g by rounding alone", s, a, b)
		}
		if math.Abs(a-q.Loss) > 1e-6*a {
			t.Errorf("%v: the loss is %g, it says %g", s, a, q.Loss)
		}
	}
	if _, err := HQQ(context.Background(), w, Scheme{Bits: 4, Symmetric: true}, nil); err == nil {
		t.Error("no error for a scheme without zero points")
	}
}

// Scales help where some inputs are much larger, and never harm by their own measure.
func TestAWQ(t *testing.T) {
	const cols = 96
	x := correlated(6, 200, cols)
	a := gathered(t, x, cols, nil)
	ws := []Matrix{randomMatrix(7, 40, cols, false), randomMatrix(8, 24, cols, true)}
	s := Scheme{Bits: 3, Group: 32, Scale: dtype.Float16}
	found, err := AWQ(context.Background(), ws, a, s, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !(found.Best < .8*found.RTN) {
		t.Errorf("the error is %g with scales, %g without", found.Best, found.RTN)
	}
	var plain, scaled, clipped float64
	for _, w := range ws {
		undo := func(q *Quantized) Matrix {
			m := q.matrix()
			for i := range m.Data {
				m.Data[i] /= found.Scales[i%cols]
			}
			return m
		}
		v := w.ScaleColumns(found.Scales)
		q0, err0 := RTN(w, s, RTNOptions{}, nil)
		q1, err1 := RTN(v, s, RTNOptions{}, nil)
		q2, err2 := AWQClip(context.Background(), v, a, found.Scales, s, nil)
		if err0 != nil || err1 != nil || err2 != nil {
			t.Fatal(err0, err1, err2)
		}
		plain, scaled, clipped = plain+outputs(w, q0.matrix(), x), scaled+outputs(w, undo(q1), x), clipped+outputs(w, undo(q2), x)
	}
	if math.Abs(plain-found.RTN) > 1e-3*plain || math.Abs(scaled-found.Best) > 1e-3*scaled {
		t.Errorf("it says %g and %g, the errors of the outputs are %g and %g", found.RTN, found.Best, plain, scaled)
	}
	if clipped > 1.02*scaled {
		t.Errorf("clipping raises the error from %g to %g", scaled, clipped)
	}
	// a measure for which scales are of no use
	found, err = AWQ(context.Background(), ws, a, s, func(context.Context, []Matrix) (float64, error) { return 1, nil }, nil)
	if err != nil || found.Ratio != -1 || found.Scales[3] != 1 {
		t.Errorf("ratio %g, scale %g, error %v; expected no scales", found.Ratio, found.Scales[3], err)
	}
}

// Kept rows are spread over all that were seen; means are those of all.
func TestActivations(t *testing.T) {
	const cols, n = 3, 5000
	a := NewActivations(cols, WantRows)
	for i := range n {
		if err := a.Add([]float32{float32(i), -1, 2}, nil); err != nil {
			t.Fatal(err)
		}
	}
	rows := a.Rows()
	if len(rows) != keptRows*cols || rows[0] != 0 || rows[len(rows)-cols] < .9*n {
		t.Errorf("%d numbers are kept, from row %g to row %g", len(rows), rows[0], rows[len(rows)-cols])
	}
	if m := a.MeanAbs(); m[0] != (n-1)/2. || m[1] != 1 {
		t.Errorf("means of magnitudes are %v", m)
	}
	if m := a.MeanSquare(); m[2] != 4 {
		t.Errorf("mean squares are %v", m)
	}
	for _, bad := range [][]float32{{1, 2}, {1, float32(math.NaN()), 2}, {1, 2, float32(math.Inf(1))}} {
		if err := a.Add(bad, nil); err == nil || a.Count != n {
			t.Errorf("no error for %v", bad)
		}
	}
}

// The Hessian does not depend on the threads, and is the sum that it should be.
func TestHessian(t *testing.T) {
	const cols, n = 300, 70
	x := correlated(9, n, cols)
	p := pool.New(3)
	defer p.Close()
	for _, want := range []Want{WantHessian, WantHessian | WantBF16} {
		a, b := NewActivations(cols, want), NewActivations(cols, want)
		if err := errors.Join(a.Add(x, nil), b.Add(x, p)); err != nil {
			t.Fatal(err)
		}
		seen := slices.Clone(x)
		if want&WantBF16 != 0 {
			for i, v := range x {
				seen[i] = dtype.BF16ToF32(dtype.F32ToBF16(v))
			}
		}
		for i := range cols {
			for j := i; j < cols; j++ {
				var want, size float64
				for k := 0; k < len(x); k += cols {
					d := float64(seen[k+i]) * float64(seen[k+j])
					want, size = want+d, size+math.Abs(d)
				}
				if got := a.Hessian[i*cols+j]; math.Abs(float64(got)-want) > 1e-5*size || got != b.Hessian[i*cols+j] {
					t.Fatalf("[%d,%d] is %g and %g with threads, expected %g", i, j, got, b.Hessian[i*cols+j], want)
				}
			}
		}
	}
}

func TestBadInput(t *testing.T) {
	ctx, s := context.Background(), Scheme{Bits: 4, Group: 32}
	w := randomMatrix(1, 2, 4, false)
	bad := w.clone()
	bad.Data[5] = float32(math.NaN())
	a := gathered(t, []float32{1, 2, 3, 4}, 4, nil)
	for name, run := range map[string]func() error{
		"NaN":          func() error { _, err := RTN(bad, s, RTNOptions{}, nil); return err },
		"no rows":      func() error { _, err := RTN(Matrix{0, 4, nil}, s, RTNOptions{}, nil); return err },
		"short":        func() error { _, err := RTN(Matrix{2, 4, w.Data[:7]}, s, RTNOptions{}, nil); return err },
		"9 bits":       func() error { _, err := RTN(w, Scheme{Bits: 9}, RTNOptions{}, nil); return err },
		"zeros of NF4": func() error { _, err := RTN(w, Scheme{Kind: NF4}, RTNOptions{}, nil); return err },
		"int8 scales":  func() error { _, err := RTN(w, Scheme{Bits: 4, Scale: dtype.Int8}, RTNOptions{}, nil); return err },
		"importances":  func() error { _, err := RTN(w, s, RTNOptions{Importance: []float32{1}}, nil); return err },
		"negative":     func() error { _, err := RTN(w, s, RTNOptions{Importance: []float32{1, -1, 1, 1}}, nil); return err },
		"no Hessian":   func() error { _, err := GPTQ(ctx, w, NewActivations(4, 0), s, GPTQOptions{}, nil); return err },
		"nothing seen": func() error {
			_, err := GPTQ(ctx, w, NewActivations(4, WantHessian), s, GPTQOptions{}, nil)
			return err
		},
		"other width": func() error {
			_, err := GPTQ(ctx, randomMatrix(1, 2, 5, false), a, s, GPTQOptions{}, nil)
			return err
		},
		"damping":    func() error { _, err := GPTQ(ctx, w, a, s, GPTQOptions{Damp: -1}, nil); return err },
		"AWQ alone":  func() error { _, err := AWQ(ctx, nil, a, s, nil, nil); return err },
		"AWQ unfed":  func() error { _, err := AWQ(ctx, []Matrix{w}, NewActivations(4, WantRows), s, nil, nil); return err },
		"HQQ of NaN": func() error { _, err := HQQ(ctx, bad, s, nil); return err },
	} {
		if err := run(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, run := range map[string]func() error{
		"GPTQ": func() error { _, err := GPTQ(cancelled, w, a, s, GPTQOptions{}, nil); return err },
		"AWQ":  func() error { _, err := AWQ(cancelled, []Matrix{w}, a, s, nil, nil); return err },
		"HQQ":  func() error { _, err := HQQ(cancelled, w, s, nil); return err },
	} {
		if err := run(); err == nil {
			t.Errorf("%s goes on when it is cancelled", name)
		}
	}
}

// A packed matrix has the same weights.
func TestPacked(t *testing.T) {
	w := randomMatrix(20, 8, 64, true)
	for _, s := range schemes {
		q, err := RTN(w, s, RTNOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := q.Packed()
		if (err != nil) != (s.Kind == NF4 || s.Kind == MXFP4) {
			t.Errorf("%v: error %v", s, err)
		}
		if err != nil {
			continue
		}
		got := make([]float32, len(w.Data))
		if m.Values(got); !slices.Equal(got, q.matrix().Data) {
			t.Errorf("%v: the packed matrix has other weights", s)
		}
	}
}
