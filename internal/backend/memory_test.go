package backend

import (
	"context"
	"testing"

	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/tensor"
)

// A large output is freed by release and not by the collector.
func TestLargeOutputsAreFreed(t *testing.T) {
	var spirals demo.Model
	for _, m := range demo.Models() {
		if m.Name == "spirals" {
			spirals = m
		}
	}
	e, err := engine.Parse(spirals.ONNX, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := New(e)
	defer b.Close()
	rows := exec.LargeOutput/12 + 1
	in := []*tensor.Tensor{tensor.FromSlice(make([]float32, 2*rows), rows, 2)}
	run := func() (held int64, release func()) {
		before := mmap.InUse()
		out, release, err := b.Run(context.Background(), in)
		if err != nil || len(out[0].Data) < exec.LargeOutput {
			t.Fatal(err)
		}
		return mmap.InUse() - before, release
	}
	_, release := run() // makes the arena too
	release()
	held, release := run()
	if held < exec.LargeOutput {
		t.Errorf("%d bytes are held outside the heap, expected the output", held)
	}
	before := mmap.InUse()
	release()
	if freed := before - mmap.InUse(); freed < exec.LargeOutput {
		t.Errorf("release freed %d bytes", freed)
	}
}
