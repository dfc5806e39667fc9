package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/tensor"
)

// A filter that no case matches is a mistake, not a success.
func TestCheckOfNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "suite", "case")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(modelFile(t, "iris.onnx", true))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	suite := filepath.Dir(filepath.Dir(dir))
	for filter, want := range map[string]string{"": "0 passed, 0 failed, 1 skipped", "nothing": `--filter "nothing"`} {
		var out, errw output
		status := Main([]string{"check", suite, "--filter", filter}, strings.NewReader(""), &out, &errw)
		if said := out.String() + errw.String(); !strings.Contains(said, want) || (status == exitOK) != (filter == "") {
			t.Errorf("--filter %q: status %d, %q", filter, status, said)
		}
	}
}

// A worker answers a bad line, and goes on.
func TestWorkerAnswersBadLines(t *testing.T) {
	var out, errw output
	lines := "not JSON\n{\"run_s\": 1}\n{\"quit\": 1}\n"
	status := Main([]string{"bench", "--worker"}, strings.NewReader(lines), &out, &errw)
	answers := strings.Split(strings.TrimSpace(out.String()), "\n")
	if status != exitOK || len(answers) != 3 || !strings.Contains(answers[0], `{"error":"request \"not JSON\": invalid character`) ||
		!strings.Contains(answers[1], "expected a model first") || !strings.Contains(answers[2], "rss_peak") {
		t.Errorf("status %d, %q, %q", status, answers, errw.String())
	}
}

// A worker answers inputs that a model can't take, and goes on without it.
func TestWorkerAnswersBadInputs(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "in.npz")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(npy.WriteArchive(f, false, npy.Array{Name: "in:other", Tensor: tensor.FromSlice([]float32{1})}), f.Close()); err != nil {
		t.Fatal(err)
	}
	var out, errw output
	lines := fmt.Sprintf("{\"model\": %q, \"inputs\": %q, \"check\": %[2]q}\n{\"run_s\": 1}\n{\"quit\": 1}\n", modelFile(t, "iris.onnx", true), file)
	status := Main([]string{"bench", "--worker"}, strings.NewReader(lines), &out, &errw)
	answers := strings.Split(strings.TrimSpace(out.String()), "\n")
	if status != exitOK || len(answers) != 3 || !strings.Contains(answers[0], "has no array") ||
		!strings.Contains(answers[1], "expected a model first") || !strings.Contains(answers[2], "rss_peak") {
		t.Errorf("status %d, %q, %q", status, answers, errw.String())
	}
}

// A command that a signal ended names the signal; other errors stay.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop, other := errors.New("interrupt signal received"), errors.New("no such file")
	cancel(stop)
	if err := interrupted(ctx, fmt.Errorf("layer 3: %w", context.Canceled)); err != stop {
		t.Error(err)
	}
	if err := interrupted(ctx, other); err != other {
		t.Error(err)
	}
	if err := interrupted(context.Background(), context.Canceled); err != context.Canceled {
		t.Error(err)
	}
}

// An interrupted optimize writes nothing.
func TestOptimizeStops(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("interrupted")
	cancel(stop)
	to := filepath.Join(t.TempDir(), "out.onnx")
	f := optimizeFlags{output: to, level: 3}
	if err := f.run(ctx, &env{out: io.Discard, err: io.Discard}, modelFile(t, "iris.onnx", true)); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(to); !os.IsNotExist(err) {
		t.Errorf("the output is there: %v", err)
	}
}

// The model that is optimized stays: the result doesn't take its place.
func TestOptimizeOntoItself(t *testing.T) {
	model := modelFile(t, "iris.onnx", true)
	link := filepath.Join(t.TempDir(), "link.onnx")
	if err := os.Symlink(model, link); err != nil {
		t.Skip(err)
	}
	for _, to := range []string{model, link} {
		var out, errw output
		if status := Main([]string{"optimize", model, "-o", to}, strings.NewReader(""), &out, &errw); status != exitMisuse || !strings.Contains(errw.String(), "expected another file") {
			t.Errorf("-o %s: status %d, %q", to, status, errw.String())
		}
	}
}
