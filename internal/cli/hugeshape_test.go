package cli

import (
	"strings"
	"testing"
)

// Random inputs of an impossible size are refused instead of ending the process.
func TestRandomInputsOfHugeShapes(t *testing.T) {
	model := modelFile(t, "iris.onnx", true)
	for _, args := range []string{"bench " + model, "run --random " + model, "explain " + model} {
		var out, errw output
		status := Main(append(strings.Fields(args), "--shape", "measurements=99999999999x4"), strings.NewReader(""), &out, &errw)
		if status != exitFailure || !strings.Contains(errw.String(), "expected at most") {
			t.Errorf("%s: status %d, %q", args, status, errw.String())
		}
	}
}
