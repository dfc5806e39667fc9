package obs

import (
	"fmt"
	"slices"
	"strings"
)

// Document describes all metrics in Markdown: it is docs/METRICS.md.
func Document() string {
	var b strings.Builder
	b.WriteString(`# Metrics

Prometheus reads these from ` + "`/metrics`" + ` on the HTTP port. This page is made from the code: run
` + "`go test ./internal/obs -update`" + ` after a change there.

Times are in seconds, except in the families that have Triton's names, which keep Triton's units. Counters begin at zero when
a model is loaded or reloaded. Duration histograms have buckets in steps of 1, 2, 5 from 10 µs to 50 s, and batch sizes in powers of two up to 1024.

`)
	table(&b, "The server and its models", "salver_", "salver_llm_")
	table(&b, "Language models", "salver_llm_")
	table(&b, "Language models, as vLLM has them", "vllm:")
	table(&b, "As Triton has them", "nv_")
	b.WriteString(`## The process

The families ` + "`go_*` and `process_*`" + ` under the names that the Prometheus client for Go gives them: goroutines, threads, garbage collection, heap; on Linux CPU seconds, resident memory, open files.

## Useful queries

| Question | Query |
|---|---|
| Requests per second | ` + "`sum by (model) (rate(salver_request_duration_seconds_count[1m]))`" + ` |
| p99 latency | ` + "`histogram_quantile(0.99, sum by (model, le) (rate(salver_request_duration_seconds_bucket[5m])))`" + ` |
| Mean batch size | ` + "`rate(nv_inference_count[1m]) / rate(nv_inference_exec_count[1m])`" + ` |
| Share of the time spent in the queue | ` + "`rate(nv_inference_queue_duration_us[1m]) / rate(nv_inference_request_duration_us[1m])`" + ` |
| p90 time to first token | ` + "`histogram_quantile(0.9, sum by (model, le) (rate(salver_llm_first_token_seconds_bucket[5m])))`" + ` |
| Generated tokens per second | ` + "`sum by (model) (rate(salver_llm_generated_tokens_total[1m]))`" + ` |
| Share of prompts found in the prefix cache | ` + "`rate(salver_llm_prefix_hits_total[5m]) / rate(salver_llm_prefix_queries_total[5m])`" + ` |
| Requests refused because the queue is full | ` + "`rate(nv_inference_request_failure{reason=\"REJECTED\"}[1m])`" + ` |
`)
	return b.String()
}

// table writes the families with a prefix, but for those with one of the others.
func table(b *strings.Builder, title, prefix string, but ...string) {
	fmt.Fprintf(b, "## %s\n\n| Name | Kind | Labels | Meaning |\n|---|---|---|---|\n", title)
	for _, f := range families {
		if strings.HasPrefix(f.name, prefix) && !slices.ContainsFunc(but, func(p string) bool { return strings.HasPrefix(f.name, p) }) {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, strings.Join(f.labels, ", "), f.help)
		}
	}
	b.WriteByte('\n')
}
