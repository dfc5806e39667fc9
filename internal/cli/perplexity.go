package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"

	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
	"github.com/spf13/cobra"
)

type perplexityFlags struct {
	engineFlags
	languageFlags
	window, stride int
	json           bool
}

func newPerplexity(e *env) *cobra.Command {
	var f perplexityFlags
	c := &cobra.Command{
		Use:   "perplexity MODEL TEXT",
		Short: "Measure how well a language model predicts a text",
		Long: `Computes the perplexity of a language model on the file TEXT: e to the mean negative
log-likelihood of its tokens. The text is cut into windows of --window tokens, which begin
--stride tokens apart; a token is counted once, in the window where it has the most tokens
before it. One that has none before it in any window is not counted: the first of the text,
and of each window where they do not overlap.`,
		Example: "  salver perplexity model.gguf wiki.txt\n  salver perplexity model.gguf wiki.txt --window 512 --stride 256 --json",
		Args:    cobra.ExactArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.measure(cmd.Context(), e, args[0], args[1]) },
	}
	f.engineFlags.add(c)
	f.languageFlags.add(c)
	fl := c.Flags()
	fl.IntVar(&f.window, "window", 0, "tokens that are seen together; 0 is the model's context, 2048 at most")
	fl.IntVar(&f.stride, "stride", 0, "tokens from one window to the next; 0 is the window")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// likelihood is the sum over tokens of a text.
type likelihood struct {
	nll    float64
	tokens int
}

func (l likelihood) perplexity() float64 { return math.Exp(l.nll / float64(l.tokens)) }

func (f *perplexityFlags) measure(ctx context.Context, e *env, path, text string) error {
	b, err := os.ReadFile(text)
	if err != nil {
		return err
	}
	m, closeModel, err := loadLanguage(&f.engineFlags, &f.languageFlags, path)
	if err != nil {
		return err
	}
	defer closeModel()
	window, stride, err := f.windows(m.Info().Context)
	if err != nil {
		return err
	}
	ids := m.Tokenizer().Encode(string(b), token.EncodeOptions{AddSpecial: true})
	if len(ids) < 2 {
		return fmt.Errorf("%s has %d tokens, expected at least 2", text, len(ids))
	}
	progress := newProgress(e, len(ids), "tokens")
	defer progress.done()
	var total likelihood
	for begin := 0; begin == 0 || begin+window-stride < len(ids); begin += stride {
		end := min(begin+window, len(ids))
		counted := 1
		if begin > 0 {
			counted = window - stride
		}
		if err := total.add(ctx, m, ids[begin:end], max(counted, 1)); err != nil {
			return err
		}
		progress.at(end)
	}
	progress.done()
	if f.json {
		return json.NewEncoder(e.out).Encode(map[string]any{"perplexity": total.perplexity(), "mean_nll": total.nll / float64(total.tokens), "tokens": total.tokens, "window": window, "stride": stride})
	}
	_, err = fmt.Fprintf(e.out, "perplexity %.4f  (mean negative log-likelihood %.6f of %d tokens, windows of %d every %d)\n", total.perplexity(), total.nll/float64(total.tokens), total.tokens, window, stride)
	return err
}

func (f *perplexityFlags) windows(context int) (window, stride int, err error) {
	window, stride = f.window, f.stride
	if window == 0 {
		window = min(context-1, 2048)
	}
	if stride == 0 {
		stride = window
	}
	if window < 2 || window >= context || stride < 1 || stride > window {
		return 0, 0, misusef("--window %d --stride %d: expected 2 ≤ window < %d, which is the context, and 1 ≤ stride ≤ window", window, stride, context)
	}
	return window, stride, nil
}

// add counts the tokens of a window from number from on.
func (l *likelihood) add(ctx context.Context, m *llm.Model, ids []int32, from int) error {
	r := &textgen.Request{Prompt: ids, MaxTokens: 1, Logprobs: -1}
	_, err := m.Generate(ctx, r, func(e *textgen.Event) error {
		for i, t := range e.Prompt {
			if i+1 >= from {
				l.nll -= float64(t.Logprob)
				l.tokens++
			}
		}
		return nil
	})
	return err
}
