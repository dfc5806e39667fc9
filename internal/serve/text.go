package serve

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/salver-ml/salver/internal/batch"
	"github.com/salver-ml/salver/internal/textgen"
)

// A Backend that also is a textgen.Model, textgen.Embedder or textgen.Reranker
// generates text, makes vectors of texts, or compares them.

// Held is a model that stays loaded until it is released.
type Held[M any] struct {
	Model         M
	Name, Version string
	Release       func() // once
	stats         *stats
}

// Count records a request of so many texts that an Embedder or Reranker has answered
// over HTTP, or failed to answer. A textgen.Model counts its requests itself.
func (h *Held[M]) Count(start time.Time, texts int, err error) {
	if err == nil {
		t := batch.Timing{Infer: time.Since(start), Rows: texts, Requests: 1}
		h.stats.succeeded(start, "http", &t, texts)
		h.stats.execution(batch.Execution{Requests: 1, Rows: texts, Infer: t.Infer})
		return
	}
	kind := AsError(err).Kind
	if _, refused := errors.AsType[*textgen.RequestError](err); refused {
		kind = InvalidArgument
	}
	h.stats.failed(start, kind)
}

// TextModel finds a language model by name and version ("" for the default).
func (c *Core) TextModel(name, version string) (*Held[textgen.Model], error) {
	return hold[textgen.Model](c, name, version, "no language model")
}

// Embedder finds a model that makes vectors of texts.
func (c *Core) Embedder(name, version string) (*Held[textgen.Embedder], error) {
	return hold[textgen.Embedder](c, name, version, "no model for embeddings")
}

// Reranker finds a model that compares texts.
func (c *Core) Reranker(name, version string) (*Held[textgen.Reranker], error) {
	return hold[textgen.Reranker](c, name, version, "no model for reranking")
}

// hold enters a model's gate as Infer does, so that neither an unload nor the
// server's end takes the model away before Release.
func hold[M any](c *Core, name, version, not string) (*Held[M], error) {
	if !c.gate.enter() {
		return nil, c.refuse(errDraining())
	}
	s, err := c.lookup(name, version)
	if err != nil {
		c.gate.leave()
		return nil, c.refuse(err)
	}
	leave := func() {
		s.gate.leave()
		c.gate.leave()
	}
	m, ok := s.backend.(M)
	if !ok {
		leave()
		return nil, Errorf(InvalidArgument, "model %q is %s", name, not)
	}
	return &Held[M]{Model: m, Name: s.name, Version: s.versionText, Release: leave, stats: s.stats}, nil
}

// TextEntry is what is served of text under one name, by its default version.
type TextEntry struct {
	Name, Version               string
	Versions                    []string
	Loaded                      time.Time
	Generates, Embeds, Compares bool
	Chats                       bool         // it generates, and has a chat template
	Info                        textgen.Info // of a model that generates
	MemoryBytes                 int64
}

// TextModels lists the models that generate, embed or compare texts, by name.
func (c *Core) TextModels() []TextEntry {
	models := *c.models.Load()
	var list []TextEntry
	for _, name := range slices.Sorted(maps.Keys(models)) {
		s, err := c.lookup(name, "")
		if err != nil {
			continue // it has gone in this moment
		}
		e := TextEntry{Name: name, Version: s.versionText, Loaded: s.loaded, MemoryBytes: s.backend.MemoryBytes()}
		var m textgen.Model
		if m, e.Generates = s.backend.(textgen.Model); e.Generates {
			e.Info = m.Info()
			_, err := m.ChatTemplate()
			e.Chats = err == nil
		}
		_, e.Embeds = s.backend.(textgen.Embedder)
		_, e.Compares = s.backend.(textgen.Reranker)
		s.gate.leave()
		if !e.Generates && !e.Embeds && !e.Compares {
			continue
		}
		for _, v := range models[name].versions {
			e.Versions = append(e.Versions, v.versionText)
		}
		list = append(list, e)
	}
	return list
}

// generated makes Triton's counters of a language model's. Requests come to it by many
// protocols, and its engine counts them all. A step is an execution.
func (m *ModelStatistics) generated(text *textgen.Stats, t *stats) {
	done := text.Requests[string(textgen.FinishStop)] + text.Requests[string(textgen.FinishLength)]
	ended := text.Requests["abort"] + text.Requests["error"]
	nanoseconds := func(seconds float64) uint64 { return uint64(max(seconds, 0) * 1e9) }
	all, queued := nanoseconds(text.Request.Sum), nanoseconds(text.Queue.Sum)
	m.InferenceCount, m.ExecutionCount = done, text.Steps
	m.Inference = InferenceStats{
		Success:      DurationStat{Count: done, NS: all},
		Fail:         DurationStat{Count: ended + t.failures[Rejected].Load() + t.failures[OtherFailure].Load()},
		Queue:        DurationStat{Count: done, NS: queued},
		ComputeInfer: DurationStat{Count: done, NS: all - min(queued, all)},
	}
	if n := done + ended; n > 0 { // its times are of both, which are told apart by their numbers
		m.Inference.Success.NS = uint64(float64(all) * float64(done) / float64(n))
		m.Inference.Fail.NS = all - m.Inference.Success.NS
	}
}

// textStats are a language model's figures; nil if it is none.
func (s *servable) textStats() *textgen.Stats {
	m, ok := s.backend.(textgen.Model)
	if !ok {
		return nil
	}
	st := m.Stats()
	return &st
}
