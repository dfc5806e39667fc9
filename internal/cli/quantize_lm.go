package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/packed"
	"github.com/salver-ml/salver/internal/format/whole"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/guard"
	"github.com/salver-ml/salver/internal/quant/lm"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/quant/weight"
	"github.com/spf13/cobra"
)

// quantizeLanguageFlags are those of language models.
type quantizeLanguageFlags struct {
	mix                        string
	overrides                  []string
	output, embedding          string
	pure, requantize           bool
	importance, saveImportance string
	targetBits                 float64
	targetSize                 string
	precision                  string
}

func (f *quantizeLanguageFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.mix, "type", "", "GGUF: "+strings.Join(lm.MixNames(), ", ")+"; Q4_K_M by default")
	fl.StringArrayVar(&f.overrides, "tensor-type", nil, "GGUF: format of tensors by name or pattern, e.g. '*.ffn_down.weight=q6_k' (may be repeated)")
	fl.StringVar(&f.output, "output-tensor-type", "", "GGUF: format of the last product's matrix")
	fl.StringVar(&f.embedding, "token-embedding-type", "", "GGUF: format of the embedding of tokens")
	fl.BoolVar(&f.pure, "pure", false, "GGUF: the same format for all matrices")
	fl.BoolVar(&f.requantize, "allow-requantize", false, "GGUF: round weights again that were rounded before")
	fl.StringVar(&f.importance, "imatrix", "", "GGUF: importance matrix of llama-imatrix; with --data it is measured")
	fl.Float64Var(&f.targetBits, "target-bits", 0, "GGUF, weight-only: formats (Q2_K to Q8_0, or 4 and 8 bits) by what they cost, with so many bits a weight on average, e.g. 4.5")
	fl.StringVar(&f.targetSize, "target-size", "", "GGUF, weight-only: likewise, with so much of the original's size, e.g. 30%")
	fl.StringVar(&f.saveImportance, "save-imatrix", "", "GGUF: file to write the measured importance matrix to")
	fl.StringVar(&f.precision, "precision", "fp32", "arithmetic in which a language model is run on --data: fp32, or bf16 on CPUs with AMX or AMD's AVX-512 BF16")
}

// quantizeLanguage quantizes a language model: a GGUF file or a Hugging Face folder.
func (f *quantizeFlags) quantizeLanguage(cmd *cobra.Command, e *env, path string, p *pool.Pool) error {
	if _, ok := languageMethods[f.method]; !ok {
		return misusef("--method %s is for models of tensors: expected weight-only, gptq, awq or hqq", f.method)
	}
	if d := f.weight.damp; !(d > 0 && d <= weight.MaxDamp) {
		return misusef("--damp %v: expected a number above 0, and at most %v", d, weight.MaxDamp)
	}
	if _, err := os.Stat(filepath.Dir(filepath.Clean(f.output))); err != nil { // before work that takes long
		return fmt.Errorf("-o %s: %w", f.output, err)
	}
	o, err := f.language.options(f.method)
	if err != nil {
		return err
	}
	m, err := lm.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	o.Pool = p
	j := &languageJob{f: f, e: e, m: m, o: o, pool: p}
	if err := j.aim(cmd); err != nil {
		return err
	}
	c, err := j.calibrate(cmd.Context())
	if err == nil {
		err = j.spread(cmd.Context())
	}
	if err := context.Cause(cmd.Context()); err != nil && j.target != nil {
		return fmt.Errorf("%w: the same command goes on from what is in %s", err, j.work())
	}
	if err != nil {
		return fmt.Errorf("%s: %w%s", path, err, j.kept())
	}
	rep, err := j.write(cmd.Context(), c)
	if c != nil {
		err = errors.Join(err, c.Close(err == nil))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.output, err)
	}
	rep.Method = languageMethods[f.method].String()
	return f.tell(e, rep)
}

// languageJob is one language model to quantize.
type languageJob struct {
	f      *quantizeFlags
	e      *env
	m      *lm.Model
	o      lm.Options
	pool   *pool.Pool
	target lm.Target // nil: the method rounds nothing before the model is written
	folder bool
}

// work is the folder in which methods that take long keep what is done.
func (j *languageJob) work() string { return filepath.Clean(j.f.output) + ".work" }

// kept tells of the work folder, if there is one.
func (j *languageJob) kept() string {
	if _, err := os.Stat(j.work()); err != nil {
		return ""
	}
	return fmt.Sprintf("; %s has what was done before: remove it to begin anew", j.work())
}

