package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/quant/report"
)

// Every form of few-bit weights loads, and its report is about it.
func TestQuantizeWeights(t *testing.T) {
	model, data := digits(t, 6, nil)
	for _, flags := range []string{
		"weight-only", "weight-only --symmetric --bits 8", "weight-only --portable --group 16", "weight-only --portable --bits 8 --group 0", "weight-only --kind nf4",
		"weight-only --kind fp8-e5m2 --min-max", "weight-only --accuracy-level 0 --data DATA", "gptq --data DATA --act-order --sequential", "awq --data DATA", "hqq",
	} {
		to := filepath.Join(t.TempDir(), "out.onnx")
		args := strings.Fields(strings.ReplaceAll(flags, "DATA", data))
		status, out, errs := command(append([]string{"quantize", model, "-o", to, "--json", "--method"}, args...)...)
		if status != exitOK {
			t.Errorf("%s: status %d, %s", flags, status, errs)
			continue
		}
		var r report.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.Method != args[0] || len(r.Layers) == 0 || r.BytesAfter >= r.BytesBefore {
			t.Errorf("%s: the report is %s (%v)", flags, out, err)
		}
		e, err := engine.Load(to, engine.Options{Level: 3})
		if err != nil {
			t.Errorf("%s: %v", flags, err)
			continue
		}
		e.Close()
	}
}

// What cannot be asked for is a misuse, what the model does not have a failure.
func TestQuantizeWeightsRefuses(t *testing.T) {
	model, data := digits(t, 2, nil)
	for flags, want := range map[string]struct {
		status int
		said   string
	}{
		"gptq":                           {exitMisuse, "give --data"},
		"weight-only --bits 3":           {exitMisuse, "2, 4 or 8 bits"},
		"weight-only --bits 40":          {exitMisuse, "2 to 8"},
		"weight-only --group 24":         {exitMisuse, "power of two"},
		"weight-only --kind nf3":         {exitMisuse, "--kind"},
		"hqq --symmetric":                {exitMisuse, "not symmetric"},
		"gptq --damp -1 --data DATA":     {exitMisuse, "damping"},
		"weight-only --ops Conv":         {exitFailure, "nothing can be quantized"},
		"weight-only --accuracy-level 9": {exitMisuse, "accuracy level"},
	} {
		to := filepath.Join(t.TempDir(), "out.onnx")
		status, out, errs := command(append([]string{"quantize", model, "-o", to, "--method"}, strings.Fields(strings.ReplaceAll(flags, "DATA", data))...)...)
		if status != want.status || !strings.Contains(errs, want.said) {
			t.Errorf("%s: status %d, expected %d; %q, expected %q", flags, status, want.status, out+errs, want.said)
		}
		if _, err := os.Stat(to); !os.IsNotExist(err) {
			t.Errorf("%s: the output is there: %v", flags, err)
		}
	}
}
