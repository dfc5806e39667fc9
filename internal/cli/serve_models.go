package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/salver-ml/salver/internal/backend"
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/serve"
)

// aloneWork is the work, in floating-point operations and bytes, below which an
// execution stays on one thread: about half a millisecond. There are other
// requests for the other processors, and their threads to be read from and
// written to; waking them for so little costs more than it gains.
const aloneWork = 50e6

// newCore opens the repositories. No two models may have the same name.
func (s *server) newCore(paths []string) error {
	s.engine.Alone = aloneWork
	repositories, err := openRepositories(paths)
	if err != nil {
		return err
	}
	if err := s.checkNames(repositories); err != nil {
		return err
	}
	s.core = serve.New(serve.Options{
		Open:         backend.Open(s.engine, s.language),
		Repositories: repositories,
		Control:      s.flags.controlMode(),
		LoadAtStart:  s.flags.load,
		LoadThreads:  cpu.Threads(),
		ReadyWithout: true,
		Batching:     serve.Defaults{MaxBatchSize: s.flags.maxBatch, MaxQueueDelay: s.flags.maxDelay},
		Log:          s.log,
	})
	return nil
}

func openRepositories(paths []string) ([]*repo.Repository, error) {
	var list []*repo.Repository
	for _, p := range paths {
		r, err := repo.Open(p)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func (s *server) checkNames(repositories []*repo.Repository) error {
	from := map[string]string{}
	if s.flags.demo {
		for _, m := range demo.Models() {
			from[m.Name] = "--demo"
		}
		for _, m := range demo.LanguageModels() {
			from[m.Name] = "--demo"
		}
	}
	for _, r := range repositories {
		names, err := r.Names()
		if err != nil {
			return err
		}
		for _, name := range names {
			if other, twice := from[name]; twice {
				return fmt.Errorf("the model %q is in %s and in %s: rename one", name, other, r.Path())
			}
			from[name] = r.Path()
		}
	}
	return nil
}

// registerDemo makes the demo's models ready, all at once. They take
// milliseconds, so the ports answer only afterwards.
func (s *server) registerDemo() error {
	if !s.flags.demo {
		return nil
	}
	models, texts := demo.Models(), demo.LanguageModels()
	errs := make([]error, len(models)+len(texts))
	var wg sync.WaitGroup
	for i, m := range models {
		wg.Go(func() { errs[i] = named(m.Name, s.registerOne(&m)) })
	}
	for i, m := range texts {
		wg.Go(func() { errs[len(models)+i] = named(m.Name, s.registerText(&m)) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func named(model string, err error) error {
	if err != nil {
		return fmt.Errorf("demo model %q: %w", model, err)
	}
	return nil
}

func (s *server) registerText(m *demo.LanguageModel) error {
	o := s.language
	o.Name, o.Template = m.Name, "" // they have their own
	lm, err := llm.Parse(m.GGUF, o)
	if err != nil {
		return err
	}
	if err := lm.Warm(); err != nil {
		return errors.Join(err, lm.Close())
	}
	return s.core.Register(m.Name, 1, backend.Language{Model: lm}, nil)
}

func (s *server) registerOne(m *demo.Model) error {
	e, err := engine.Parse(m.ONNX, s.engine)
	if err != nil {
		return err
	}
	b := backend.New(e)
	if err := b.Prepare(); err != nil {
		return err
	}
	return s.core.Register(m.Name, 1, b, &repo.Config{Labels: map[string][]string{m.Output: m.Labels}})
}

// load brings in the repositories' models and tells what became of them. The
// error ends the server.
func (s *server) load(ctx context.Context) error {
	err := s.core.LoadAll(ctx)
	if ctx.Err() != nil {
		return nil // it is ending already
	}
	s.tuneCollector()
	ready := s.reportModels()
	switch {
	case err == nil && ready == 0 && s.flags.control == controlNone:
		fmt.Fprintln(s.out, "  no models: expected MODEL/VERSION/model.onnx in a repository")
	case err == nil:
	case s.flags.strict:
		return fmt.Errorf("--strict: %w", err)
	case ready == 0 && s.flags.control == controlNone:
		return fmt.Errorf("no model could be loaded: %w", err)
	}
	s.reportReady(err)
	return nil
}
