package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/salver-ml/salver/internal/auth"
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/grpcapi"
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/obs"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/openaiapi"
	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/ui"
)

// server is a running serve command.
type server struct {
	flags    *serveFlags
	out      io.Writer // people read the start here; io.Discard where the log tells it
	log      *slog.Logger
	started  time.Time
	engine   engine.Options
	language llm.Options
	keys     *auth.Keys // nil: everybody on this machine may use it
	core     *serve.Core
	memory   memoryShares

	transports []transport
}

// transport is a protocol on a port.
type transport struct {
	name    string // of the flag
	address string // with the port that it came to be
	serve   func() error
	drain   func(context.Context) error
}

func (f *serveFlags) run(ctx context.Context, e *env, paths []string) error {
	s := &server{flags: f, out: e.out, started: time.Now()}
	if err := f.check(paths); err != nil {
		return err
	}
	if f.dryRun {
		return dryRun(e, paths, f.json)
	}
	var err error
	if s.log, err = f.logger(e); err != nil {
		return err
	}
	if f.logFormat != "text" {
		s.out = io.Discard
	}
	if s.keys, err = f.keys(s.log); err != nil {
		return err
	}
	var closePool func()
	if s.engine, closePool, err = f.engineFlags.options(); err != nil {
		return err
	}
	defer closePool()
	s.memory = f.shareMemory()
	s.boundRuns()
	if s.engine.Auto != nil {
		s.engine.Auto.Report = func(c *engine.Choice) { s.log.Info(c.String()) }
	}
	s.language = f.languageFlags.options(s.engine)
	if err := s.newCore(paths); err != nil {
		return err
	}
	if err := s.listen(); err != nil {
		return err
	}
	if err := s.registerDemo(); err != nil {
		return err
	}
	return s.serve(ctx)
}

// listen opens the ports, all or none.
func (s *server) listen() error {
	inFlight := &limit.InFlight{Max: s.flags.maxInFlight, MaxBytes: s.memory.bodies}
	for _, p := range []struct {
		name, address string
		open          func(net.Listener, *limit.InFlight) transport
	}{{"http", s.flags.http, s.newHTTP}, {"grpc", s.flags.grpc, s.newGRPC}} {
		if p.address == "" {
			continue
		}
		l, err := net.Listen("tcp", p.address)
		if err != nil {
			return listenError(p.name, p.address, err)
		}
		t := p.open(l, inFlight)
		t.name, t.address = p.name, l.Addr().String()
		s.transports = append(s.transports, t)
	}
	return nil
}

func listenError(flag, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("--%s %s: another program listens there already: end it, or choose another port", flag, address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("--%s %s: this user may not listen there; ports from 1024 on are free to all", flag, address)
	}
	return fmt.Errorf("--%s %s: %w", flag, address, err)
}

// authorizer is nil where there are no keys.
func (s *server) authorizer() oip.Authorizer {
	if s.keys == nil {
		return nil
	}
	return s.keys.Authorize
}

// tenant names whoever has a key; nil where there are no keys.
func (s *server) tenant() func(string) string {
	if s.keys == nil {
		return nil
	}
	return s.keys.Name
}

func (s *server) newHTTP(l net.Listener, inFlight *limit.InFlight) transport {
	metrics := obs.Handler(obs.Sources{Core: s.core, Keys: s.keys, InFlight: inFlight, Version: Version, ISA: cpu.ISA()})
	h := rest.NewServer(rest.New(s.core, rest.Options{
		Version: Version, MaxBody: int64(s.flags.maxBody), Authorize: s.authorizer(), InFlight: inFlight,
		Hosts: s.flags.servedHosts(), Metrics: metrics, Pages: ui.Handler(), Log: s.log,
		APIs: openaiapi.APIs(s.core, openaiapi.Options{Version: Version, Log: s.log}), Tenant: s.tenant(),
	}))
	return transport{serve: func() error { return h.Serve(l) }, drain: h.Drain}
}

func (s *server) newGRPC(l net.Listener, inFlight *limit.InFlight) transport {
	g := grpcapi.New(s.core, grpcapi.Options{
		Version: Version, MaxMessage: int(s.flags.maxBody), Authorize: s.authorizer(), InFlight: inFlight, Log: s.log,
	})
	return transport{serve: func() error { return g.Serve(l) }, drain: g.Drain}
}

// serve answers requests and loads models until a signal or a failure.
func (s *server) serve(ctx context.Context) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	s.reportStart()
	failed := make(chan error, len(s.transports)+1)
	for _, t := range s.transports {
		go func() {
			if err := t.serve(); err != nil {
				failed <- fmt.Errorf("%s on %s: %w", t.name, t.address, err)
			}
		}()
	}
	go func() {
		if err := s.load(ctx); err != nil {
			failed <- err
		}
	}()
	for {
		select {
		case err := <-failed:
			return errors.Join(err, s.stop("failure"))
		case <-ctx.Done():
			return s.stop("signal")
		case <-reload:
			if s.keys == nil { // whoever started it has gone
				return s.stop("hangup")
			}
			s.reloadKeys()
		}
	}
}

func (s *server) reloadKeys() {
	warnings, err := s.keys.Reload()
	for _, w := range warnings {
		s.log.Warn(w)
	}
	if err != nil {
		s.log.Error("the old API keys stay in force", "error", err)
		return
	}
	s.log.Info("API keys read again", "keys", s.keys.Len())
}

// secondSignal is how long after the first signal another counts: some shells
// and supervisors send one to a program and then to its group.
const secondSignal = 100 * time.Millisecond

// stop ends the server without losing a request, within the drain timeout; a
// second signal ends it at once.
func (s *server) stop(why string) error {
	hurry := make(chan os.Signal, 1)
	listen := time.AfterFunc(secondSignal, func() { signal.Notify(hurry, os.Interrupt, syscall.SIGTERM) })
	defer signal.Stop(hurry)
	defer listen.Stop()
	start := time.Now()
	s.log.Info("stopping: requests that came are answered", "why", why, "timeout", s.flags.drainTimeout.String())
	ctx, cancel := context.WithTimeout(context.Background(), s.flags.drainTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.drain(ctx) }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("requests were cut off: %w", err)
		}
		s.log.Info("stopped", "took_ms", time.Since(start).Milliseconds())
		return nil
	case <-hurry:
		return errors.New("stopped at once by a second signal; requests in flight were cut off")
	}
}

// drain ends the transports and then the core.
func (s *server) drain(ctx context.Context) error {
	s.core.PrepareShutdown()
	errs := make([]error, len(s.transports)+1)
	var wg sync.WaitGroup
	for i, t := range s.transports {
		wg.Go(func() { errs[i] = t.drain(ctx) })
	}
	wg.Wait()
	errs[len(s.transports)] = s.core.Shutdown(ctx)
	return errors.Join(errs...)
}
