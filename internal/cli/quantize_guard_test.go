package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/quant/report"
)

// The bound holds in what is written, the steps are told, and the page has the data.
func TestQuantizeGuard(t *testing.T) {
	model, data := digits(t, 12, nil)
	out, page := filepath.Join(t.TempDir(), "out.onnx"), filepath.Join(t.TempDir(), "report.html")
	status, said, errs := command("quantize", model, "-o", out, "--data", data, "--json", "--report", page,
		"--min-sqnr", "30", "--equalize", "--smoothquant=0.5", "--adaround=5", "--bias-correction", "--for", "vnni")
	if status != exitOK {
		t.Fatalf("status %d: %s", status, errs)
	}
	var rep report.Report
	if err := json.Unmarshal([]byte(said), &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Steps) != 5 || rep.Measures["sqnr_db"] < 30 || rep.Measures["seconds_after"] <= 0 {
		t.Errorf("%q, %v", rep.Steps, rep.Measures)
	}
	html, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(html), "output_sqnr_db") {
		t.Errorf("the page: %v, %d bytes", err, len(html))
	}
	if status, said, errs = command("compare", model, out, "--data", data, "--json", "--runs", "0", "--layers", "2"); status != exitOK {
		t.Fatalf("status %d: %s", status, errs)
	}
	var c comparison
	if err := json.Unmarshal([]byte(said), &c); err != nil {
		t.Fatal(err)
	}
	if c.Outputs[0].SQNR < 30 || len(c.Layers) < 3 || c.B.Bytes >= c.A.Bytes {
		t.Errorf("%s", said)
	}
}

func TestQuantizeGuardRefuses(t *testing.T) {
	model, data := digits(t, 4, nil)
	out := filepath.Join(t.TempDir(), "out.onnx")
	for _, c := range []struct {
		flags, says string
		status      int
	}{
		{"--max-drop 5", "expected a percentage", exitMisuse},
		{"--max-drop 1%", "needs data with labels", exitFailure},
		{"--min-sqnr -3", "--min-sqnr -3", exitMisuse},
		{"--min-sqnr 190", "no layer can be quantized with SQNR of at least 190 dB", exitFailure},
		{"--raise fp8", "--raise", exitMisuse},
		{"--for mmx", "avx2, vnni, amx", exitMisuse},
		{"--smoothquant=2", "from 0 to 1", exitMisuse},
		{"--adaround=-1", "iterations", exitMisuse},
		{"--adaround --per-tensor", "one scale for each channel", exitMisuse},
	} {
		status, _, errs := command(append([]string{"quantize", model, "-o", out, "--data", data}, strings.Fields(c.flags)...)...)
		if status != c.status || !strings.Contains(errs, c.says) {
			t.Errorf("%s: status %d, %q", c.flags, status, errs)
		}
		if _, err := os.Stat(out); !os.IsNotExist(err) {
			t.Errorf("%s: the output is there: %v", c.flags, err)
		}
	}
}
