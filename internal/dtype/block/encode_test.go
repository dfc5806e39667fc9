package block

import (
	"bytes"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/salver-ml/salver/internal/testkit"
)

func source(t *testing.T) []float32 {
	return floats(readFile(t, filepath.Join(testkit.Assets(t, "gguf-quants"), "source.f32")))
}

func encode(t *testing.T, f Format, x []float32) []byte {
	t.Helper()
	n, err := f.RowBytes(len(x))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	Encode(f, b, x)
	return b
}

func decode(f Format, b []byte) []float32 {
	x := make([]float32, len(b)/f.Bytes()*f.Elems())
	Decode(f, x, b)
	return x
}

// The formats with one choice of scales: the very bytes of the gguf package.
func TestEncodeEqualsReference(t *testing.T) {
	x := source(t)
	for _, s := range samples(t) {
		f, err := Parse(s.Type)
		if err != nil {
			t.Fatal(err)
		}
		if s.How != "quantize" || !f.Encodes() {
			continue
		}
		t.Run(s.Type, func(t *testing.T) {
			if got := encode(t, f, x); !bytes.Equal(got, s.blocks) {
				t.Errorf("other bytes than the reference's; RMSE %g, expected %g", rmse(x, decode(f, got), nil), s.RMSE)
			}
		})
	}
}

func rmse(x, y, w []float32) float64 {
	sum, weights := 0.0, 0.0
	for i := range x {
		weight := 1.0
		if w != nil {
			weight = float64(w[i]) * float64(w[i])
		}
		d := float64(x[i]) - float64(y[i])
		sum += weight * d * d
		weights += weight
	}
	return math.Sqrt(sum / weights)
}

// The formats with a search: no worse than GGML's reference quantizer by more than 2 %.
func TestEncodeErrors(t *testing.T) {
	x := source(t)
	for _, c := range []struct {
		f               Format
		plain, weighted float64 // GGML's root mean square error of x, and with weights x²
	}{
		{Q2_K, 0.0159812, 0.0141747},
		{Q3_K, 0.00815266, 0.0079186},
		{Q4_K, 0.00383626, 0.00370601},
		{Q5_K, 0.00194941, 0.00196188},
		{Q6_K, 0.000961019, 0.000852086},
		{IQ4_NL, 0.00411395, 0.00485192},
		{IQ4_XS, 0.00414327, 0.00494919},
	} {
		y := decode(c.f, encode(t, c.f, x))
		plain, weighted := rmse(x, y, nil), rmse(x, y, x)
		t.Logf("%v: %.6f (%+.2f %%), weighted %.6f (%+.2f %%)", c.f, plain, 100*(plain/c.plain-1), weighted, 100*(weighted/c.weighted-1))
		if plain > 1.02*c.plain || weighted > 1.02*c.weighted {
			t.Errorf("%v: errors %g and %g, expected about %g and %g", c.f, plain, weighted, c.plain, c.weighted)
		}
	}
}

// The bytes are the same on every architecture: nothing is left for a compiler to fuse.
func TestEncodeGolden(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	x := make([]float32, 64*256)
	for i := range x {
		v := float32(r.IntN(2001)-1000) / 997
		x[i] = float32(v*v) * v
	}
	for f, want := range map[Format]uint32{
		Q4_0: 0x199ffbfb, Q4_1: 0xf703d273, Q5_0: 0xbaff5b34, Q5_1: 0x60f90faa, Q8_0: 0x8a0e8cbf, Q2_K: 0x1ebb2706, Q3_K: 0xa002a907, Q4_K: 0xb976c66d, Q5_K: 0xbe960854, Q6_K: 0xc774e429, IQ4_NL: 0xff374814, IQ4_XS: 0x6979e343, MXFP4: 0xd5cda1d1,
	} {
		if got := crc32.ChecksumIEEE(encode(t, f, x)); got != want {
			t.Errorf("%v: checksum %#08x, expected %#08x", f, got, want)
		}
	}
}
