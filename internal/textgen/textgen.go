// Package textgen is what a language model offers to those who serve it: plain
// types and three interfaces, which the engine implements and every protocol uses.
package textgen

import (
	"context"
	"time"

	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/token"
)

// Model is a language model that is ready to generate. Its methods are called
// from many goroutines at once.
type Model interface {
	Info() Info
	Tokenizer() *token.Tokenizer
	// ChatTemplate is the model's own; an error says why there is none.
	ChatTemplate() (*chat.Template, error)
	// Generate continues a prompt. It calls emit, on the caller's goroutine, as
	// text comes into being, and returns when all choices have finished. An error
	// before the first event is a refusal: nothing was computed; it is a
	// *RequestError or *FullError, ErrClosed, or the server's fault.
	// When ctx ends, or emit returns an error, the request is aborted and its
	// memory freed; the error is ctx's or emit's.
	Generate(ctx context.Context, r *Request, emit func(*Event) error) (*Usage, error)
	// Stats are the figures of this moment.
	Stats() Stats
}

// Embedder is a Model, or an encoder, that makes vectors of texts.
type Embedder interface {
	Tokenizer() *token.Tokenizer
	Dimensions() int
	MaxTokens() int
	// Embed gives one vector, of length 1, for each input.
	Embed(ctx context.Context, inputs [][]int32) ([][]float32, error)
}

// Reranker is an encoder that scores pairs of a query and a document. Scores
// are relevances from 0 to 1; tokens is how many were read in all.
type Reranker interface {
	Score(ctx context.Context, query string, documents []string) (scores []float32, tokens int, err error)
}

// Info describes a model.
type Info struct {
	Name         string
	Architecture string // as the file names it: "llama"
	Context      int    // tokens of prompt and answer together, at most
	Wanted       int    // the context that was asked for, if the cache of keys and values holds less
	Vocabulary   int
	Parameters   int64
	WeightBytes  int64
	Loaded       time.Time
	Defaults     Sampling // what generation_config.json or the file suggests
}

// Sampling says how the next token is chosen. The zero value is greedy.
type Sampling struct {
	Temperature float32 // 0 is greedy
	TopK        int     // 0 considers all
	TopP        float32 // 0 and 1 consider all
	MinP        float32
	TypicalP    float32 // 0 and 1 consider all
	// Penalties act on tokens of the answer; Repetition on those of the prompt too.
	Repetition float32 // 0 and 1 change nothing
	Presence   float32
	Frequency  float32
	LogitBias  map[int32]float32
	Seed       *uint64 // nil draws one
}

// Request asks for continuations of a prompt.
type Request struct {
	Prompt []int32
	Sampling
	MaxTokens  int // of each answer; 0 goes on to the end of the context
	MinTokens  int // no end before so many
	N          int // answers wanted; 0 is 1
	BestOf     int // answers computed, of which the N likeliest are given; 0 is N
	Stop       []string
	StopTokens []int32
	IgnoreEOS  bool
	// KeepSpecial leaves special tokens in the text.
	KeepSpecial bool
	// IncludeStop leaves the stop string that ended an answer in its text.
	IncludeStop bool
	// Logprobs is how many alternatives are wanted for each token of the answer;
	// 0 wants the chosen token's alone, -1 nothing.
	Logprobs int
	// PromptLogprobs is the same for the tokens of the prompt; -1 nothing.
	PromptLogprobs int
	Priority       int    // higher goes first; 0 is usual
	Tenant         string // whose prefix cache and fair share; the API key's name
}

// Event is a piece of an answer.
type Event struct {
	Choice int // 0 … N-1
	Text   string
	Tokens []Token // that came since the last event of this choice
	// Prompt has the tokens of the prompt but for the first, which nothing
	// precedes, in the first event, if their probabilities were asked for.
	Prompt []Token
	// Finish is set in the last event of a choice.
	Finish Finish
	Stop   string // the stop string that ended it
}

// Finish says why an answer ended.
type Finish string

// Reasons to end.
const (
	FinishStop   Finish = "stop"   // an end token, a stop token or a stop string
	FinishLength Finish = "length" // MaxTokens, or the end of the context
)

// Token is a token with its probability.
type Token struct {
	ID      int32
	Logprob float32 // natural; 0 where none was asked for
	Top     []Alternative
}

// Alternative is a token that might have been chosen.
type Alternative struct {
	ID      int32
	Logprob float32
}

// Usage is what a request took.
type Usage struct {
	PromptTokens    int
	CachedTokens    int // of the prompt, found in the prefix cache
	GeneratedTokens int // of all answers that were computed
	Queue           time.Duration
	FirstToken      time.Duration // from arrival
	Total           time.Duration
}

// Stats are an engine's figures.
type Stats struct {
	Running, Waiting       int
	BlocksUsed, BlocksAll  int // of the KV cache
	BlockTokens            int
	TokensHeld             int    // in the cache by running sequences, shared ones for each of them
	PrefixQueries          uint64 // tokens that were looked up
	PrefixHits             uint64 // tokens that were found
	PromptTokens           uint64
	GeneratedTokens        uint64
	Preemptions            uint64
	Requests               map[string]uint64 // finished, by reason: stop, length, abort, error
	FirstToken, EachToken  Histogram         // seconds
	Queue, Request, Prompt Histogram         // seconds: waiting, in all, prefill
	Steps                  uint64
	SchedulerSeconds       float64 // spent deciding, of StepSeconds
	StepSeconds            float64
	KVBytes                int64
	WeightBytes            int64
}

// Histogram counts observations at or below each bound, as Prometheus does.
type Histogram struct {
	Bounds []float64
	Counts []uint64 // one more than bounds; not cumulative
	Sum    float64
}
