package cli

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagUse lists flags of quantize that only some of its forms read. A form is a
// method, halfForm or languageForm.
type flagUse struct{ forms, flags string }

const (
	halfForm     = "half"
	languageForm = "language"
	weightForms  = "weight-only gptq awq hqq"
)

var flagUses = []flagUse{
	{"static", "calibrator percentile moving-average bins activations contrib min-sqnr max-kld max-drop raise for equalize smoothquant adaround bias-correction"},
	{"static " + languageForm, "format"},
	{"static dynamic", "weights asymmetric-weights per-tensor reduce-range"},
	{"dynamic", "per-row"},
	{"static dynamic " + weightForms, "ops exclude"},
	{"static " + weightForms + " " + languageForm, "symmetric"},
	{weightForms + " " + languageForm, "kind bits group min-max target-bits target-size"},
	{weightForms, "portable embeddings accuracy-level"},
	{"gptq " + languageForm, "damp act-order"},
	{"gptq awq", "sequential"},
	{languageForm, "type tensor-type output-tensor-type token-embedding-type pure allow-requantize imatrix save-imatrix precision"},
	{halfForm, "io"},
	{halfForm + " static dynamic " + weightForms, "to"},
}

// dataFlags say what to calibrate with. Where nothing is calibrated that is said, and
// does no harm.
var dataFlags = []string{"data", "labels", "limit", "max-tokens", "resize", "filter", "pad", "crop", "color", "scale", "mean", "std", "layout"}

// form is how a model is quantized, as flagUses has it, and what that is called.
func (f *quantizeFlags) form(language bool) (form, called string) {
	switch {
	case language:
		return languageForm, "a language model"
	case f.to == "fp16" || f.to == "bf16":
		return halfForm, "--to " + f.to
	}
	return f.method, "--method " + f.method
}

// check refuses flags that would be without effect, since whoever gives one counts on it.
func (f *quantizeFlags) check(cmd *cobra.Command, e *env, language bool) error {
	form, called := f.form(language)
	given := cmd.Flags().Changed
	var idle []string
	for _, u := range flagUses {
		if !slices.Contains(strings.Fields(u.forms), form) {
			for _, name := range strings.Fields(u.flags) {
				if given(name) {
					idle = append(idle, "--"+name)
				}
			}
		}
	}
	if form == halfForm && given("method") {
		idle = append(idle, "--method "+f.method)
	}
	if len(idle) > 0 {
		hint := ""
		if language && given("to") {
			hint = "; --type F16 or BF16 gives floats of 16 bits"
		}
		if form == "static" && (given("target-size") || given("target-bits")) {
			hint = "; all weights are 8 bits there: --min-sqnr and --max-drop choose which, --method weight-only has budgets"
		}
		return misusef("%s: without effect on %s: leave out what is not meant%s", strings.Join(idle, ", "), called, hint)
	}
	if form == halfForm || form == "dynamic" {
		cmd.Flags().Visit(func(p *pflag.Flag) {
			if slices.Contains(dataFlags, p.Name) {
				idle = append(idle, "--"+p.Name)
			}
		})
		if len(idle) > 0 {
			fmt.Fprintf(e.err, "salver: %s needs no samples: %s not read\n", called, strings.Join(idle, ", "))
		}
	}
	return f.agree(given, form)
}

// agree refuses flags that need another one, which is not there.
func (f *quantizeFlags) agree(given func(string) bool, form string) error {
	for _, c := range []struct {
		flag string
		ok   bool
		need string
	}{
		{"percentile", f.static.calibrator == "percentile", "--calibrator percentile"},
		{"moving-average", f.static.calibrator == "minmax", "--calibrator minmax"},
		{"bins", f.static.calibrator != "minmax", "a calibrator with a histogram, not minmax"},
		{"contrib", f.static.format == "qoperator", "--format qoperator"},
		{"raise", f.guard.maxDrop != "" || f.guard.minSQNR > 0 || f.guard.maxKLD > 0, "a bound: --max-drop, --min-sqnr or --max-kld"},
		{"to", form != "dynamic" && !strings.Contains(weightForms, form) || f.to == "int8", "--method static"},
		{"activations", f.to != "int16" || strings.HasSuffix(f.static.activations, "int16"), "no --to int16, or 16 bits itself"},
		{"bits", f.weight.kind == "int", "--kind int"},
		{"group", !strings.HasPrefix(f.weight.kind, "fp8"), "--kind int or nf4"},
		{"accuracy-level", f.weight.kind == "int" && !f.weight.portable, "MatMulNBits: --kind int without --portable"},
		{"damp", f.method == "gptq", "--method gptq"},
		{"act-order", f.method == "gptq", "--method gptq"},
		{"labels", f.data != "", "--data"},
		{"precision", f.data != "", "--data, on which the model is run"},
		{"save-imatrix", f.data != "" && (f.method == "static" || f.method == "weight-only"), "--data, and no method but weight-only"},
		{"imatrix", f.data == "" || f.method != "static" && f.method != "weight-only", "no --data, which measures another"},
	} {
		if given(c.flag) && !c.ok {
			return misusef("--%s: without effect as it stands: it needs %s", c.flag, c.need)
		}
	}
	return nil
}

// checkOutputs refuses to write over what is read, or two files with one name.
func (f *quantizeFlags) checkOutputs(model string) error {
	for _, out := range []string{f.output, f.report, f.language.saveImportance} {
		for _, in := range []string{model, f.data, f.labels, f.language.importance} {
			if out == "" || in == "" {
				continue
			}
			if err := apart(in, out); err != nil {
				return err
			}
		}
	}
	if _, err := os.Stat(filepath.Dir(f.report)); f.report != "" && err != nil { // before work that takes long
		return fmt.Errorf("--report %s: %w", f.report, err)
	}
	if f.report != "" && f.report == f.output {
		return misusef("--report %s is the output too: expected another file", f.report)
	}
	return nil
}

// unmatched says which of --ops and --exclude name nothing: of the model, of what was
// made of it, or of the layers of the report, whose names may be those in between.
func (f *quantizeFlags) unmatched(rep *report.Report, graphs ...*ir.Graph) (warnings []string) {
	names, ops := map[string]bool{}, map[string]bool{}
	for _, g := range graphs {
		for _, n := range g.Nodes {
			names[n.Name], ops[n.Op] = true, true
		}
	}
	for _, l := range rep.Layers {
		names[l.Name], ops[l.Op] = true, true
	}
	for _, op := range f.ops {
		if !ops[op] {
			warnings = append(warnings, fmt.Sprintf("--ops %s: the model has no such operator", op))
		}
	}
	for _, pattern := range f.exclude {
		found := false
		for name := range names {
			ok, _ := path.Match(pattern, name) // a wrong pattern was refused before
			found = found || ok
		}
		if !found {
			warnings = append(warnings, fmt.Sprintf("--exclude %s: no node has such a name; --report FILE.json has the names of all layers", pattern))
		}
	}
	return warnings
}

// mostThreads is far above what helps; the runtime ends a program of 10,000 threads.
const mostThreads = 1024

// checkThreads refuses numbers of threads that cannot be.
func checkThreads(n int) error {
	if n < 0 || n > mostThreads {
		return misusef("--threads %d: expected 0 to %d", n, mostThreads)
	}
	return nil
}
