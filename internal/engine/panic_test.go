package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/format/onnx"
)

func TestAPanicFailsTheModelAlone(t *testing.T) {
	e, err := open(func() (*onnx.Model, error) { panic("no such luck") }, Options{})
	var defect *exec.PanicError
	if e != nil || !errors.As(err, &defect) || !strings.Contains(err.Error(), "no such luck") || !strings.Contains(string(defect.Stack), "panic_test.go") {
		t.Errorf("got %v, %v; expected a PanicError", e, err)
	}
}
