package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// A flag that the method does not read is refused, and no file is left.
func TestQuantizeRefusesIdleFlags(t *testing.T) {
	model, data := digits(t, 2, nil)
	for _, flags := range []string{
		"--method dynamic --calibrator entropy", "--method dynamic --min-sqnr 90", "--method dynamic --format qoperator", "--method dynamic --symmetric", "--method dynamic --to int16",
		"--to fp16 --min-sqnr 100", "--to fp16 --method gptq", "--to fp16 --ops Conv", "--method weight-only --max-drop 1%", "--method weight-only --per-row",
		"--method weight-only --type Q4_K_M", "--method weight-only --kind nf4 --bits 8", "--method weight-only --kind fp8-e4m3 --group 64", "--method weight-only --labels nope.npy", "--method hqq --act-order",
		"--data DATA --bits 4", "--data DATA --per-row", "--data DATA --target-size 30%", "--data DATA --io fp16", "--data DATA --damp 3", "--data DATA --contrib",
		"--data DATA --raise int16", "--data DATA --bins 4096 --calibrator minmax", "--data DATA --percentile 99 --calibrator mse", "--data DATA --moving-average 0.1",
		"--data DATA --to int16 --activations int8", "--data DATA --allow-requantize", "--data DATA --sequential",
	} {
		out := filepath.Join(t.TempDir(), "out.onnx")
		status, _, errs := command(append([]string{"quantize", model, "-o", out}, strings.Fields(strings.ReplaceAll(flags, "DATA", data))...)...)
		if status != exitMisuse || !strings.Contains(errs, "without effect") {
			t.Errorf("%s: status %d, %q", flags, status, errs)
		}
		if _, err := os.Stat(out); !os.IsNotExist(err) {
			t.Errorf("%s: the output is there: %v", flags, err)
		}
	}
}

// Samples that nothing reads are no error, but are said to be unread.
func TestQuantizeSaysThatSamplesAreNotRead(t *testing.T) {
	model, data := digits(t, 2, nil)
	out := filepath.Join(t.TempDir(), "out.onnx")
	if status, _, errs := command("quantize", model, "-o", out, "--method", "dynamic", "--data", data); status != exitOK || !strings.Contains(errs, "--data not read") {
		t.Errorf("status %d, %q", status, errs)
	}
}

// Neither the model nor the samples are written over.
func TestQuantizeKeepsWhatItReads(t *testing.T) {
	model, data := digits(t, 2, nil)
	report := strings.TrimSuffix(model, ".onnx") + ".json"
	for _, c := range [][]string{{"-o", model}, {"-o", data}, {"-o", report, "--report", report}} {
		before := fileBytes(t, model)
		if status, _, errs := command(append([]string{"quantize", model, "--data", data}, c...)...); status != exitMisuse || !strings.Contains(errs, "expected another file") {
			t.Errorf("%v: status %d, %q", c, status, errs)
		}
		if !bytes.Equal(before, fileBytes(t, model)) {
			t.Fatalf("%v: the model changed", c)
		}
	}
}

func fileBytes(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each flag of a form is a flag of the command.
func TestFlagUsesExist(t *testing.T) {
	c := newQuantize(&env{})
	for _, u := range flagUses {
		for _, name := range strings.Fields(u.flags) {
			if c.Flags().Lookup(name) == nil {
				t.Errorf("there is no flag --%s", name)
			}
		}
	}
	known := knownFlags()
	c.Flags().VisitAll(func(p *pflag.Flag) {
		if !known[p.Name] {
			t.Errorf("--%s: which forms read it?", p.Name)
		}
	})
}

// knownFlags are those of which it is said who reads them.
func knownFlags() map[string]bool {
	known := map[string]bool{"output": true, "method": true, "threads": true, "json": true, "report": true, "help": true}
	for _, u := range flagUses {
		for _, name := range strings.Fields(u.flags) {
			known[name] = true
		}
	}
	for _, name := range dataFlags {
		known[name] = true
	}
	return known
}

// Names that nothing has are told; numbers of threads that cannot be are refused.
func TestQuantizeWarnsOfUnmatchedNames(t *testing.T) {
	model, data := digits(t, 2, nil)
	out := filepath.Join(t.TempDir(), "out.onnx")
	status, _, errs := command("quantize", model, "-o", out, "--data", data, "--exclude", "nonsense*", "--exclude", "*fc2*", "--ops", "Conv,Gemm,Foo")
	if status != exitOK || !strings.Contains(errs, "--exclude nonsense*: no node") || !strings.Contains(errs, "--ops Foo: ") || strings.Count(errs, "warning") != 2 {
		t.Errorf("status %d, %q", status, errs)
	}
	for _, args := range [][]string{{"quantize", model, "-o", out, "--method", "dynamic"}, {"tune", model}, {"run", model}, {"compare", model, model, "--data", data}} {
		if status, _, errs := command(append(args, "--threads", "100000")...); status != exitMisuse || !strings.Contains(errs, "0 to 1024") {
			t.Errorf("%v: status %d, %q", args, status, errs)
		}
	}
	for _, args := range [][]string{{"compare", model, model, "--data", data, "--window", "5"}, {"compare", chatModel, chatModel, "--data", data, "--runs", "3"}} {
		if status, _, errs := command(args...); status != exitMisuse || !strings.Contains(errs, "without effect") {
			t.Errorf("%v: status %d, %q", args, status, errs)
		}
	}
	if status, _, errs := command("tune", model, "--tolerance", "0.1"); status != exitMisuse || !strings.Contains(errs, "--memory") {
		t.Errorf("tune: status %d, %q", status, errs)
	}
}
