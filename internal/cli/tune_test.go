package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runCommand gives what a command prints.
func runCommand(args ...string) (status int, out, errw string) {
	var o, e output
	status = Main(args, strings.NewReader(""), &o, &e)
	return status, o.String(), e.String()
}

func TestTune(t *testing.T) {
	model, dir := modelFile(t, "digits.onnx", true), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	cache := filepath.Join(dir, "salver", "tuning.json")
	tune := []string{"tune", model, "--seconds", "0.1", "--threads", "1", "--cache", cache, "--json"}
	status, out, errw := runCommand(tune...)
	var r struct {
		Layers, Measured int
		Cache, Dropped   string
		Host             struct{ CPU, ISA, Program string }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitOK || r.Layers == 0 || r.Measured != r.Layers || r.Cache != cache || r.Host.ISA == "" {
		t.Fatalf("status %d, %v\n%s%s", status, err, out, errw)
	}
	if r.Dropped != "" {
		t.Skip(r.Dropped) // the machine is too busy
	}
	run := func(more ...string) (int, string, string) {
		return runCommand(append([]string{"run", model, "--random", "--threads", "1"}, more...)...)
	}
	for _, more := range [][]string{nil, {"--tuned", cache}, {"--no-tune-cache"}} {
		if status, _, errw := run(more...); status != exitOK || errw != "" {
			t.Errorf("%v: status %d, %s", more, status, errw)
		}
	}
	b, err := os.ReadFile(cache)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(b), `"isa": "`, `"isa": "other-`, 1)
	if err := os.WriteFile(cache, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errw := run("--tuned", cache); status != exitFailure || !strings.Contains(errw, "it was measured with kernels for other-") {
		t.Errorf("another host's cache: status %d, %s", status, errw)
	}
	status, _, errw = run()
	if os.Getenv("XDG_CACHE_HOME") == dir && strings.Contains(errw, "left out") == (status != exitOK) {
		t.Errorf("another host's cache in the usual place: status %d, %s", status, errw)
	}
	if status, _, _ := run("--no-tune-cache", "--tuned", cache); status != exitMisuse {
		t.Errorf("both flags: status %d", status)
	}
	if status, _, errw := run("--tuned", filepath.Join(dir, "none.json")); status != exitFailure || !strings.Contains(errw, "--tuned") {
		t.Errorf("no such cache: status %d, %s", status, errw)
	}
}

func TestTuneMisuse(t *testing.T) {
	for _, flag := range []string{"--seconds=0", "--seconds=inf", "--tolerance=2", "--precision=auto", "--memory=-1"} {
		if status, _, errw := runCommand("tune", "model.onnx", flag); status != exitMisuse {
			t.Errorf("%s: status %d, %s", flag, status, errw)
		}
	}
	if status, _, errw := runCommand("tune", chatModel); status != exitMisuse || !strings.Contains(errw, "language model") {
		t.Errorf("a language model: status %d, %s", status, errw)
	}
}
