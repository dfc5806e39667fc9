package cli

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a file with the given contents.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCompareTensors(t *testing.T) {
	model := modelFile(t, "iris.onnx", true)
	data := write(t, "flowers.jsonl", `{"measurements": [5.1, 3.5, 1.4, 0.2], "label": 0}
{"measurements": [6.3, 3.3, 6.0, 2.5], "label": 2}
{"measurements": [5.0, 3.4, 1.5, 0.2], "label": 2}
`)
	var out, errw output
	if status := Main([]string{"compare", model, model, "--data", data, "--runs", "2", "--json"}, nil, &out, &errw); status != exitOK {
		t.Fatalf("status %d: %s", status, errw.String())
	}
	var c comparison
	if err := json.Unmarshal([]byte(out.String()), &c); err != nil {
		t.Fatal(err)
	}
	if c.Samples != 3 || len(c.Outputs) != 1 || c.Outputs[0].SQNR != 999 || *c.Outputs[0].Top1 != 1 || *c.Outputs[0].KLD != 0 || len(c.Layers) < 3 {
		t.Errorf("%s", out.String())
	}
	if math.Abs(*c.A.Accuracy-2./3) > 1e-9 || *c.B.Accuracy != *c.A.Accuracy || c.A.Bytes == 0 || c.B.BestMS <= 0 {
		t.Errorf("%s", out.String())
	}
	out = output{}
	if status := Main([]string{"compare", model, model, "--data", data}, nil, &out, &errw); status != exitOK || !strings.Contains(out.String(), "values in common") || !strings.Contains(out.String(), "66.67 %") {
		t.Errorf("status %d: %s%s", status, out.String(), errw.String())
	}
}

// A model does not differ from itself, and its perplexity is that of the command perplexity.
func TestCompareLanguages(t *testing.T) {
	model := "../demo/models/tiny-chat.gguf"
	data := write(t, "text.txt", strings.Repeat("Hello, how are you today? I am fine, thank you. ", 12))
	var out, errw output
	if status := Main([]string{"compare", model, model, "--data", data, "--window", "32", "--json"}, nil, &out, &errw); status != exitOK {
		t.Fatalf("status %d: %s", status, errw.String())
	}
	var c languageComparison
	if err := json.Unmarshal([]byte(out.String()), &c); err != nil {
		t.Fatal(err)
	}
	if c.KLD.Max != 0 || c.Top1 != 1 || c.Tokens < 50 || c.A.Perplexity != c.B.Perplexity || c.A.TokensS <= 0 {
		t.Errorf("%s", out.String())
	}
	out = output{}
	if status := Main([]string{"perplexity", model, data, "--window", "32", "--json"}, nil, &out, &errw); status != exitOK {
		t.Fatalf("status %d: %s", status, errw.String())
	}
	var p struct{ Perplexity float64 }
	if err := json.Unmarshal([]byte(out.String()), &p); err != nil {
		t.Fatal(err)
	}
	if math.Abs(p.Perplexity/c.A.Perplexity-1) > 1e-5 {
		t.Errorf("perplexity %v, compare says %v", p.Perplexity, c.A.Perplexity)
	}
}

func TestCompareRefuses(t *testing.T) {
	iris, digits, chat := modelFile(t, "iris.onnx", true), "../demo/models/digits.onnx", "../demo/models/tiny-chat.gguf"
	data := write(t, "flowers.jsonl", "{\"measurements\": [5.1, 3.5, 1.4, 0.2]}\n")
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{iris, iris}, exitMisuse, "--data FILE is missing"},
		{[]string{iris, chat, "--data", data}, exitMisuse, "different kinds"},
		{[]string{iris, digits, "--data", data}, exitFailure, "expected two forms of one model"},
		{[]string{iris, iris, "--data", "nowhere.npz"}, exitFailure, "nowhere.npz"},
		{[]string{iris, iris, "--data", data, "--limit", "-1"}, exitMisuse, "--limit"},
		{[]string{chat, chat, "--data", write(t, "empty.txt", "")}, exitFailure, "expected at least 2"},
		{[]string{chat, chat, "--data", data, "--window", "100000"}, exitMisuse, "--window 100000"},
	} {
		var out, errw output
		if status := Main(append([]string{"compare"}, c.args...), nil, &out, &errw); status != c.status || !strings.Contains(errw.String(), c.says) {
			t.Errorf("%v: status %d, %q", c.args, status, errw.String())
		}
	}
}
