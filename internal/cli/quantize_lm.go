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
	"github.com/salver-ml/salver/internal/format/whole"
	"github.com/salver-ml/salver/internal/pool"
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
	fl.StringVar(&f.saveImportance, "save-imatrix", "", "GGUF: file to write the measured importance matrix to")
}

// quantizeLanguage quantizes a language model: a GGUF file or a Hugging Face folder.
func (f *quantizeFlags) quantizeLanguage(cmd *cobra.Command, e *env, path string, p *pool.Pool) error {
	if _, ok := languageMethods[f.method]; !ok {
		return misusef("--method %s is for models of tensors: expected weight-only, gptq, awq or hqq", f.method)
	}
	o, err := f.language.options(f.method)
	if err != nil {
		return err
	}
	o.Pool = p
	if err := apart(path, f.output); err != nil {
		return err
	}
	m, err := lm.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	done, err := f.calibrate(cmd.Context(), e, m, &o, p)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	rep, err := f.writeGGUF(cmd.Context(), e, m, o)
	if err := done(err == nil); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.output, err)
	}
	return f.tell(e, rep)
}

// calibrate finds out what the method wants to know of the model before it is
// written. done is called at the end: what is kept for another try is needed no
// more if all went well.
func (f *quantizeFlags) calibrate(ctx context.Context, e *env, m *lm.Model, o *lm.Options, p *pool.Pool) (done func(ok bool) error, err error) {
	done = func(bool) error { return nil }
	method := languageMethods[f.method]
	if method == lm.Nearest && f.data == "" {
		return done, nil
	}
	bar := newProgress(e, 1, "steps")
	defer bar.done()
	r := lm.Recipe{Method: method, Pool: p, Work: f.output + ".work", GPTQ: f.weight.gptq(), Progress: func(n, all int) {
		bar.all = all
		bar.at(n)
	}, Note: func(s string) {
		bar.done()
		fmt.Fprintf(e.err, "salver: %s\n", s)
	}}
	var c *lm.Calibrated
	if method == lm.HQQ {
		c, err = lm.RoundHQQ(ctx, m, o, r)
	} else if c, err = f.onText(ctx, m, o, r); err == nil && o.Importance == nil {
		o.Importance = c.Importance
	}
	if err != nil || c == nil {
		return done, err
	}
	o.Rounded = c.Rounded
	return func(ok bool) error {
		err := c.Close()
		if ok {
			err = errors.Join(err, os.RemoveAll(r.Work))
		}
		return err
	}, nil
}

// languageMethods are the ways to quantize a language model; static is what is
// meant where nothing is said.
var languageMethods = map[string]lm.Method{"static": lm.Nearest, "weight-only": lm.Nearest, "gptq": lm.GPTQ, "awq": lm.AWQ, "hqq": lm.HQQ}

// gptq are the flags of GPTQ for groups that are blocks.
func (f *weightFlags) gptq() weight.GPTQOptions {
	o := weight.GPTQOptions{Damp: f.damp, ActOrder: f.actOrder, StaticGroups: f.actOrder}
	if !f.minMax {
		o.Clip = weight.MSE
	}
	return o
}

// onText runs the model on --data.
func (f *quantizeFlags) onText(ctx context.Context, m *lm.Model, o *lm.Options, r lm.Recipe) (*lm.Calibrated, error) {
	if f.data == "" {
		return nil, misusef("%v looks at what matrices are multiplied with: give --data TEXT, or --method weight-only or hqq", r.Method)
	}
	text, err := m.ReadText(f.data, f.maxTokens, f.limit)
	if err != nil {
		return nil, err
	}
	if r.Method != lm.Nearest {
		return lm.Calibrate(ctx, m, text, o, r)
	}
	im, err := lm.Measure(ctx, m, text, r.Pool, filepath.Dir(f.output), r.Progress)
	if err != nil {
		return nil, err
	}
	if f.language.saveImportance != "" {
		err = whole.Write(f.language.saveImportance, im.Write)
	}
	return &lm.Calibrated{Importance: im}, err
}

// apart refuses to write over what is read.
func apart(in, out string) error {
	a, err := os.Stat(in)
	if err != nil {
		return err
	}
	if b, err := os.Stat(out); err == nil && os.SameFile(a, b) {
		return misusef("-o %s is the model itself: expected another file", out)
	}
	return nil
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

// writeGGUF writes a model as one GGUF file.
func (f *quantizeFlags) writeGGUF(ctx context.Context, e *env, m *lm.Model, o lm.Options) (rep *report.Report, err error) {
	if !strings.EqualFold(filepath.Ext(f.output), ".gguf") {
		return nil, misusef("expected a name that ends in .gguf")
	}
	bar := newProgress(e, 0, "million weights")
	defer bar.done()
	o.Progress = func(done, all int64) {
		bar.all = int(all / 1e6)
		bar.at(int(done / 1e6))
	}
	err = whole.Write(f.output, func(w io.Writer) error {
		rep, err = lm.Write(ctx, m, w, o)
		return err
	})
	return rep, err
}
