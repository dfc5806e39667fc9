package cli

import (
	"context"
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
	rep, err := f.writeGGUF(cmd.Context(), e, m, o)
	if err != nil {
		return fmt.Errorf("%s: %w", f.output, err)
	}
	return f.tell(e, rep)
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
		if method == "gptq" || method == "hqq" {
			name = "Q4_0"
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
