package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

// writeModel writes a graph as a file.
func writeModel(t *testing.T, text string) string {
	t.Helper()
	g, err := ir.Parse(text, 17)
	if err != nil {
		t.Fatal(err)
	}
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := (&onnx.Model{Graph: g, IRVersion: 8}).Write(f); err != nil {
		t.Fatal(err)
	}
	return path
}

// Sizes that are not given follow from those of other inputs and from sums of them; where
// 1 is too small, the error has a command line with others that works.
func TestSizesThatAreNotGiven(t *testing.T) {
	decoder := writeModel(t, `
graph "decoder" {
  input %k float32[batch,seq,4]
  input %a float32[batch,past,4]
  input %b float32[batch,past,4]
  input %mask float32[batch,total,1]
  %ak = Concat(%a, %k) {axis=1}
  %bk = Concat(%b, %k) {axis=1}
  %sum = Add(%ak, %bk)
  %y = Add(%sum, %mask)
  output %y
}
`)
	pictures := writeModel(t, `
graph "pictures" {
  input %x float32[n,1,h,w]
  input %z float32[n,1,h,w]
  %s = Add(%x, %z)
  %y = AveragePool(%s) {kernel_shape=[9,9]}
  output %y
}
`)
	for _, c := range []struct{ args, want, errors string }{
		{decoder, "mask float32[1,2,1]", ""},
		{decoder + " --shape a=2x7x4", "mask float32[2,8,1]", ""},
		{decoder + " --shape a=2x7x4", "b float32[2,7,4]", ""},
		{pictures, "", "no --shape is given for x [n,1,h,w], z [n,1,h,w], whose sizes were taken to be 1; it runs with --shape x=1x1x32x32\n"},
		{pictures + " --shape x=1x1x32x32", "z float32[1,1,32,32]", ""},
		{pictures + " --shape x=1x1x2x2 --shape z=1x1x2x2", "", "AveragePool"},
	} {
		for _, command := range []string{"explain --runs 1 --json ", "bench --seconds 0.01 "} {
			var out, errw output
			status := Main(strings.Fields(command+c.args), strings.NewReader(""), &out, &errw)
			if (status == 0) != (c.errors == "") || !strings.Contains(errw.String(), c.errors) || strings.HasPrefix(command, "explain") && !strings.Contains(out.String(), c.want) {
				t.Errorf("%s%s: status %d, %q, expected %q", command, c.args, status, errw.String(), c.want+c.errors)
			}
		}
	}
}
