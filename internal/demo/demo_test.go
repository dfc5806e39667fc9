package demo_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver"
	"github.com/salver-ml/salver/internal/demo"
)

// TestSamples runs every network on its sample request.
func TestSamples(t *testing.T) {
	total := 0
	for _, m := range demo.Models() {
		total += len(m.ONNX)
		var body struct {
			Inputs []struct {
				Name  string
				Shape []int
				Data  []float32
			}
		}
		if err := json.Unmarshal(m.SampleRequest, &body); err != nil {
			t.Fatal(m.Name, err)
		}
		s, err := salver.Parse(m.ONNX)
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		in := body.Inputs[0]
		out, err := s.Run(t.Context(), map[string]*salver.Tensor{in.Name: salver.FromSlice(in.Data, in.Shape...)})
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		row := salver.Data[float32](out[m.Output])[:len(m.Labels)]
		best := slices.Index(row, slices.Max(row))
		if in.Name != m.Input || m.Labels[best] != m.SampleAnswer || row[best] < 0.5 {
			t.Errorf("%s: %v, want %s", m.Name, row, m.SampleAnswer)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if total > 2<<20 {
		t.Errorf("the networks take %d bytes, more than 2 MiB", total)
	}
}

func TestCurlCanBePasted(t *testing.T) {
	for _, m := range demo.Models() {
		line := m.Curl("127.0.0.1:8000")
		if !strings.HasPrefix(line, "curl -s http://127.0.0.1:8000/v2/models/"+m.Name+"/infer -d '{") || strings.Count(line, "'") != 2 || strings.Contains(line, "\n") {
			t.Errorf("%s", line)
		}
	}
}
