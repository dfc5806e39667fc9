package cli

import (
	"log/slog"
	"math"
	"net"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/auth"
	"github.com/salver-ml/salver/internal/obs"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/spf13/cobra"
)

type serveFlags struct {
	engineFlags
	languageFlags
	demo         bool
	repositories []string
	http, grpc   string
	hosts        []string
	keyFile      string

	control string
	load    []string
	strict  bool

	maxBody       size
	maxBodyMemory size
	maxInFlight   int64
	maxBatch      int
	maxDelay      time.Duration

	logFormat, logLevel string
	drainTimeout        time.Duration
	dryRun, json        bool
}

// The values of --model-control-mode.
const (
	controlNone     = "none"
	controlExplicit = "explicit"
)

func newServe(e *env) *cobra.Command {
	f := serveFlags{maxBody: 64 << 20}
	c := &cobra.Command{
		Use:   "serve [PATH…]",
		Short: "Serve models over HTTP and gRPC",
		Long: `Answers the Open Inference Protocol (KServe v2, with Triton's extensions) over HTTP and
gRPC. A PATH is a model file, which is served under its file name, or a repository in
Triton's layout: MODEL/[config.pbtxt], MODEL/VERSION/model.onnx. --demo adds small models
that come with the program.

Requests are put together where a model's rows are proved independent of each other.
/metrics and the page are on the HTTP port, which is open while models still load:
/v2/health/ready says when they are. A model that can't be loaded is named and the others are
served; with --strict the server ends instead.

SIGTERM or Ctrl-C: no request is lost. The server turns unready, takes no more connections,
answers what it has, and ends with status 0; 1 if --drain-timeout was too short. A second
signal ends it at once. SIGHUP reads --api-key-file again.

Without keys it listens on this machine only, and answers only to the host names localhost,
that of its address, and --allow-host.

--dry-run loads nothing: it lists what in the repositories' configuration is not supported
and ends with status 1 if there is anything.`,
		Example: "  salver serve --demo\n  salver serve model.onnx --max-queue-delay 2ms\n" +
			"  salver serve ./models --http :8000 --grpc :8001 --api-key-file keys.txt --log-format json\n  salver serve --dry-run ./models",
		RunE: func(cmd *cobra.Command, paths []string) error {
			return f.run(cmd.Context(), e, append(paths, f.repositories...))
		},
	}
	f.engineFlags.add(c)
	f.languageFlags.add(c)
	f.languageFlags.addTemplate(c)
	fl := c.Flags()
	fl.Lookup("max-memory").Usage = "refuse models and runs for which the process would need more memory, e.g. 64MiB; 0 is seven tenths of what the machine or the control group has"
	fl.BoolVar(&f.demo, "demo", false, "serve the models that come with the program")
	fl.StringArrayVar(&f.repositories, "model-repository", nil, "a repository, as PATH (may be repeated)")
	fl.StringVar(&f.http, "http", "127.0.0.1:8000", "listen address of HTTP; port 0 is any that is free; empty is none")
	fl.StringVar(&f.grpc, "grpc", "127.0.0.1:8001", "listen address of gRPC, likewise")
	fl.StringArrayVar(&f.hosts, "allow-host", nil, "a host name that HTTP requests may be for, such as a reverse proxy's (may be repeated)")
	fl.StringVar(&f.keyFile, "api-key-file", "", "file with one KEY or NAME:KEY per line; nobody gets in without one")
	fl.StringVar(&f.control, "model-control-mode", controlNone, "none (all models at start) or explicit (--load-model, and by request)")
	fl.StringArrayVar(&f.load, "load-model", nil, "a model to load at start in explicit mode; * is all (may be repeated)")
	fl.BoolVar(&f.strict, "strict", false, "end if a model can't be loaded at start")
	fl.Var(&f.maxBody, "max-body", "largest request, as sent and decompressed")
	fl.Var(&f.maxBodyMemory, "max-body-memory", "bytes that all requests and answers above 64 KiB may take at once; 0 is an eighth of the memory, at least --max-body")
	fl.Int64Var(&f.maxInFlight, "max-in-flight", 1024, "requests answered at once, over all models; 0 is no bound")
	fl.IntVar(&f.maxBatch, "max-batch", 64, "rows of different requests run together, where a model's configuration does not say; 1 is none")
	fl.DurationVar(&f.maxDelay, "max-queue-delay", 0, "how long a request may wait for company while the model is idle, where its configuration does not say")
	fl.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fl.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	fl.DurationVar(&f.drainTimeout, "drain-timeout", 30*time.Second, "how long the end may take before requests are cut off")
	fl.BoolVar(&f.dryRun, "dry-run", false, "list what is not supported in the repositories' configuration")
	fl.BoolVar(&f.json, "json", false, "print the result of --dry-run as JSON")
	return c
}

// check looks at what can be wrong with the command line.
func (f *serveFlags) check(paths []string) error {
	switch {
	case len(paths) == 0 && !f.demo:
		return misusef("nothing to serve: give a model file, a repository, or --demo")
	case f.json && !f.dryRun:
		return misusef("--json belongs to --dry-run; --log-format json is for the log")
	case f.http == "" && f.grpc == "":
		return misusef("--http and --grpc are both empty: nobody could reach the server")
	case f.control != controlNone && f.control != controlExplicit:
		return misusef("--model-control-mode %q: expected none or explicit", f.control)
	case len(f.load) > 0 && f.control != controlExplicit:
		return misusef("--load-model needs --model-control-mode explicit; without it all models are loaded")
	case f.maxInFlight < 0:
		return misusef("--max-in-flight %d: expected 0 (no bound) or more", f.maxInFlight)
	case f.maxBatch < 1:
		return misusef("--max-batch %d: expected 1 (no batching) or more", f.maxBatch)
	case f.maxDelay < 0:
		return misusef("--max-queue-delay %v: expected 0 or more", f.maxDelay)
	case f.maxBody > math.MaxInt32:
		return misusef("--max-body %v: expected at most 2GiB, which is the limit of a gRPC message", &f.maxBody)
	case f.drainTimeout <= 0:
		return misusef("--drain-timeout %v: expected more than 0", f.drainTimeout)
	}
	return f.languageFlags.check()
}

// keys reads the key file, if there is one, and checks that nobody else can get in.
func (f *serveFlags) keys(log *slog.Logger) (*auth.Keys, error) {
	if err := auth.CheckListen([]string{f.http, f.grpc}, f.keyFile != ""); err != nil {
		return nil, misuse{err}
	}
	if f.keyFile == "" {
		return nil, nil
	}
	keys, warnings, err := auth.Load(f.keyFile)
	for _, w := range warnings {
		log.Warn(w)
	}
	return keys, err
}

// servedHosts are the names that HTTP requests may be for: without keys only
// those of this machine, since a web page elsewhere could be given a name that leads here.
func (f *serveFlags) servedHosts() []string {
	if f.keyFile != "" && len(f.hosts) == 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(f.http)
	if err != nil {
		return f.hosts
	}
	return append([]string{"localhost", "127.0.0.1", "::1", strings.ToLower(host)}, f.hosts...)
}

// logger makes the log. In text the start is told on standard output instead.
func (f *serveFlags) logger(e *env) (*slog.Logger, error) {
	log, err := obs.NewLogger(e.err, f.logFormat, f.logLevel)
	if err != nil {
		return nil, misuse{err}
	}
	return log, nil
}

func (f *serveFlags) controlMode() serve.Control {
	if f.control == controlExplicit {
		return serve.ControlExplicit
	}
	return serve.ControlNone
}
