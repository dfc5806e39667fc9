package openaiapi

import (
	"strings"
	"unicode/utf8"

	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// tokenText is what a token stands for. Bytes that are no characters by
// themselves are replaced: the chat's form of probabilities has them beside it.
func tokenText(t *token.Tokenizer, id int32) string {
	return strings.ToValidUTF8(string(t.Bytes(id)), string(utf8.RuneError))
}

// finite is a logarithm that JSON can carry.
func finite(logprob float32) float32 { return max(logprob, -9999) }

func chatLogprobs(m textgen.Model, tokens []textgen.Token) []openai.TokenLogprob {
	tk := m.Tokenizer()
	out := make([]openai.TokenLogprob, 0, len(tokens))
	for i := range tokens {
		l := openai.TokenLogprob{Alternative: alternative(tk, tokens[i].ID, tokens[i].Logprob), Top: []openai.Alternative{}}
		for _, a := range tokens[i].Top {
			l.Top = append(l.Top, alternative(tk, a.ID, a.Logprob))
		}
		out = append(out, l)
	}
	return out
}

func alternative(t *token.Tokenizer, id int32, logprob float32) openai.Alternative {
	a := openai.Alternative{Token: tokenText(t, id), Logprob: finite(logprob), Bytes: []int{}}
	for _, b := range t.Bytes(id) {
		a.Bytes = append(a.Bytes, int(b))
	}
	return a
}

// textLogprobs collects the probabilities of a completion's tokens.
type textLogprobs struct {
	openai.CompletionLogprobs
	offset int // of the next token, in characters
}

func newTextLogprobs() *textLogprobs {
	return &textLogprobs{CompletionLogprobs: openai.CompletionLogprobs{TextOffset: []int{}, TokenLogprobs: []*float32{}, Tokens: []string{}, TopLogprobs: []map[string]float32{}}}
}

// add adds tokens. first is that of a prompt, which nothing precedes.
func (l *textLogprobs) add(t *token.Tokenizer, tokens []textgen.Token, first bool) {
	for i := range tokens {
		k := &tokens[i]
		text := tokenText(t, k.ID)
		l.Tokens = append(l.Tokens, text)
		l.TextOffset = append(l.TextOffset, l.offset)
		l.offset += utf8.RuneCountInString(text)
		if first && i == 0 {
			l.TokenLogprobs, l.TopLogprobs = append(l.TokenLogprobs, nil), append(l.TopLogprobs, nil)
			continue
		}
		p := finite(k.Logprob)
		l.TokenLogprobs = append(l.TokenLogprobs, &p)
		top := map[string]float32{text: p}
		for _, a := range k.Top {
			name := tokenText(t, a.ID)
			if have, ok := top[name]; !ok || a.Logprob > have {
				top[name] = finite(a.Logprob)
			}
		}
		l.TopLogprobs = append(l.TopLogprobs, top)
	}
}

// take gives what was added since the last time.
func (l *textLogprobs) take() *openai.CompletionLogprobs {
	out := l.CompletionLogprobs
	*l = textLogprobs{CompletionLogprobs: newTextLogprobs().CompletionLogprobs, offset: l.offset}
	return &out
}
