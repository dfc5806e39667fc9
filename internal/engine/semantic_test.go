package engine_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

// These tests ask of trained models what a user would: are the faces found, are
// the digits read? The expected answers stand in each model's meta.json.

// trained is a model of the test material, prepared.
type trained struct {
	*testing.T
	dir    string
	engine *engine.Engine
	meta   struct {
		Model string
		Cases []struct {
			File  string
			Check json.RawMessage
		}
		Check json.RawMessage
	}
}

func load(t *testing.T, name string) *trained {
	m := &trained{T: t, dir: testkit.Assets(t, filepath.Join("models", name))}
	b, err := os.ReadFile(filepath.Join(m.dir, "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &m.meta); err != nil {
		t.Fatal(err)
	}
	m.engine, err = engine.Load(filepath.Join(m.dir, m.meta.Model), engine.Options{Level: pass.MaxLevel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.engine.Close() })
	return m
}

// answers runs case i and gives the outputs by name.
func (m *trained) answers(i int) map[string]*tensor.Tensor {
	golden := m.golden(m.meta.Cases[i].File)
	in := make([]*tensor.Tensor, len(m.engine.Graph().Inputs))
	for j, v := range m.engine.Graph().Inputs {
		in[j] = golden["in_"+v.Name]
	}
	return m.run(in)
}

func (m *trained) golden(file string) map[string]*tensor.Tensor {
	m.Helper()
	a, err := npy.ReadArchive(filepath.Join(m.dir, file))
	if err != nil {
		m.Fatal(err)
	}
	return a
}

func (m *trained) run(in []*tensor.Tensor) map[string]*tensor.Tensor {
	m.Helper()
	out, err := m.engine.Run(context.Background(), in)
	if err != nil {
		m.Fatal(err)
	}
	named := map[string]*tensor.Tensor{}
	for j, o := range m.engine.Graph().Outputs {
		named[o.Name] = out[j]
	}
	return named
}

// check reads what is expected of case i; false where the case has no such check.
func (m *trained) check(i int, into any) bool {
	return json.Unmarshal(m.meta.Cases[i].Check, into) == nil
}

func only(out map[string]*tensor.Tensor) []float32 {
	for _, t := range out {
		return tensor.Of[float32](t)
	}
	return nil
}

func argmax(s []float32) int {
	best := 0
	for i, v := range s {
		if v > s[best] {
			best = i
		}
	}
	return best
}

func TestDigitsAreRead(t *testing.T) {
	m := load(t, "mnist")
	for i := range m.meta.Cases {
		var want struct{ Want int }
		m.check(i, &want)
		if got := argmax(only(m.answers(i))); got != want.Want {
			t.Errorf("digit %d was read as %d", want.Want, got)
		}
	}
}

func TestFileTypesAreTold(t *testing.T) {
	for name, margin := range map[string]float64{"magika-v3_3": 1e-3, "magika-int8-dynamic": 0.03} {
		t.Run(name, func(t *testing.T) {
			m := load(t, name)
			var config struct {
				Labels []string `json:"target_labels_space"`
			}
			b, err := os.ReadFile(testkit.Assets(t, "inputs/magika/config.min.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &config); err != nil {
				t.Fatal(err)
			}
			var want struct{ Predictions map[string][2]any }
			m.check(0, &want)
			files := make([]string, 0, len(want.Predictions))
			for f := range want.Predictions {
				files = append(files, f)
			}
			sort.Strings(files)
			scores := only(m.answers(0))
			for i, f := range files {
				row := scores[i*len(config.Labels) : (i+1)*len(config.Labels)]
				best := argmax(row)
				label, score := want.Predictions[f][0].(string), want.Predictions[f][1].(float64)
				if config.Labels[best] != label || math.Abs(float64(row[best])-score) > margin {
					t.Errorf("%s: expected %s %.4f, found %s %.4f", f, label, score, config.Labels[best], row[best])
				}
			}
			if len(files) != 43 {
				t.Errorf("%d files were compared, expected 43", len(files))
			}
		})
	}
}

func TestSpeechIsHeard(t *testing.T) {
	m := load(t, "silero-vad")
	golden := m.golden("golden_stream.npz")
	frames := golden["in_frames"]
	n, size := frames.Shape[0], frames.Shape[1]
	state, rate := tensor.New(golden["out_state_first"].DType, 2, 1, 128), tensor.Scalar[int64](16000)
	speech, sum := 0, 0.0
	for i := range n {
		frame := tensor.FromSlice(tensor.Of[float32](frames)[i*size:(i+1)*size], 1, size)
		var in []*tensor.Tensor
		for _, v := range m.engine.Graph().Inputs {
			in = append(in, map[string]*tensor.Tensor{"input": frame, "state": state, "sr": rate}[v.Name])
		}
		out := m.run(in)
		state = out["stateN"]
		p := tensor.Of[float32](out["output"])[0]
		if want := tensor.Of[float32](golden["out_prob"])[i]; math.Abs(float64(p-want)) > 1e-3 {
			t.Fatalf("frame %d: expected %g, found %g", i, want, p)
		}
		if p > 0.5 {
			speech++
		}
		sum += float64(p)
	}
	var want struct {
		Speech int `json:"speech_frames_over_0_5"`
		Mean   float64
	}
	if err := json.Unmarshal(m.meta.Check, &want); err != nil {
		t.Fatal(err)
	}
	if speech != want.Speech || math.Abs(sum/float64(n)-want.Mean) > 1e-4 {
		t.Errorf("expected %d frames of speech and a mean of %.4f, found %d and %.4f", want.Speech, want.Mean, speech, sum/float64(n))
	}
}

func TestFacesAreFound(t *testing.T) {
	t.Run("ultraface", func(t *testing.T) {
		m := load(t, "ultraface-rfb320")
		for i := range m.meta.Cases {
			var want struct {
				Best  float64 `json:"best_score"`
				Count int     `json:"n_over_0_7"`
			}
			m.check(i, &want)
			scores := tensor.Of[float32](m.answers(i)["scores"])
			best, count := float32(0), 0
			for j := 1; j < len(scores); j += 2 {
				best = max(best, scores[j])
				if scores[j] > 0.7 {
					count++
				}
			}
			if math.Abs(float64(best)-want.Best) > 1e-3 || count != want.Count {
				t.Errorf("case %d: expected a best of %.4f and %d boxes, found %.4f and %d", i, want.Best, want.Count, best, count)
			}
		}
	})
	for name, margin := range map[string]float64{"yunet-n-320": 1e-3, "yunet-n-dynamic": 1e-3, "yunet-fp16": 1e-2, "yunet-int8-qoperator": 0.03} {
		t.Run(name, func(t *testing.T) {
			m := load(t, name)
			for i := range m.meta.Cases {
				var want struct {
					Best float64 `json:"best_score"`
				}
				if !m.check(i, &want) {
					continue // a case of other sizes without a check
				}
				out := m.answers(i)
				best := 0.0
				for _, stride := range []string{"8", "16", "32"} {
					cls, obj := tensor.Of[float32](out["cls_"+stride]), tensor.Of[float32](out["obj_"+stride])
					for j := range cls {
						best = max(best, math.Sqrt(float64(cls[j])*float64(obj[j])))
					}
				}
				if math.Abs(best-want.Best) > margin {
					t.Errorf("case %d: expected a best face of %.4f, found %.4f", i, want.Best, best)
				}
			}
		})
	}
}

func TestThingsAreNamed(t *testing.T) {
	names, err := os.ReadFile(testkit.Assets(t, "inputs/coco.names"))
	if err != nil {
		t.Fatal(err)
	}
	labels := strings.Split(strings.TrimSpace(string(names)), "\n")
	for name, margin := range map[string]float64{"fastestdet": 1e-3, "fastestdet-int8-qdq": 0.03} {
		t.Run(name, func(t *testing.T) {
			m := load(t, name)
			for i := range m.meta.Cases {
				var want struct{ Top [][2]any }
				m.check(i, &want)
				label, score := bestThing(only(m.answers(i)), labels)
				if label != want.Top[0][0].(string) || math.Abs(score-want.Top[0][1].(float64)) > margin {
					t.Errorf("case %d: expected %v, found %s %.4f", i, want.Top[0], label, score)
				}
			}
		})
	}
}

// bestThing decodes FastestDet's output [1,85,H,W]: objectness, box, and a
// score for each class; a cell's score is objectness^0.6 · class^0.4.
func bestThing(out []float32, labels []string) (label string, score float64) {
	cells := len(out) / 85
	for c := range cells {
		class := 0
		for k := range labels {
			if out[(5+k)*cells+c] > out[(5+class)*cells+c] {
				class = k
			}
		}
		if s := math.Pow(float64(out[c]), 0.6) * math.Pow(float64(out[(5+class)*cells+c]), 0.4); s > score {
			label, score = strings.TrimSpace(labels[class]), s
		}
	}
	return label, score
}