// languageMethods are the ways to quantize a language model; static is what is
// meant where nothing is said.
var languageMethods = map[string]lm.Method{"static": lm.Nearest, "weight-only": lm.Nearest, "gptq": lm.GPTQ, "awq": lm.AWQ, "hqq": lm.HQQ}

// aim finds out in which form the model is to be written.
func (j *languageJob) aim(cmd *cobra.Command) error {
	f, method := j.f, languageMethods[j.f.method]
	fl := cmd.Flags()
	format := "gguf" // where nothing is said; graphs have another default
	if fl.Changed("format") {
		format = f.static.format
	}
	j.folder = format != "gguf"
	if gguf := strings.EqualFold(filepath.Ext(f.output), ".gguf"); gguf == j.folder {
		return misusef("-o %s: expected a name that ends in .gguf with --format gguf, and the name of a folder with the other formats", f.output)
	}
	simulated := j.o.Mix.IsFloat() && (method != lm.Nearest || fl.Changed("bits") || fl.Changed("group") || fl.Changed("kind"))
	if err := formatFlags(fl.Changed, j.folder, simulated, method); err != nil {
		return err
	}
	if !j.folder && !simulated {
		if method != lm.Nearest {
			j.target = lm.Blocks(j.m, &j.o)
		}
		return nil
	}
	if list, err := os.ReadDir(f.output); j.folder && err == nil && len(list) > 0 {
		return misusef("-o %s: the folder is there already, and not empty", f.output)
	}
	if !fl.Changed("group") {
		f.weight.group = 128
	}
	if format != "awq" && j.folder && !fl.Changed("symmetric") {
		f.symmetric = true // what most readers of these layouts expect
	}
	s, err := f.scheme()
	if err != nil {
		return err
	}
	if !j.folder {
		s.FloatZero = method == lm.HQQ && !s.Symmetric // nothing but the zero points moves
		j.target = lm.Floats(s)
		return nil
	}
	c, err := f.packedConfig(format, s)
	if err != nil {
		return err
	}
	j.target, err = lm.Layers(j.m, c, s)
	return err
}

// formatFlags refuses flags that the output's form leaves without effect.
func formatFlags(given func(string) bool, folder, simulated bool, method lm.Method) error {
	idle, why := "", ""
	switch {
	case folder:
		idle, why = "type tensor-type output-tensor-type token-embedding-type pure imatrix save-imatrix", "is for GGUF files"
	case !simulated:
		idle, why = "bits group kind symmetric", "is for folders and --type F32: the formats of GGUF files have theirs, see --type"
		if method != lm.GPTQ {
			idle += " min-max"
		}
	}
	for _, name := range strings.Fields(idle) {
		if given(name) {
			return misusef("--%s %s", name, why)
		}
	}
	return nil
}

// packedConfig is the configuration of a folder.
func (f *quantizeFlags) packedConfig(format string, s weight.Scheme) (*packed.Config, error) {
	c := &packed.Config{Bits: s.Width(), Group: s.Group, Symmetric: s.Symmetric, ActOrder: f.weight.actOrder, Damp: f.weight.damp}
	switch format {
	case "gptq":
		c.Method = packed.GPTQ
		if !s.Symmetric {
			c.Method = packed.GPTQv2
		}
	case "awq":
		c.Method = packed.AWQ
	case "compressed-tensors":
		c.Method, c.Format = packed.Compressed, "pack-quantized"
		if s.Kind != weight.Int {
			c.Format = "float-quantized"
		}
	default:
		return nil, misusef("--format %q: expected gguf, gptq, awq or compressed-tensors", format)
	}
	return c, nil
}

// calibrate finds out what the method wants to know of the model before it is
// written; nil if that is nothing.
func (j *languageJob) calibrate(ctx context.Context) (*lm.Calibrated, error) {
	f, method := j.f, languageMethods[j.f.method]
	if j.target == nil && f.data == "" {
		return nil, nil
	}
	if f.data == "" && (method == lm.GPTQ || method == lm.AWQ) {
		return nil, misusef("%v looks at what matrices are multiplied with: give --data TEXT, or --method weight-only or hqq", method)
	}
	bar := newProgress(j.e, 1, "steps")
	defer bar.done()
	r := lm.Recipe{Method: method, Pool: j.pool, Work: j.work(), GPTQ: f.weight.gptq(j.folder), Progress: func(n, all int) {
		bar.all = all
		bar.at(n)
	}, Note: func(s string) {
		bar.done()
		fmt.Fprintf(j.e.err, "salver: %s\n", s)
	}}
	var text *lm.Text
	if f.data != "" {
		var err error
		if r.Precision, err = op.ParsePrecision(f.language.precision); err == nil {
			err = r.Precision.Available()
		}
		if err != nil {
			return nil, misuse{fmt.Errorf("--precision: %w", err)}
		}
		if text, err = j.m.ReadText(f.data, f.maxTokens, f.limit); err != nil {
			return nil, err
		}
	}
	if j.target == nil {
		return nil, j.measure(ctx, text, r)
	}
	c, err := lm.Calibrate(ctx, j.m, text, j.target, r)
	if err == nil && j.o.Importance == nil {
		j.o.Importance = c.Importance
	}
	return c, err
}

