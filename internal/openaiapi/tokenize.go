package openaiapi

import (
	"net/http"

	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/token"
)

// maxTokenized bounds a text of which all tokens are wanted, in bytes, as templates bound
// conversations.
const maxTokenized = 16 << 20

// tokenizeRequest is a text, or a conversation, to be cut into tokens.
type tokenizeRequest struct {
	model  string
	prompt *string
	answer.Conversation
	bare    bool
	strings bool
}

var tokenizeFields = concat(
	fields.Table[*tokenizeRequest]{
		fields.Text("model", "Its name, or `NAME:VERSION`.", answer.MaxName, func(q *tokenizeRequest) *string { return &q.model }),
		fields.Any("prompt", "string of at most 16 MiB", "The text; or give `messages`.", func(q *tokenizeRequest, v fields.Value) error {
			s, err := v.Text()
			if err == nil && len(s) > maxTokenized {
				err = v.Errorf("expected at most %d bytes, found %d", maxTokenized, len(s))
			}
			q.prompt = &s
			return err
		}),
		fields.Any("add_special_tokens", "boolean", "false leaves out what the tokenizer puts before a text. Default: true. Messages get none.", func(q *tokenizeRequest, v fields.Value) error {
			add, err := v.Bool()
			q.bare = !add
			return err
		}),
		fields.Bool("return_token_strs", "Gives the tokens' entries in the vocabulary too.", func(q *tokenizeRequest) *bool { return &q.strings }),
	},
	fields.In(conversationFields, func(q *tokenizeRequest) *answer.Conversation { return &q.Conversation }),
)

// tokenize answers /tokenize.
func (h *handler) tokenize(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := fields.ReadBody(tokenizeFields, body)
	if err != nil {
		return err
	}
	switch {
	case q.prompt != nil && q.Messages != nil:
		return &fields.Error{Path: "prompt", Reason: "expected either prompt or messages, found both"}
	case q.prompt == nil:
		if err := checkConversation(&q.Conversation); err != nil {
			return err
		}
	}
	t, context, release, err := h.tokenizer(q.model)
	if err != nil {
		return err
	}
	defer release()
	a := openai.Tokenization{MaxModelLen: context, Tokens: []int32{}}
	if q.prompt != nil {
		a.Tokens = append(a.Tokens, t.Encode(*q.prompt, token.EncodeOptions{AddSpecial: !q.bare, ParseSpecial: true})...)
	} else {
		m, err := h.Model(q.model)
		if err != nil {
			return err
		}
		defer m.Release()
		_, _, ids, err := answer.Prompt(m.Model, &q.Conversation, 0)
		if err != nil {
			return err
		}
		a.Tokens = append(a.Tokens, ids...)
	}
	a.Count = len(a.Tokens)
	if q.strings {
		a.TokenStrs = []string{}
		for _, id := range a.Tokens {
			a.TokenStrs = append(a.TokenStrs, t.Piece(id))
		}
	}
	reply.JSON(w, http.StatusOK, &a)
	return nil
}

// tokenizer finds the tokenizer of a model that generates or embeds, and how
// many tokens that takes.
func (h *handler) tokenizer(model string) (t *token.Tokenizer, context int, release func(), err error) {
	m, err := h.Model(model)
	if err == nil {
		return m.Model.Tokenizer(), m.Model.Info().Context, m.Release, nil
	}
	if e, embedErr := h.Embedder(model); embedErr == nil {
		return e.Model.Tokenizer(), e.Model.MaxTokens(), e.Release, nil
	}
	return nil, 0, nil, err
}

// detokenizeRequest is tokens whose text is wanted.
type detokenizeRequest struct {
	model  string
	tokens []int32
}

var detokenizeFields = fields.Table[*detokenizeRequest]{
	fields.Text("model", "Its name, or `NAME:VERSION`.", answer.MaxName, func(q *detokenizeRequest) *string { return &q.model }),
	fields.Any("tokens", "array of token ids", "", func(q *detokenizeRequest, v fields.Value) (err error) {
		q.tokens, err = v.IDs()
		return err
	}),
}

// detokenize answers /detokenize.
func (h *handler) detokenize(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := fields.ReadBody(detokenizeFields, body)
	if err != nil {
		return err
	}
	if q.tokens == nil {
		return &fields.Error{Path: "tokens", Reason: "expected an array of token ids"}
	}
	t, _, release, err := h.tokenizer(q.model)
	if err != nil {
		return err
	}
	defer release()
	if err := answer.Known("tokens", q.tokens, t); err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, openai.Detokenization{Prompt: t.Decode(q.tokens, false)})
	return nil
}
