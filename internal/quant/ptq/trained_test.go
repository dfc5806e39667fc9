package ptq

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/quant/calib"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

// answer is what a user takes from a model's outputs: what was found, and how
// sure the model is of it.
type answer struct {
	label int
	score float64
}

// largest is the first of the largest numbers.
func largest(x []float32) (a answer) {
	for i, v := range x {
		if i == 0 || float64(v) > a.score {
			a = answer{i, float64(v)}
		}
	}
	return a
}

func softmax(x []float32) []float32 {
	most, sum := largest(x).score, 0.0
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(math.Exp(float64(v) - most))
		sum += float64(y[i])
	}
	for i := range y {
		y[i] /= float32(sum)
	}
	return y
}

// bestFace is the best score of a YuNet; its place may be one cell off.
func bestFace(out map[string]*tensor.Tensor) answer {
	best := 0.0
	for _, stride := range []string{"8", "16", "32"} {
		cls, obj := tensor.Of[float32](out["cls_"+stride]), tensor.Of[float32](out["obj_"+stride])
		for j := range cls {
			best = max(best, math.Sqrt(float64(cls[j])*float64(obj[j])))
		}
	}
	return answer{0, best}
}

// bestThing decodes FastestDet: objectness^0.6 · class^0.4 of the best cell.
func bestThing(out []float32) (best answer) {
	cells := len(out) / 85
	for c := range cells {
		class := 0
		for k := range 80 {
			if out[(5+k)*cells+c] > out[(5+class)*cells+c] {
				class = k
			}
		}
		if s := math.Pow(float64(out[c]), 0.6) * math.Pow(float64(out[(5+class)*cells+c]), 0.4); s > best.score {
			best = answer{class, s}
		}
	}
	return best
}

// trained are models of the test material with what their users look at, one
// answer for each row or picture.
var trained = []struct {
	name, file string
	margin     float64 // of scores
	answers    func(out map[string]*tensor.Tensor) []answer
}{
	{"mnist", "mnist.onnx", 0.03, func(out map[string]*tensor.Tensor) []answer {
		return []answer{largest(softmax(tensor.Of[float32](out["Plus214_Output_0"])))}
	}},
	{"squeezenet-v1.1", "squeezenet_v1.1.onnx", 0.05, func(out map[string]*tensor.Tensor) []answer {
		return []answer{largest(tensor.Of[float32](only(out)))}
	}},
	{"fastestdet", "fastestdet.onnx", 0.03, func(out map[string]*tensor.Tensor) []answer {
		return []answer{bestThing(tensor.Of[float32](only(out)))}
	}},
	{"ultraface-rfb320", "rfb320.onnx", 0.03, func(out map[string]*tensor.Tensor) []answer {
		best := 0.0
		for j, s := range tensor.Of[float32](out["scores"]) {
			if j%2 == 1 {
				best = max(best, float64(s))
			}
		}
		return []answer{{0, best}}
	}},
	{"yunet-n-320", "yunet_n_320.onnx", 0.03, func(out map[string]*tensor.Tensor) []answer { return []answer{bestFace(out)} }},
	{"ppocr-cls", "ppocr_cls.onnx", 0.2, // of one of its pictures it is sure by 0.7 only
		func(out map[string]*tensor.Tensor) []answer {
			return []answer{largest(tensor.Of[float32](only(out)))}
		}},
	{"magika-v3_3", "magika.onnx", 0.05, func(out map[string]*tensor.Tensor) (all []answer) {
		y := only(out)
		rows, per := y.Shape[0], y.Len()/y.Shape[0]
		for i := range rows {
			all = append(all, largest(tensor.Of[float32](y)[i*per:(i+1)*per]))
		}
		return all
	}},
}

func only(out map[string]*tensor.Tensor) *tensor.Tensor {
	for _, t := range out {
		return t
	}
	return nil
}

// TestTrainedModels quantizes trained models with the inputs of their goldens, and
// asks what a user would: the label is the same and the score near.
func TestTrainedModels(t *testing.T) {
	if testing.Short() {
		t.Skip("quantizes seven models")
	}
	for _, m := range trained {
		t.Run(m.name, func(t *testing.T) {
			dir := testkit.Assets(t, filepath.Join("models", m.name))
			f, err := onnx.Load(filepath.Join(dir, m.file))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := Prepare(context.Background(), f.Graph, Options{}); err != nil {
				t.Fatal(err)
			}
			goldens, err := filepath.Glob(filepath.Join(dir, "golden_*.npz"))
			if err != nil {
				t.Fatal(err)
			}
			s, err := samples.Open(dir, f.Graph, samples.Options{})
			if err != nil {
				t.Fatal(err)
			}
			c, err := Calibrate(context.Background(), f.Graph, s, func() (calib.Observer, error) { return calib.New("percentile", calib.Options{}) }, Options{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			q, rep, err := Apply(f.Graph, c, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range rep.Layers {
				if l.Precision != "int8" {
					t.Errorf("%s %q is in %s: %s", l.Op, l.Name, l.Precision, l.Reason)
				}
			}
			if _, err := pass.Run(q, passes.All, pass.Options{Level: pass.MaxLevel}); err != nil {
				t.Fatal(err)
			}
			session := exec.New(q, exec.Options{})
			defer session.Close()
			for _, file := range goldens {
				golden, err := npy.ReadArchive(file)
				if err != nil {
					t.Fatal(err)
				}
				var in []*tensor.Tensor
				for _, v := range q.Inputs {
					in = append(in, golden["in_"+v.Name])
				}
				out, err := session.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				got, want := map[string]*tensor.Tensor{}, map[string]*tensor.Tensor{}
				for i, o := range q.Outputs {
					got[o.Name], want[o.Name] = out[i], golden["out_"+o.Name]
				}
				compareAnswers(t, filepath.Base(file), m.answers(got), m.answers(want), m.margin)
			}
		})
	}
}

func compareAnswers(t *testing.T, file string, got, want []answer, margin float64) {
	for i, w := range want {
		if got[i].label != w.label || math.Abs(got[i].score-w.score) > margin {
			t.Errorf("%s, row %d: expected %d with %.4f, found %d with %.4f", file, i, w.label, w.score, got[i].label, got[i].score)
		}
	}
}
