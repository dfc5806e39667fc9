// Package answer makes texts for every protocol: it finds the model, builds the
// prompt, runs the engine and takes the output apart. The protocols read
// requests into its types and write what comes in their own form.
package answer

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/textgen"
)

// Server is what protocols answer from.
type Server struct {
	Core    *serve.Core
	Log     *slog.Logger
	Version string // of this program
}

// Model finds a language model by its name, NAME or NAME:VERSION. NAME:latest
// is the default version, as is NAME.
func (s *Server) Model(name string) (*serve.Held[textgen.Model], error) {
	return held(name, s.Core.TextModel)
}

// Embedder finds a model that makes vectors of texts.
func (s *Server) Embedder(name string) (*serve.Held[textgen.Embedder], error) {
	return held(name, s.Core.Embedder)
}

// Reranker finds a model that compares texts.
func (s *Server) Reranker(name string) (*serve.Held[textgen.Reranker], error) {
	return held(name, s.Core.Reranker)
}

// Entry finds what the lists of models have under a name that Model takes; nil if there is nothing.
func (s *Server) Entry(name string) *serve.TextEntry {
	name, version := split(name)
	for _, e := range s.Core.TextModels() {
		if e.Name == name && (version == "" || slices.Contains(e.Versions, version)) {
			return &e
		}
	}
	return nil
}

// split gives a model's name and version, "" for the default one.
func split(name string) (model, version string) {
	model, version, _ = strings.Cut(name, ":")
	if version == "latest" {
		version = ""
	}
	return model, version
}

func held[M any](name string, find func(name, version string) (*serve.Held[M], error)) (*serve.Held[M], error) {
	if name == "" {
		return nil, &fields.Error{Path: "model", Reason: "expected the name of a model"}
	}
	return find(split(name))
}

// Fit refuses a prompt that leaves no room for an answer.
func Fit(prompt []int32, info *textgen.Info) error {
	if len(prompt) == 0 {
		return &fields.Error{Path: "prompt", Reason: "expected at least one token, found none"}
	}
	for _, id := range prompt {
		if int(id) >= info.Vocabulary {
			return &fields.Error{Path: "prompt", Reason: fmt.Sprintf("this model has %d tokens, found the id %d", info.Vocabulary, id)}
		}
	}
	if len(prompt) >= info.Context {
		return textgen.TooLong(len(prompt), info.Context-1)
	}
	return nil
}

// Run runs requests side by side, and ends all when one fails. emit is called
// by one goroutine at a time, with the request's place in the list.
func Run(ctx context.Context, m textgen.Model, requests []*textgen.Request, emit func(i int, e *textgen.Event) error) (textgen.Usage, error) {
	if len(requests) == 1 {
		u, err := m.Generate(ctx, requests[0], func(e *textgen.Event) error { return emit(0, e) })
		if err != nil {
			return textgen.Usage{}, err
		}
		return *u, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu    sync.Mutex // also held by emit
		wg    sync.WaitGroup
		sum   textgen.Usage
		first error
	)
	for i, r := range requests {
		wg.Go(func() {
			u, err := guarded(ctx, m, r, func(e *textgen.Event) error {
				mu.Lock()
				defer mu.Unlock()
				if first != nil {
					return first
				}
				return emit(i, e)
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if first == nil {
					first = err
				}
				cancel()
				return
			}
			sum.PromptTokens += u.PromptTokens
			sum.CachedTokens += u.CachedTokens
			sum.GeneratedTokens += u.GeneratedTokens
		})
	}
	wg.Wait()
	return sum, first
}

// guarded generates on a goroutine of its own, where a panic, which is a defect of ours,
// would end the process.
func guarded(ctx context.Context, m textgen.Model, r *textgen.Request, emit func(*textgen.Event) error) (u *textgen.Usage, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a panic: %v\n%s", v, debug.Stack())
		}
	}()
	return m.Generate(ctx, r, emit)
}
