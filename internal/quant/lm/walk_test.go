package lm

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/packed"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/quant/weight"
	"github.com/salver-ml/salver/internal/tensor"
)

// text is chunks of a model's tokens.
func text(chunks int) *Text {
	t := &Text{Name: "test"}
	for c := range chunks {
		ids := []int32{0}
		for i := range 31 {
			ids = append(ids, int32(2+(7*i+5*c+i*i)%28))
		}
		t.Chunks = append(t.Chunks, ids)
	}
	return t
}

// Stage by stage, the model computes what it computes as a whole: the input of the
// last product gives the logits.
func TestWalkComputesTheModel(t *testing.T) {
	for _, name := range []string{"gemma2", "qwen2_moe", "phi3", "gpt2"} {
		t.Run(name, func(t *testing.T) {
			path := quantize(t, open(t, folder(t, name)), Options{Mix: mix(t, "F32")})
			m, tx := open(t, path), text(2)
			w, err := newWalk(m, tx, &Recipe{Work: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			final := len(w.stages) - 1
			head := w.products[final][0]
			var got [][]float32
			nothing := func(context.Context, int, []*product) (map[string]*Tensor, error) { return nil, nil }
			if err := w.run(t.Context(), 0, nothing, func(next int) error {
				if next != final {
					return nil
				}
				return w.each(head.input, func(x []float32) error {
					got = append(got, slices.Clone(x))
					return nil
				})
			}); err != nil {
				t.Fatal(err)
			}
			out := &m.Tensors[w.index[head.matrices[0].name]]
			row := make([]float32, out.Cols())
			for c, ids := range tx.Chunks {
				want := logits(t, path, ids)
				vocab := len(want) / (len(ids) - 1)
				for id := range vocab {
					out.Decode(row, id)
					for p := range len(ids) - 1 {
						y := 0.0
						for i, v := range row {
							y += float64(v) * float64(got[c][p*len(row)+i])
						}
						if w.config.LogitSoftcap > 0 {
							s := float64(w.config.LogitSoftcap)
							y = s * math.Tanh(y/s)
						}
						if d := math.Abs(y - float64(want[p*vocab+id])); d > 2e-4 {
							t.Fatalf("chunk %d, position %d, token %d: %g apart", c, p, id, d)
						}
					}
				}
			}
		})
	}
}

// calibrated makes a GGUF file of what a method chooses.
func calibrated(t *testing.T, dir, mixName string, r Recipe) string {
	t.Helper()
	m := open(t, dir)
	o := Options{Mix: mix(t, mixName)}
	c, err := Calibrate(t.Context(), m, text(6), Blocks(m, &o), r)
	if err != nil {
		t.Fatal(err)
	}
	if o.Rounded, err = c.Rounded(); err != nil {
		t.Fatal(err)
	}
	o.Importance = c.Importance
	path := quantize(t, m, o)
	if err := c.Close(true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.Work); !os.IsNotExist(err) {
		t.Errorf("the work folder is left: %v", err)
	}
	return path
}

// A run that is interrupted at any stage and continued gives the same file.
func TestCalibrateContinues(t *testing.T) {
	dir := folder(t, "llama")
	for _, method := range []Method{GPTQ, AWQ} {
		want, err := os.ReadFile(calibrated(t, dir, "Q4_0", Recipe{Method: method, Work: filepath.Join(t.TempDir(), "work")}))
		if err != nil {
			t.Fatal(err)
		}
		work := filepath.Join(t.TempDir(), "work")
		for stop := range 2 {
			m := open(t, dir)
			o := Options{Mix: mix(t, "Q4_0")}
			ctx, cancel := context.WithCancel(t.Context())
			r := Recipe{Method: method, Work: work, Progress: func(done, _ int) {
				if done > 6*(2*stop+1)+2 { // in the middle of a stage
					cancel()
				}
			}}
			if _, err := Calibrate(ctx, m, text(6), Blocks(m, &o), r); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v, expected an interruption", err)
			}
		}
		m := open(t, dir)
		o := Options{Mix: mix(t, "Q4_1")}
		if _, err := Calibrate(t.Context(), m, text(6), Blocks(m, &o), Recipe{Method: method, Work: work}); err == nil || !strings.Contains(err.Error(), "interrupted run") {
			t.Errorf("another recipe in the same folder: %v", err)
		}
		got, err := os.ReadFile(calibrated(t, dir, "Q4_0", Recipe{Method: method, Work: work}))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%v: a continued run gave another file", method)
		}
	}
}

