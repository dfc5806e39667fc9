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
	tokenizer *token.Tokenizer
	stream    *token.Stream // tells where in the text a token begins
	offset    int           // of the next token, in characters
}

// newTextLogprobs begins with the prompt, or with what follows it.
func newTextLogprobs(t *token.Tokenizer, special, prompt bool) *textLogprobs {
	l := &textLogprobs{tokenizer: t, stream: t.StreamAfter(!special)}
	if prompt {
		l.stream = t.Stream(!special)
	}
	l.take()
	return l
}

// add adds a token; its probability is nil for the first of a prompt.
func (l *textLogprobs) add(id int32, logprob *float32, top map[string]float32) {
	own, text := tokenText(l.tokenizer, id), l.stream.Push(id)
	added := utf8.RuneCountInString(text)
	before := max(added-utf8.RuneCountInString(own), 0) // bytes of other tokens that turned out to be no character
	l.Tokens = append(l.Tokens, own)
	l.TextOffset = append(l.TextOffset, l.offset+before)
	l.TokenLogprobs = append(l.TokenLogprobs, logprob)
	l.TopLogprobs = append(l.TopLogprobs, top)
	l.offset += added
}

func (l *textLogprobs) addAll(tokens []textgen.Token) {
	for i := range tokens {
		k := &tokens[i]
		p := finite(k.Logprob)
		top := map[string]float32{tokenText(l.tokenizer, k.ID): p}
		for _, a := range k.Top {
			name := tokenText(l.tokenizer, a.ID) // that of several, where they are halves of characters
			if have, ok := top[name]; !ok || a.Logprob > have {
				top[name] = finite(a.Logprob)
			}
		}
		l.add(k.ID, &p, top)
	}
}

// take gives what was added since the last time.
func (l *textLogprobs) take() *openai.CompletionLogprobs {
	out := l.CompletionLogprobs
	l.CompletionLogprobs = openai.CompletionLogprobs{TextOffset: []int{}, TokenLogprobs: []*float32{}, Tokens: []string{}, TopLogprobs: []map[string]float32{}}
	return &out
}
