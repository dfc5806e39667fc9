package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/tensor"
)

// digits writes the demo's digit network and calibration data for it.
func digits(t *testing.T, samples int, change func(x []float32)) (model, data string) {
	t.Helper()
	dir := t.TempDir()
	model, data = filepath.Join(dir, "digits.onnx"), filepath.Join(dir, "data.npy")
	for _, m := range demo.Models() {
		if m.Name == "digits" {
			if err := os.WriteFile(model, m.ONNX, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, samples*28*28)
	for i := range x {
		x[i] = max(0, rng.Float32()*3-2)
	}
	if change != nil {
		change(x)
	}
	if err := npy.WriteFile(data, tensor.FromSlice(x, samples, 1, 28, 28)); err != nil {
		t.Fatal(err)
	}
	return model, data
}

func command(args ...string) (status int, out, errs string) {
	var o, e output
	status = Main(args, strings.NewReader(""), &o, &e)
	return status, o.String(), e.String()
}

// Every form of a quantized model loads, and its report is about it.
func TestQuantize(t *testing.T) {
	model, data := digits(t, 8, nil)
	for _, flags := range [][]string{
		{"--data", data}, {"--data", data, "--calibrator", "entropy", "--symmetric"}, {"--data", data, "--format", "qoperator", "--contrib"},
		{"--data", data, "--to", "int16"}, {"--method", "dynamic"}, {"--method", "dynamic", "--per-row", "--ops", "Gemm,Conv"},
		{"--to", "fp16"}, {"--to", "bf16", "--io", "bf16"}, {"--data", data, "--exclude", "*fc2*"},
	} {
		to := filepath.Join(t.TempDir(), "out.onnx")
		status, out, errs := command(append([]string{"quantize", model, "-o", to, "--json"}, flags...)...)
		if status != exitOK {
			t.Errorf("%v: status %d, %s", flags, status, errs)
			continue
		}
		var r report.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Layers) < 4 || r.BytesAfter >= r.BytesBefore {
			t.Errorf("%v: the report is %s (%v)", flags, out, err)
		}
		e, err := engine.Load(to, engine.Options{Level: 3})
		if err != nil {
			t.Errorf("%v: %v", flags, err)
			continue
		}
		e.Close()
	}
}

// What cannot be done is said, with the right status, and leaves no file.
func TestQuantizeRefuses(t *testing.T) {
	model, data := digits(t, 4, nil)
	_, broken := digits(t, 4, func(x []float32) { x[1000] = float32(math.NaN()) })
	dir := t.TempDir()
	wrong := filepath.Join(dir, "wrong.npy")
	if err := npy.WriteFile(wrong, tensor.FromSlice(make([]float32, 30), 1, 30)); err != nil {
		t.Fatal(err)
	}
	quantized := filepath.Join(dir, "quantized.onnx")
	if status, _, errs := command("quantize", model, "-o", quantized, "--data", data); status != exitOK {
		t.Fatal(errs)
	}
	to := filepath.Join(dir, "out.onnx")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{model, "--data", data}, exitMisuse, "-o OUT is missing"},
		{[]string{model, "-o", to}, exitMisuse, "give --data, or --method dynamic"},
		{[]string{model, "-o", to, "--method", "magic"}, exitMisuse, `--method "magic": expected static, dynamic`},
		{[]string{model, "-o", to, "--data", data, "--calibrator", "magic"}, exitMisuse, "magic"},
		{[]string{model, "-o", to, "--data", data, "--format", "tflite"}, exitMisuse, "expected qdq or qoperator"},
		{[]string{model, "-o", to, "--data", data, "--activations", "int3"}, exitMisuse, "expected uint8, int8"},
		{[]string{model, "-o", to, "--to", "fp8"}, exitMisuse, `--to "fp8"`},
		{[]string{model, "-o", to, "--to", "fp16", "--io", "bf16"}, exitMisuse, `--io "bf16"`},
		{[]string{model, "-o", to, "--data", data, "--report", "report.pdf"}, exitMisuse, ".json or .html"},
		{[]string{model, "-o", to, "--data", broken}, exitFailure, "NaN"},
		{[]string{model, "-o", to, "--data", wrong}, exitFailure, "wrong.npy"},
		{[]string{model, "-o", to, "--data", filepath.Join(dir, "none.npz")}, exitFailure, "none.npz"},
		{[]string{quantized, "-o", to, "--data", data}, exitFailure, "quantized already"},
		{[]string{model, "-o", to, "--data", data, "--exclude", "*"}, exitFailure, "nothing can be quantized"},
		{[]string{model, "-o", to, "--data", data, "--exclude", "["}, exitFailure, "syntax error in pattern"},
		{[]string{model, "-o", filepath.Join(dir, "none", "out.onnx"), "--method", "dynamic"}, exitFailure, "no such file"},
		{[]string{data, "-o", to, "--method", "dynamic"}, exitFailure, "data.npy"},
		{[]string{model, "-o", dir, "--method", "dynamic"}, exitFailure, "is no file"},
		{[]string{model, "-o", to, "--data", data, "--report", filepath.Join(dir, "none", "r.json")}, exitFailure, "--report"},
	} {
		status, out, errs := command(append([]string{"quantize"}, c.args...)...)
		if status != c.status || !strings.Contains(errs, c.want) {
			t.Errorf("%v: status %d, %q %q; expected %d and %q", c.args, status, out, errs, c.status, c.want)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("the folder holds %v (%v)", files, err)
	}
}

// An interrupted quantize writes nothing.
func TestQuantizeStops(t *testing.T) {
	model, data := digits(t, 4, nil)
	stop := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	to := filepath.Join(t.TempDir(), "out.onnx")
	c := newQuantize(&env{out: io.Discard, err: io.Discard})
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs([]string{model, "-o", to, "--data", data})
	if err := c.ExecuteContext(ctx); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(to); !os.IsNotExist(err) {
		t.Errorf("the output is there: %v", err)
	}
}

// Samples that are one number are answered with a warning, in the report and on stderr.
func TestQuantizeWarnsOfConstants(t *testing.T) {
	model, data := digits(t, 3, func(x []float32) {
		for i := range x {
			x[i] = 0.5
		}
	})
	const said = `input "image" was 0.5 everywhere in all 3 samples`
	for _, calibrator := range []string{"minmax", "mse"} {
		status, out, errs := command("quantize", model, "-o", filepath.Join(t.TempDir(), "out.onnx"), "--data", data, "--json", "--calibrator", calibrator)
		var r report.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitOK || len(r.Warnings) == 0 || !strings.HasPrefix(r.Warnings[0], said) || !strings.Contains(errs, said) {
			t.Errorf("%s: status %d, warnings %q (%v), %q", calibrator, status, r.Warnings, err, errs)
		}
	}
	model, data = digits(t, 3, nil)
	if _, _, errs := command("quantize", model, "-o", filepath.Join(t.TempDir(), "out.onnx"), "--data", data); strings.Contains(errs, "warning") {
		t.Errorf("samples that differ: %q", errs)
	}
}