// A text of fewer tokens than columns is told to be too little.
func TestCalibrateTellsOfShortTexts(t *testing.T) {
	var notes []string
	r := Recipe{Method: GPTQ, Work: filepath.Join(t.TempDir(), "work"), Note: func(s string) { notes = append(notes, s) }}
	m := open(t, folder(t, "llama"))
	o := Options{Mix: mix(t, "Q4_0")}
	for chunks := range 2 {
		notes = nil
		c, err := Calibrate(t.Context(), m, text(1+5*chunks), Blocks(m, &o), r)
		if err == nil {
			err = c.Close(true)
		}
		if err != nil {
			t.Fatal(err)
		}
		told := slices.ContainsFunc(notes, func(s string) bool { return strings.Contains(s, "give a longer text") })
		if told != (chunks == 0) {
			t.Errorf("of %d chunks is said: %q", 1+5*chunks, notes)
		}
	}
}

// In bfloat16 nearly all codes are those of float32, and the same on all threads.
func TestCalibrateBF16(t *testing.T) {
	if err := op.BF16.Available(); err != nil {
		t.Skip(err)
	}
	dir := folder(t, "llama")
	run := func(precision op.Precision, p *pool.Pool) []byte {
		b, err := os.ReadFile(calibrated(t, dir, "Q4_0", Recipe{Method: GPTQ, Precision: precision, Pool: p, Work: filepath.Join(t.TempDir(), "work")}))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	threads := pool.New(3)
	defer threads.Close()
	full, half := run(op.FP32, nil), run(op.BF16, nil)
	if !bytes.Equal(half, run(op.BF16, threads)) {
		t.Error("threads change bits")
	}
	other := 0
	for i := range full {
		if full[i] != half[i] {
			other++
		}
	}
	if other == 0 || other > len(full)/10 {
		t.Errorf("%d of %d bytes differ from those of float32", other, len(full))
	}
}

// The factors of AWQ cancel: before anything is rounded, the model is the same.
func TestScalesCancel(t *testing.T) {
	for _, name := range []string{"gemma2", "qwen3_moe", "gpt2"} {
		dir := folder(t, name)
		m := open(t, dir)
		g, _, err := m.graph(16)
		if err != nil {
			t.Fatal(err)
		}
		_, products := m.stagesOf(g)
		applied := 0
		for _, list := range products {
			for _, grp := range groups(list) {
				s, ok := m.scalingOf(grp)
				if !ok {
					continue
				}
				cols, _ := grp.input.Type.Shape[len(grp.input.Type.Shape)-1].Int()
				for i := range cols {
					s.scales = append(s.scales, 1+float32(i%5)/2)
				}
				if err := m.apply(&s); err != nil {
					t.Fatal(err)
				}
				applied++
			}
		}
		if applied < 2 {
			t.Errorf("%s: factors found %d places", name, applied)
		}
		path := quantize(t, m, Options{Mix: mix(t, "F32")})
		if d := far(logits(t, dir, prompt), logits(t, path, prompt)); d > 1e-3 {
			t.Errorf("%s: logits are up to %g apart", name, d)
		}
	}
}

// Importance is the mean square of what matrices are multiplied with, and comes
// back from a file as it was.
func TestMeasure(t *testing.T) {
	m := open(t, folder(t, "qwen3_moe"))
	p := pool.New(2)
	defer p.Close()
	im, err := Measure(t.Context(), m, text(3), Recipe{Pool: p, Work: filepath.Join(t.TempDir(), "work")})
	if err != nil {
		t.Fatal(err)
	}
	if im.byTensor["blk.0.ffn_down_exps.weight"] != nil || im.byTensor["blk.0.ffn_up_exps.weight"] == nil || len(im.byTensor["blk.1.attn_output.weight"]) == 0 {
		t.Errorf("importance of %d tensors", len(im.byTensor))
	}
	path := filepath.Join(t.TempDir(), "imatrix.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Write(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	back, err := ReadImportance(path)
	if err != nil {
		t.Fatal(err)
	}
	if back.Chunks != 3 || back.Size != 32 || back.Dataset != "test" || len(back.byTensor) != len(im.byTensor) {
		t.Errorf("%d chunks of %d, %d tensors", back.Chunks, back.Size, len(back.byTensor))
	}
	for name, v := range im.byTensor {
		if d := far(v, back.byTensor[name]); d > 1e-5 {
			t.Errorf("%s: %g apart", name, d)
		}
	}
}

// Folders of few bits are read back as what was written.
func TestFolders(t *testing.T) {
	s := weight.Scheme{Kind: weight.Int, Bits: 4, Group: 16, Symmetric: true}
	for _, c := range []packed.Config{{Method: packed.GPTQ, Bits: 4, Group: 16, Symmetric: true}, {Method: packed.AWQ, Bits: 4, Group: 16},
		{Method: packed.Compressed, Format: "pack-quantized", Bits: 4, Group: 16, Symmetric: true}} {
		s.Symmetric = c.Symmetric
		dir := folder(t, "llama")
		m := open(t, dir)
		target, err := Layers(m, &c, s)
		if err != nil {
			t.Fatal(err)
		}
		method := map[bool]Method{true: AWQ, false: GPTQ}[c.Method == packed.AWQ]
		work, out := filepath.Join(t.TempDir(), "work"), filepath.Join(t.TempDir(), "out")
		cal, err := Calibrate(t.Context(), m, text(6), target, Recipe{Method: method, Work: work})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := WriteFolder(t.Context(), target, cal, out); err != nil {
			t.Fatal(err)
		}
		if _, err := WriteFolder(t.Context(), target, cal, out); err == nil {
			t.Error("a folder that is there is written over")
		}
		if err := cal.Close(true); err != nil {
			t.Fatal(err)
		}
		f, err := llm.OpenFiles(out)
		if err != nil {
			t.Fatal(err)
		}
		w, ok := f.Weights().Weight("blk.0.attn_q.weight")
		o, _ := m.own["blk.0.attn_q.weight"]
		if !ok || tensor.Count(w.Shape) == 0 || o == "" {
			t.Errorf("%v: the layer is not there", c.Method)
		}
		f.Close()
		a, b := logits(t, dir, prompt), logits(t, out, prompt)
		signal, noise := squares(a, b)
		if db := report.Decibels(signal, noise); db < 5 {
			t.Errorf("%v: the logits have %.1f dB", c.Method, db)
		}
	}
	if _, err := Layers(open(t, quantize(t, open(t, folder(t, "llama")), Options{Mix: mix(t, "F32")})), &packed.Config{}, s); err == nil {
		t.Error("no error for a GGUF file as the source of a folder")
	}
}

// Files of other programs, and damaged ones.
func FuzzImportance(f *testing.F) {
	old := []byte{1, 0, 0, 0, 1, 0, 0, 0, 'a', 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 64, 0, 0, 128, 64, 9, 0, 0, 0, 1, 0, 0, 0, 'd'}
	im, err := parseOldImportance(old)
	if err != nil || im.Chunks != 9 || im.Dataset != "d" || !slices.Equal(im.byTensor["a"], []float32{1, 2}) {
		f.Fatalf("the older form: %+v, %v", im, err)
	}
	var b bytes.Buffer
	if err := im.Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(old)
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (*Importance, error){parseImportance, parseOldImportance} {
			im, err := parse(b)
			if err != nil {
				continue
			}
			x := &Tensor{Name: "a", Format: block.F32, Shape: []int{3, 2}}
			im.of(x)
		}
	})
}
