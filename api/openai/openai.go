// Package openai has what goes over the wire in OpenAI's API, as this server
// answers it: the answers, and the pieces of streamed ones. Requests are read
// by tables, which docs/OPENAI_API.md shows.
//
// The names are those of OpenAI's specification; fields with "vLLM" in their comment are that server's.
package openai

// Error is the body of every answer that is an error, and the last event of a
// stream that failed.
type Error struct {
	Error ErrorDetail `json:"error"`
}

// ErrorDetail says what is wrong. Param names the field of the request.
type ErrorDetail struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// List is the answer of calls that list things.
type List[T any] struct {
	Object string `json:"object"` // list
	Data   []T    `json:"data"`
}

// Model is a model that is served.
type Model struct {
	ID          string `json:"id"`
	Object      string `json:"object"` // model
	Created     int64  `json:"created"`
	OwnedBy     string `json:"owned_by"`
	MaxModelLen int    `json:"max_model_len,omitempty"` // vLLM: tokens of prompt and answer together
	Chats       *bool  `json:"chats,omitempty"`         // of a model that generates: whether it has a chat template
}

// Usage is what a request took.
type Usage struct {
	PromptTokens     int            `json:"prompt_tokens"`
	CompletionTokens int            `json:"completion_tokens"`
	TotalTokens      int            `json:"total_tokens"`
	PromptDetails    *PromptDetails `json:"prompt_tokens_details,omitempty"`
	Details          *OutputDetails `json:"completion_tokens_details,omitempty"` // of a chat
}

// PromptDetails is a part of Usage.
type PromptDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

// ChatCompletion is a chat's next message.
type ChatCompletion struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"` // chat.completion
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []ChatChoice `json:"choices"`
	Usage   Usage        `json:"usage"`
}

// ChatChoice is one of the messages that were asked for.
type ChatChoice struct {
	Index        int           `json:"index"`
	Message      ChatMessage   `json:"message"`
	Logprobs     *ChatLogprobs `json:"logprobs"`
	FinishReason string        `json:"finish_reason"` // stop, length, tool_calls
	StopReason   *string       `json:"stop_reason"`   // vLLM: the stop string that ended it
}

// ChatMessage is an assistant's message.
type ChatMessage struct {
	Role      string     `json:"role"`
	Content   *string    `json:"content"`
	Refusal   *string    `json:"refusal"`                     // always null
	Reasoning string     `json:"reasoning_content,omitempty"` // vLLM: what the model thought before
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
}

// ToolCall is a call of a function. Index is there in pieces only.
type ToolCall struct {
	Index    *int         `json:"index,omitempty"`
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"` // function
	Function FunctionCall `json:"function"`
}

// FunctionCall is a function's name and its arguments as JSON.
type FunctionCall struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

// ChatChunk is a piece of a chat's next message.
type ChatChunk struct {
	ID      string            `json:"id"`
	Object  string            `json:"object"` // chat.completion.chunk
	Created int64             `json:"created"`
	Model   string            `json:"model"`
	Choices []ChatChunkChoice `json:"choices"`
	Usage   *Usage            `json:"usage,omitempty"`
}

// ChatChunkChoice is what a choice gained.
type ChatChunkChoice struct {
	Index        int           `json:"index"`
	Delta        ChatDelta     `json:"delta"`
	Logprobs     *ChatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
	StopReason   *string       `json:"stop_reason,omitempty"` // vLLM
}

// ChatDelta is what a message gained.
type ChatDelta struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	Reasoning string     `json:"reasoning_content,omitempty"` // vLLM
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
}

// ChatLogprobs are the probabilities of a message's tokens.
type ChatLogprobs struct {
	Content []TokenLogprob `json:"content"`
}

// TokenLogprob is a token of the answer, and what else it might have been.
type TokenLogprob struct {
	Alternative
	Top []Alternative `json:"top_logprobs"`
}

// Alternative is a token with the natural logarithm of its probability; -9999 is the least.
type Alternative struct {
	Token   string  `json:"token"`
	Logprob float32 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

// Completion continues a text, or is a piece of that.
type Completion struct {
	ID      string             `json:"id"`
	Object  string             `json:"object"` // text_completion
	Created int64              `json:"created"`
	Model   string             `json:"model"`
	Choices []CompletionChoice `json:"choices"`
	Usage   *Usage             `json:"usage,omitempty"`
}

// CompletionChoice is one of the texts that were asked for.
type CompletionChoice struct {
	Index        int                 `json:"index"`
	Text         string              `json:"text"`
	Logprobs     *CompletionLogprobs `json:"logprobs"`
	FinishReason *string             `json:"finish_reason"`
	StopReason   *string             `json:"stop_reason,omitempty"` // vLLM
}

// CompletionLogprobs are the probabilities of a text's tokens; null for the first of a prompt.
type CompletionLogprobs struct {
	TextOffset    []int                `json:"text_offset"` // in characters
	TokenLogprobs []*float32           `json:"token_logprobs"`
	Tokens        []string             `json:"tokens"`
	TopLogprobs   []map[string]float32 `json:"top_logprobs"`
}

// Embeddings are vectors of texts.
type Embeddings struct {
	Object string      `json:"object"` // list
	Data   []Embedding `json:"data"`
	Model  string      `json:"model"`
	Usage  InputUsage  `json:"usage"`
}

// Embedding is the vector of one text: numbers, or little-endian float32 in base64.
type Embedding struct {
	Object    string `json:"object"` // embedding
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"`
}

// InputUsage is what a request took that generates nothing.
type InputUsage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

// Reranking has documents by relevance, the most relevant first (Jina, Cohere).
type Reranking struct {
	ID      string         `json:"id"`
	Model   string         `json:"model"`
	Results []RankedResult `json:"results"`
	Usage   InputUsage     `json:"usage"`
}

// RankedResult is a document's place in the request and its relevance, from 0 to 1.
type RankedResult struct {
	Index     int             `json:"index"`
	Relevance float32         `json:"relevance_score"`
	Document  *RankedDocument `json:"document,omitempty"`
}

// RankedDocument is a document's text.
type RankedDocument struct {
	Text string `json:"text"`
}

// Tokenization is a text in tokens (vLLM).
type Tokenization struct {
	Count       int      `json:"count"`
	MaxModelLen int      `json:"max_model_len"`
	Tokens      []int32  `json:"tokens"`
	TokenStrs   []string `json:"token_strs"` // null unless asked for
}

// Detokenization is the text of tokens (vLLM).
type Detokenization struct {
	Prompt string `json:"prompt"`
}
