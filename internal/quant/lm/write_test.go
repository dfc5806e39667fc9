package lm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/guard"
	"github.com/salver-ml/salver/internal/quant/report"
)

// a tensor of a test's model.
type random struct {
	name  string
	shape []int
}

// model writes a GGUF file of random float32 tensors with the dimensions of a
// model: that is all that choosing formats looks at.
func model(t *testing.T, layers int, tensors ...random) *Model {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	var sources []gguf.Source
	for _, x := range tensors {
		v := make([]float32, 1)
		for _, d := range x.shape {
			v = append(v[:0], make([]float32, len(v)*d)...)
		}
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		sources = append(sources, floats(x.name, v, x.shape...))
	}
	path := filepath.Join(t.TempDir(), "in.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := gguf.Write(f, []gguf.Pair{{Key: "general.architecture", Value: "llama"}, {Key: "llama.block_count", Value: uint32(layers)},
		{Key: "llama.attention.head_count", Value: uint32(8)}, {Key: "llama.attention.head_count_kv", Value: uint32(2)}}, sources); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

// The formats of llama-quantize, as it chooses them for a model of 16 layers
// whose heads share values by four.
func TestMixes(t *testing.T) {
	m := model(t, 16, random{"output.weight", []int{4, 256}}, random{"token_embd.weight", []int{4, 256}}, random{"blk.0.attn_norm.weight", []int{256}},
		random{"blk.0.attn_v.weight", []int{4, 256}}, random{"blk.5.attn_v.weight", []int{4, 256}}, random{"blk.0.ffn_down.weight", []int{4, 256}},
		random{"blk.5.ffn_down.weight", []int{4, 256}}, random{"blk.5.attn_output.weight", []int{4, 256}}, random{"blk.5.attn_qkv.weight", []int{4, 256}},
		random{"blk.5.ffn_up.weight", []int{4, 256}}, random{"blk.5.ffn_gate_inp.weight", []int{4, 256}}, random{"blk.5.ffn_up_odd.weight", []int{4, 96}}, random{"blk.5.ffn_down_odd.weight", []int{4, 90}})
	for _, c := range []struct{ mix, want string }{
		// output, embedding, norm, v of layers 0 and 5, down likewise, attention's output, qkv, up, router, rows of 96 and of 90
		{"Q4_K_M", "q6_k q4_k f32 q6_k q4_k q6_k q4_k q4_k q5_k q4_k f32 q5_0 f16"},
		{"Q4_K_S", "q6_k q4_k f32 q5_k q4_k q5_k q4_k q4_k q4_k q4_k f32 q5_0 f16"},
		{"Q5_K_M", "q6_k q5_k f32 q6_k q5_k q6_k q5_k q5_k q6_k q5_k f32 q5_1 f16"},
		{"Q6_K", "q6_k q6_k f32 q6_k q6_k q6_k q6_k q6_k q6_k q6_k f32 q8_0 f16"},
		{"Q3_K_M", "q6_k q3_k f32 q5_k q4_k q5_k q4_k q4_k q4_k q3_k f32 q4_0 f16"},
		{"Q3_K_L", "q6_k q3_k f32 q5_k q5_k q5_k q5_k q5_k q4_k q3_k f32 q4_0 f16"},
		{"Q2_K", "q6_k q2_k f32 q4_k q4_k q3_k q3_k q3_k q2_k q2_k f32 q4_0 f16"},
		{"Q4_0", "q6_k q4_0 f32 q4_0 q4_0 q4_0 q4_0 q4_0 q4_0 q4_0 f32 q4_0 f16"},
		{"Q8_0", "q8_0 q8_0 f32 q8_0 q8_0 q8_0 q8_0 q8_0 q8_0 q8_0 f32 q8_0 f16"},
		{"IQ4_XS", "q6_k iq4_xs f32 q5_k q5_k q5_k iq4_xs iq4_xs iq4_xs iq4_xs f32 iq4_nl f16"},
		{"F16", "f16 f16 f32 f16 f16 f16 f16 f16 f16 f16 f32 f16 f16"},
	} {
		ch := newChooser(m, mix(t, c.mix), &Options{})
		var got []string
		for i := range m.Tensors {
			f, _ := ch.format(&m.Tensors[i])
			got = append(got, f.String())
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s\nexpected %s", c.mix, s, c.want)
		}
	}
}

