package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
)

// Labels are for the outputs that they fit; a label file that fits none is an error.
func TestLabelsOfOneOutputOfTwo(t *testing.T) {
	g, err := ir.Parse(`graph "g" {
  input %x float32[1,3]
  %scores = Softmax(%x)
  %best = ArgMax(%x) {axis = 1}
  output %best
  output %scores
}
`, 17)
	if err != nil {
		t.Fatal(err)
	}
	g.Opsets = map[string]int{"": 17}
	dir := t.TempDir()
	model := filepath.Join(dir, "m.onnx")
	if err := (&onnx.Model{Graph: g, IRVersion: 8}).WriteFile(model); err != nil {
		t.Fatal(err)
	}
	labels := filepath.Join(dir, "labels.txt")
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
