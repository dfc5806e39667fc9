package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
)

// written is the file of a graph in text form.
func written(t *testing.T, text string) string {
	t.Helper()
	g, err := ir.Parse(text, 17)
	if err != nil {
		t.Fatal(err)
	}
	g.Opsets = map[string]int{"": 17, "ai.onnx.ml": 3}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := (&onnx.Model{Graph: g, IRVersion: 8}).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Labels are for the outputs that they fit; a label file that fits none is an error.
func TestLabelsOfOneOutputOfTwo(t *testing.T) {
	model := written(t, `graph "g" {
  input %x float32[1,3]
  %scores = Softmax(%x)
  %best = ArgMax(%x) {axis = 1}
  output %best
  output %scores
}
`)
	labels := filepath.Join(t.TempDir(), "labels.txt")
	for text, want := range map[string]string{"red\ngreen\nblue\n": "green", "red\ngreen\n": "has 3 classes, the label file 2 lines"} {
		if err := os.WriteFile(labels, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		status, out, errs := salver("", "run", model, "--random", "--labels", labels)
		if (status == 0) != (want == "green") || !strings.Contains(out+errs, want) {
			t.Errorf("%q: status %d\n%s%s\nexpected %q", text, status, out, errs, want)
		}
	}
}

// What only language models have is refused, not ignored.
func TestFlagsOfLanguageModels(t *testing.T) {
	model := written(t, `graph "g" {
  input %x float32[1,2]
  %y = Relu(%x)
  output %y
}
`)
	for _, args := range [][]string{{"run", model, "--random", "--max-tokens", "4"}, {"bench", model, "--concurrency", "2"}} {
		want := args[len(args)-2] + " is for language models"
		if status, _, errs := salver("", args...); status != exitMisuse || !strings.Contains(errs, want) {
			t.Errorf("%v: status %d, %q; expected %q", args[:1], status, errs, want)
		}
	}
}

// The labels that a model has are used without a file.
func TestLabelsOfTheModel(t *testing.T) {
	model := written(t, `graph "g" {
  input %x float32[1,2]
  %s = Softmax(%x)
  %p = ai.onnx.ml::ZipMap(%s) {classlabels_strings = ["rain", "sun"]}
  output %p
}
`)
	if status, out, errs := salver("", "run", model, "--random"); status != 0 || !strings.Contains(out, "rain") || !strings.Contains(out, "sun") {
		t.Errorf("status %d\n%s%s\nexpected both labels", status, out, errs)
	}
	if status, out, errs := salver("", "explain", model); status != 0 || !strings.Contains(out, "a column for each of 2 classes: rain, sun") {
		t.Errorf("status %d\n%s%s\nexpected both labels", status, out, errs)
	}
}

func TestTensorsOfASequenceAreFilesOfTheirOwn(t *testing.T) {
	model := written(t, `graph "g" {
  input %x float32[1,2]
  %a = Neg(%x)
  %s = SequenceConstruct(%x, %a)
  output %s
}
`)
	dir := t.TempDir()
	status, out, errs := salver("", "run", model, "--random", "--output", dir)
	for _, name := range []string{"s.0.npy", "s.1.npy"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("status %d: %v\n%s%s", status, err, out, errs)
		}
	}
}
