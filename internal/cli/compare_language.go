package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/quant/guard"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// languageComparison is what compare --json prints of language models.
type languageComparison struct {
	A      compared `json:"a"`
	B      compared `json:"b"`
	Tokens int      `json:"tokens"` // whose predictions were compared
	Window int      `json:"window"`
	KLD    struct {
		Mean   float64 `json:"mean"` // nats
		Median float64 `json:"median"`
		P99    float64 `json:"p99"`
		Max    float64 `json:"max"`
	} `json:"kld"`
	Top1 float64 `json:"top1_agreement"`
}

func (f *compareFlags) languages(ctx context.Context, e *env, pathA, pathB string) error {
	if f.limit < 0 || f.window < 0 || f.window == 1 {
		return misusef("--limit %d --window %d: expected 0 or more, and 2 tokens at least", f.limit, f.window)
	}
	text, err := os.ReadFile(f.data)
	if err != nil {
		return err
	}
	a, closeA, err := loadLanguage(&f.engineFlags, &f.languageFlags, pathA)
	if err != nil {
		return fmt.Errorf("%s: %w", pathA, err)
	}
	defer closeA()
	b, closeB, err := loadLanguage(&f.engineFlags, &f.languageFlags, pathB)
	if err != nil {
		return fmt.Errorf("%s: %w", pathB, err)
	}
	defer closeB()
	if x, y := a.Info().Vocabulary, b.Info().Vocabulary; x != y {
		return fmt.Errorf("%s has a vocabulary of %d tokens, %s one of %d: their predictions cannot be compared", pathA, x, pathB, y)
	}
	ids := a.Tokenizer().Encode(string(text), token.EncodeOptions{AddSpecial: true})
	if other := b.Tokenizer().Encode(string(text), token.EncodeOptions{AddSpecial: true}); !slices.Equal(ids, other) {
		return fmt.Errorf("%s and %s make different tokens of %s: their predictions cannot be compared", pathA, pathB, f.data)
	}
	if f.limit > 0 {
		ids = ids[:min(f.limit, len(ids))]
	}
	if len(ids) < 2 {
		return fmt.Errorf("%s has %d tokens, expected at least 2", f.data, len(ids))
	}
	c := &languageComparison{A: compared{Path: pathA}, B: compared{Path: pathB}, Window: f.window}
	most := min(a.Info().Context, b.Info().Context) - 1
	switch {
	case c.Window == 0:
		c.Window = min(most, 512)
	case c.Window > most:
		return misusef("--window %d: the context of the models allows %d", c.Window, most)
	}
	if err := c.measure(ctx, e, a, b, ids); err != nil {
		return err
	}
	for _, m := range []struct {
		*compared
		*llm.Model
	}{{&c.A, a}, {&c.B, b}} {
		if m.Bytes, err = modelBytes(m.Path); err != nil {
			return err
		}
		if f.runs > 0 {
			if m.TokensS, err = promptSpeed(ctx, m.Model, ids[:min(len(ids), c.Window)]); err != nil {
				return err
			}
		}
	}
	if f.json {
		return json.NewEncoder(e.out).Encode(c)
	}
	return c.print(e)
}

// measure goes over the text window by window.
func (c *languageComparison) measure(ctx context.Context, e *env, a, b *llm.Model, ids []int32) error {
	progress := newProgress(e, len(ids), "tokens")
	defer progress.done()
	var apart guard.Divergence
	var likelyA, likelyB likelihood
	for begin := 0; begin+1 < len(ids); begin += c.Window {
		window := ids[begin:min(begin+c.Window, len(ids))]
		if len(window) < 2 {
			break
		}
		err := together(ctx, a, b, window, func(position int, x, y []float32) {
			apart.Add(y, x)
			next := int(window[position+1])
			likelyA.nll -= guard.LogProb(x, next)
			likelyB.nll -= guard.LogProb(y, next)
		})
		if err != nil {
			return err
		}
		progress.at(begin + len(window))
	}
	likelyA.tokens, likelyB.tokens = apart.Len(), apart.Len()
	c.Tokens, c.Top1 = apart.Len(), apart.Agreement()
	c.KLD.Mean, c.KLD.Median, c.KLD.P99, c.KLD.Max = apart.Mean(), apart.Quantile(.5), apart.Quantile(.99), apart.Quantile(1)
	c.A.Perplexity, c.B.Perplexity = likelyA.perplexity(), likelyB.perplexity()
	return nil
}

// together computes a text with two models at once and gives the logits of both at
// each token. Neither model's are kept: whoever is first at a token waits for the other.
func together(ctx context.Context, a, b *llm.Model, ids []int32, visit func(position int, x, y []float32)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	offered, taken := make(chan []float32), make(chan struct{})
	var errB error
	var wait sync.WaitGroup
	wait.Go(func() {
		errB = b.Logits(ctx, ids, func(_ int, logits []float32) {
			select {
			case offered <- logits:
				select {
				case <-taken:
				case <-ctx.Done():
				}
			case <-ctx.Done():
			}
		})
		if errB != nil {
			stop()
		}
	})
	errA := a.Logits(ctx, ids, func(position int, x []float32) {
		select {
		case y := <-offered:
			visit(position, x, y)
			select {
			case taken <- struct{}{}:
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
	})
	if errA != nil {
		stop()
	}
	wait.Wait()
	if errors.Is(errA, context.Canceled) && errB != nil {
		return errB
	}
	return errors.Join(errA, errB)
}

// promptSpeed is how many tokens of a prompt a model computes in a second: the best
// of three runs that find nothing in the cache.
func promptSpeed(ctx context.Context, m *llm.Model, ids []int32) (float64, error) {
	best := 0.
	for i := range 3 {
		r := &textgen.Request{Prompt: ids, MaxTokens: 1, Logprobs: -1, PromptLogprobs: -1, Tenant: fmt.Sprint("run ", i)}
		start := time.Now()
		if _, err := m.Generate(ctx, r, func(*textgen.Event) error { return nil }); err != nil {
			return 0, err
		}
		best = max(best, float64(len(ids))/time.Since(start).Seconds())
	}
	return best, nil
}

func (c *languageComparison) print(e *env) error {
	t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "\tMB\tperplexity\tprompt tok/s\tmodel\n")
	for i, m := range []compared{c.A, c.B} {
		fmt.Fprintf(t, "%c\t%.2f\t%.4f\t%.1f\t%s\n", 'A'+i, float64(m.Bytes)/1e6, m.Perplexity, m.TokensS, m.Path)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.out, "B has %.3f of A's size\nKLD of %d predictions, nats: mean %.6f, median %.6f, 99 %% below %.6f, largest %.6f\nthe same token is the likeliest in %.2f %%\n",
		float64(c.B.Bytes)/float64(max(c.A.Bytes, 1)), c.Tokens, c.KLD.Mean, c.KLD.Median, c.KLD.P99, c.KLD.Max, 100*c.Top1)
	return err
}