// budget reads the flags; it is empty if there is none.
func (f *quantizeLanguageFlags) budget() (b guard.Budget, err error) {
	b.Bits = f.targetBits
	if f.targetSize != "" {
		if b.Share, err = parseShare(f.targetSize); err != nil {
			return b, misuse{fmt.Errorf("--target-size %w", err)}
		}
	}
	if b.Bits < 0 || b.Bits > 0 && b.Share > 0 {
		return b, misusef("--target-bits %g --target-size %q: expected one of them, above 0", b.Bits, f.targetSize)
	}
	return b, nil
}

// spread chooses formats within a budget, if there is one.
func (j *languageJob) spread(ctx context.Context) error {
	b, err := j.f.language.budget()
	switch {
	case err != nil || b == (guard.Budget{}):
		return err
	case j.target != nil && languageMethods[j.f.method] != lm.AWQ || j.folder:
		return misusef("--target-bits and --target-size choose formats of GGUF files: expected --method weight-only or awq")
	}
	return lm.Spread(ctx, j.m, &j.o, b)
}

// measure measures the importance of columns.
func (j *languageJob) measure(ctx context.Context, text *lm.Text, r lm.Recipe) (err error) {
	if j.o.Importance, err = lm.Measure(ctx, j.m, text, r); err != nil {
		return err
	}
	if path := j.f.language.saveImportance; path != "" {
		return whole.Write(path, j.o.Importance.Write)
	}
	return nil
}

// gptq are the flags of GPTQ. Groups of act-order are neighbours where blocks are.
func (f *weightFlags) gptq(folder bool) weight.GPTQOptions {
	o := weight.GPTQOptions{Damp: f.damp, ActOrder: f.actOrder, StaticGroups: f.actOrder && !folder}
	if !f.minMax {
		o.Clip = weight.MSE
	}
	return o
}

// write writes the output.
func (j *languageJob) write(ctx context.Context, c *lm.Calibrated) (rep *report.Report, err error) {
	if j.folder {
		return lm.WriteFolder(ctx, j.target, c, j.f.output)
	}
	if c != nil {
		if j.o.Rounded, err = c.Rounded(); err != nil {
			return nil, err
		}
	}
	bar := newProgress(j.e, 0, "million weights")
	defer bar.done()
	j.o.Progress = func(done, all int64) {
		bar.all = int(all / 1e6)
		bar.at(int(done / 1e6))
	}
	err = whole.Write(j.f.output, func(w io.Writer) error {
		rep, err = lm.Write(ctx, j.m, w, j.o)
		return err
	})
	return rep, err
}

// options reads the flags that say which format each tensor gets.
func (f *quantizeLanguageFlags) options(method string) (o lm.Options, err error) {
	name := f.mix
	if name == "" {
		name = "Q4_K_M"
		switch method {
		case "gptq":
			name = "Q4_0"
		case "hqq":
			name = "Q4_1"
		}
	}
	if o.Mix, err = lm.ParseMix(name); err != nil {
		return o, misuse{fmt.Errorf("--type: %w", err)}
	}
	for _, s := range f.overrides {
		v, err := lm.ParseOverride(s)
		if err != nil {
			return o, misuse{fmt.Errorf("--tensor-type: %w", err)}
		}
		o.Overrides = append(o.Overrides, v)
	}
	for _, t := range []struct {
		flag, value string
		to          **block.Format
	}{{"--output-tensor-type", f.output, &o.Output}, {"--token-embedding-type", f.embedding, &o.Embedding}} {
		if t.value == "" {
			continue
		}
		v, err := lm.ParseFormat(t.value)
		if err != nil {
			return o, misuse{fmt.Errorf("%s: %w", t.flag, err)}
		}
		*t.to = &v
	}
	o.Pure, o.Requantize = f.pure, f.requantize
	if f.importance != "" {
		o.Importance, err = lm.ReadImportance(f.importance)
	}
	return o, err
}