// The file has the formats that were asked for, its numbers are near the
// original's, and bytes do not depend on threads.
func TestWrite(t *testing.T) {
	m := model(t, 1, random{"output.weight", []int{70, 256}}, random{"token_embd.weight", []int{70, 256}}, random{"blk.0.ffn_up.weight", []int{300, 256}}, random{"blk.0.attn_norm.weight", []int{256}})
	q8 := block.Q8_0
	o := Options{Mix: mix(t, "Q4_K_M"), Overrides: []Override{{"*.ffn_up.weight", block.Q5_K}}, Embedding: &q8}
	one := quantize(t, m, o)
	p := pool.New(3)
	defer p.Close()
	o.Pool = p
	a, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(quantize(t, m, o))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("other bytes with three threads than with one")
	}
	got := open(t, one)
	if v := got.value("general.file_type"); v != uint32(15) {
		t.Errorf("general.file_type is %v", v)
	}
	for i, want := range []block.Format{block.Q6_K, block.Q8_0, block.Q5_K, block.F32} {
		x, y := &m.Tensors[i], &got.Tensors[i]
		if y.Format != want {
			t.Errorf("%s is %v, expected %v", y.Name, y.Format, want)
		}
		signal, noise := 0.0, 0.0
		row, back := make([]float32, 256), make([]float32, 256)
		for r := range x.Rows() {
			x.Decode(row, r)
			y.Decode(back, r)
			s, n := squares(row, back)
			signal, noise = signal+s, noise+n
		}
		if db := report.Decibels(signal, noise); db < 25 {
			t.Errorf("%s: %.1f dB", x.Name, db)
		}
	}
}

// What would make a bad file is an error before there is one.
func TestWriteRefuses(t *testing.T) {
	small := []random{{"token_embd.weight", []int{8, 256}}, {"blk.0.ffn_up.weight", []int{8, 256}}}
	m := model(t, 1, small...)
	again := open(t, quantize(t, m, Options{Mix: mix(t, "Q8_0")}))
	if _, err := Write(t.Context(), again, io.Discard, Options{Mix: mix(t, "Q4_0")}); err == nil || !strings.Contains(err.Error(), "--allow-requantize") {
		t.Errorf("rounded twice: %v", err)
	}
	if _, err := Write(t.Context(), again, io.Discard, Options{Mix: mix(t, "Q4_0"), Requantize: true}); err != nil {
		t.Errorf("rounded twice, and allowed: %v", err)
	}
	im := &Importance{byTensor: map[string][]float32{"blk.0.ffn_up.weight": make([]float32, 128)}}
	if _, err := Write(t.Context(), m, io.Discard, Options{Mix: mix(t, "Q4_0"), Importance: im}); err == nil || !strings.Contains(err.Error(), "another model") {
		t.Errorf("importance of another model: %v", err)
	}
	bad := vectorTensor("blk.0.ffn_up.weight", []float32{1, float32(math.NaN())})
	bad.Shape = []int{1, 2}
	m.Tensors[1] = bad
	if _, err := Write(t.Context(), m, io.Discard, Options{Mix: mix(t, "F16")}); err == nil || !strings.Contains(err.Error(), "not finite") {
		t.Errorf("NaN: %v", err)
	}
	full := errors.New("disk full")
	if _, err := Write(t.Context(), again, failing{full}, Options{Mix: mix(t, "Q8_0")}); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, again, io.Discard, Options{Mix: mix(t, "F32"), Requantize: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("an interruption: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestParse(t *testing.T) {
	if m, err := ParseMix("q4_k"); err != nil || m.Name != "Q4_K_M" {
		t.Errorf("q4_k: %v, %v", m, err)
	}
	if _, err := ParseMix("Q9"); err == nil || !strings.Contains(err.Error(), "Q4_K_M") {
		t.Errorf("Q9: %v", err)
	}
	for _, s := range []string{"", "=q4_0", "a", "a=q9", "[=q4_0", "a=iq1_s"} {
		if _, err := ParseOverride(s); err == nil {
			t.Errorf("%q is no override", s)
		}
	}
	o, err := ParseOverride("*.ffn_down.weight=Q6_K")
	if err != nil || !o.matches("blk.1.ffn_down.weight") || o.matches("blk.1.ffn_up.weight") {
		t.Errorf("%v, %v", o, err)
	}
}

// A budget is kept, and better formats go where they matter.
func TestSpread(t *testing.T) {
	m := model(t, 1, random{"blk.0.ffn_up.weight", []int{64, 256}}, random{"blk.0.ffn_gate.weight", []int{64, 256}}, random{"blk.0.ffn_down.weight", []int{64, 512}})
	for _, bits := range []float64{2.7, 4.5, 6.6} {
		o := Options{Mix: mix(t, "Q4_K_M")}
		if err := Spread(t.Context(), m, &o, guard.Budget{Bits: bits}); err != nil {
			t.Fatal(err)
		}
		size, elems := int64(0), 0
		c := newChooser(m, o.Mix, &o)
		for i := range m.Tensors {
			f, _ := c.format(&m.Tensors[i])
			size += bytesAs(&m.Tensors[i], f)
			elems += m.Tensors[i].Elems()
		}
		if got := 8 * float64(size) / float64(elems); got > bits || got < bits-1 {
			t.Errorf("%.3g bits a weight, expected at most %.3g", got, bits)
		}
	}
	if err := Spread(t.Context(), m, &Options{Mix: mix(t, "Q4_K_M")}, guard.Budget{Bits: 1}); err == nil {
		t.Error("no error for one bit a weight")
	}
}
