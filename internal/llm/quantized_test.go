package llm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/packed"
	"github.com/salver-ml/salver/internal/format/safetensors"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// fewBits writes two folders of a golden's model: one whose projections have few
// bits, and one with the numbers that these stand for, in float32.
func (g *reference) fewBits(t *testing.T, c packed.Config, s weight.Scheme) (few, plain string) {
	t.Helper()
	var a, b []safetensors.Source
	for _, name := range slices.Sorted(maps.Keys(g.Tensors)) {
		dims, v := g.Tensors[name], weightsOf(name, g.Tensors[name])
		if layer, ok := strings.CutSuffix(name, "_proj.weight"); ok {
			q, err := weight.RTN(weight.Matrix{Rows: dims[0], Cols: dims[1], Data: v}, s, weight.RTNOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			m, err := q.Packed()
			if err != nil {
				t.Fatal(err)
			}
			if c.ActOrder { // some order of columns
				for col := range m.Cols {
					m.GroupOf = append(m.GroupOf, int32((col*5+1)%m.Cols/m.Group))
				}
			}
			list, err := c.Write(layer+"_proj", m, s.Scale)
			if err != nil {
				t.Fatal(err)
			}
			for _, tensor := range list {
				a = append(a, tensor.Source())
			}
			m.Values(v)
		} else {
			a = append(a, floatSource(name, dims, v))
		}
		b = append(b, floatSource(name, dims, v))
	}
	config, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	few, plain = g.folder(t), g.folder(t)
	writeTensors(t, few, a)
	writeTensors(t, plain, b)
	var all map[string]json.RawMessage
	if err := json.Unmarshal(g.Config, &all); err != nil {
		t.Fatal(err)
	}
	all["quantization_config"] = config
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	write(t, few, "config.json", string(text))
	return few, plain
}

func floatSource(name string, dims []int, v []float32) safetensors.Source {
	return safetensors.Source{Name: name, Type: dtype.Float32, Shape: dims, WriteTo: func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, v) }}
}

func writeTensors(t *testing.T, dir string, list []safetensors.Source) {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, nil, list); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// Models of few bits give what the numbers they stand for give: the same bits
// where these are float32 in both, else within what the rounding of activations
// to 8 bits makes of it, or, of 8-bit floats, scaling sums in place of weights.
func TestFewBits(t *testing.T) {
	g := readGolden(t, "llama")
	for _, c := range []struct {
		name   string
		config packed.Config
		scheme weight.Scheme
		within float64
	}{
		{"gptq", packed.Config{Method: packed.GPTQ, Bits: 4, Group: 32, Symmetric: true}, weight.Scheme{Bits: 4, Group: 32, Symmetric: true}, .3},
		{"gptq, act-order", packed.Config{Method: packed.GPTQ, Bits: 4, Group: 32, Symmetric: true, ActOrder: true}, weight.Scheme{Bits: 4, Group: 32, Symmetric: true}, .3},
		{"gptq v2", packed.Config{Method: packed.GPTQv2, Bits: 4, Group: 32}, weight.Scheme{Bits: 4, Group: 32}, .3},
		{"gptq, 8 bits", packed.Config{Method: packed.GPTQ, Bits: 8, Group: 32, Symmetric: true}, weight.Scheme{Bits: 8, Group: 32, Symmetric: true}, .3},
		{"awq", packed.Config{Method: packed.AWQ, Bits: 4}, weight.Scheme{Bits: 4}, .3},
		{"awq, small groups", packed.Config{Method: packed.AWQ, Bits: 4, Group: 16}, weight.Scheme{Bits: 4, Group: 16}, 0},
		{"compressed", packed.Config{Method: packed.Compressed, Format: "pack-quantized", Bits: 4, Group: 16, Symmetric: true}, weight.Scheme{Bits: 4, Group: 16, Symmetric: true}, 0},
		{"int8", packed.Config{Method: packed.Compressed, Format: "int-quantized", Bits: 8, Symmetric: true}, weight.Scheme{Bits: 8, Symmetric: true}, .3},
		{"float8", packed.Config{Method: packed.Compressed, Format: "float-quantized", Bits: 8, Symmetric: true}, weight.Scheme{Kind: weight.E4M3, Symmetric: true}, 2e-5},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.scheme.Scale = dtype.Float16
			few, plain := g.fewBits(t, c.config, c.scheme)
			m := loadTest(t, few, Options{})
			if n, want := m.Info().Parameters, loadTest(t, plain, Options{}).Info().Parameters; n != want {
				t.Errorf("%d parameters, expected %d", n, want)
			}
			got, want := tokensWith(t, m, g), tokensWith(t, loadTest(t, plain, Options{}), g)
			var worst float64
			for p := range g.Prompt { // of the answer a token may differ, and then all after it do
				by := map[int32]float32{}
				for _, alt := range want[p].Top {
					by[alt.ID] = alt.Logprob
				}
				for _, alt := range got[p].Top {
					worst = max(worst, math.Abs(float64(alt.Logprob-by[alt.ID])))
				}
			}
			t.Logf("logarithms of probabilities are up to %.3g apart", worst)
			if worst > c.within {
				t.Errorf("logarithms of probabilities are %g apart", worst)
			}
		})
	}
}

func TestFewBitsRefused(t *testing.T) {
	g := readGolden(t, "llama")
	c := packed.Config{Method: packed.GPTQ, Bits: 4, Group: 32, Symmetric: true}
	few, _ := g.fewBits(t, c, weight.Scheme{Bits: 4, Group: 32, Symmetric: true, Scale: dtype.Float16})
	for _, change := range []struct {
		name string
		do   func(t *safetensors.Tensor)
		want string
	}{
		{"an infinite scale", func(t *safetensors.Tensor) {
			if strings.HasSuffix(t.Name, "1.mlp.up_proj.scales") {
				t.Data[0], t.Data[1] = 0, 0x7c
			}
		}, "scale"},
		{"a group that is none", func(t *safetensors.Tensor) {
			if strings.HasSuffix(t.Name, "1.mlp.up_proj.g_idx") {
				t.Data[0] = 7
			}
		}, "group"},
		{"another shape", func(t *safetensors.Tensor) {
			if strings.HasSuffix(t.Name, "1.mlp.up_proj.qzeros") {
				t.Shape = []int{t.Shape[1], t.Shape[0]}
			}
		}, "qzeros"},
	} {
		f, err := safetensors.Open(few)
		if err != nil {
			t.Fatal(err)
		}
		var list []safetensors.Source
		for _, tensor := range f.Tensors {
			tensor.Data = slices.Clone(tensor.Data)
			change.do(&tensor)
			list = append(list, tensor.Source())
		}
		dir := g.folder(t)
		config, err := os.ReadFile(filepath.Join(few, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "config.json", string(config))
		writeTensors(t, dir, list)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "model.layers.1.mlp.up_proj") || !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s: error %v", change.name, err)
		}
	}
}
