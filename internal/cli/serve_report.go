package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/serve"
)

// reportStart tells where the server listens.
func (s *server) reportStart() {
	fmt.Fprintf(s.out, "salver %s\n", Version)
	for _, t := range s.transports {
		switch t.name {
		case "http":
			fmt.Fprintf(s.out, "  HTTP  http://%s  (page at /, API at /v2, metrics at /metrics)\n", t.address)
		case "grpc":
			fmt.Fprintf(s.out, "  gRPC  %s  (inference.GRPCInferenceService, health, reflection)\n", t.address)
		}
		s.logStart("listening", "protocol", t.name, "address", t.address)
	}
	fmt.Fprintf(s.out, "  memory %s\n", s.memory)
	s.logStart("memory", "of", s.memory.of, "total_bytes", s.memory.total, "run_bytes", s.memory.runs, "body_bytes", s.memory.bodies)
}

// logStart writes to the log what people read on standard output otherwise.
func (s *server) logStart(message string, args ...any) {
	if s.out == io.Discard {
		s.log.Info(message, args...)
	}
}

// reportModels tells of each model that is served and each that is not, and
// returns how many are.
func (s *server) reportModels() (ready int) {
	for _, m := range s.core.States() {
		if m.State == serve.StateReady {
			ready++
			s.reportModel(m)
			continue
		}
		fmt.Fprintf(s.out, "  model %s is not served: %s\n", m.Name, forTerminal(m.Reason)) // the log has it already
	}
	return ready
}

func (s *server) reportModel(m serve.IndexEntry) {
	md, err := s.core.Metadata(m.Name, m.Version)
	if err != nil {
		return // it was unloaded in the meantime
	}
	rows, reason, err := s.core.Batching(m.Name, m.Version)
	if err != nil {
		return
	}
	batching := fmt.Sprintf("batching: up to %d rows", rows)
	if text, err := s.core.TextModel(m.Name, m.Version); err == nil {
		info := text.Model.Info()
		text.Release()
		batching = fmt.Sprintf("generates: %s, %.3g million parameters, up to %d tokens of prompt and answer", info.Architecture, float64(info.Parameters)/1e6, info.Context)
		if info.Wanted > 0 {
			batching += fmt.Sprintf(" (not %d: --kv-cache holds no more)", info.Wanted)
		}
		reason = ""
	} else if rows == 1 {
		batching = "no batching: " + reason
	}
	fmt.Fprintf(s.out, "  model %s version %s: %s → %s\n    %s\n", m.Name, m.Version, forTerminal(tensors(md.Inputs)), forTerminal(tensors(md.Outputs)), forTerminal(batching))
	s.logStart("model ready", "model", m.Name, "version", m.Version, "inputs", tensors(md.Inputs), "outputs", tensors(md.Outputs), "batch_rows", rows, "no_batching", reason)
}

func tensors(list []serve.TensorInfo) string {
	var parts []string
	for i := range list {
		parts = append(parts, fmt.Sprintf("%s %s", list[i].Name, &list[i]))
	}
	return strings.Join(parts, ", ")
}

// reportReady tells that loading has ended, and what can be tried.
func (s *server) reportReady(failed error) {
	took := time.Since(s.started).Round(time.Millisecond)
	some := ""
	if failed != nil {
		some = ", but not all models are"
	}
	fmt.Fprintf(s.out, "ready after %v%s\n", took, some)
	s.logStart("ready", "took_ms", took.Milliseconds(), "all_models", failed == nil)
	for _, t := range s.transports {
		if t.name == "http" && s.flags.demo && s.keys == nil {
			fmt.Fprintf(s.out, "\nDraw a digit at http://%s/ or try:\n\n", t.address)
			for _, m := range demo.Models() {
				fmt.Fprintf(s.out, "# %s: the answer is %q\n%s\n\n", m.Description, m.SampleAnswer, m.Curl(t.address))
			}
			for _, m := range demo.LanguageModels()[:1] {
				fmt.Fprintf(s.out, "# %s: the answer is %q\n%s\n\n", m.Description, m.Answer, m.Curl(t.address))
			}
		}
	}
}
