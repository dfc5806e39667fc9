package obs

import (
	"maps"
	"slices"
	"strconv"

	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/textgen"
)

// The families of language models, and below them those that gateways know from vLLM.
var (
	llmRunning   = family("gauge", "salver_llm_requests_running", "Requests whose tokens are being computed.", "model", "version")
	llmWaiting   = family("gauge", "salver_llm_requests_waiting", "Requests that wait to be computed.", "model", "version")
	llmBlocks    = family("gauge", "salver_llm_kv_blocks", "Blocks of the KV cache.", "model", "version")
	llmUsed      = family("gauge", "salver_llm_kv_blocks_used", "Blocks that hold tokens of requests.", "model", "version")
	llmKV        = family("gauge", "salver_llm_kv_bytes", "Bytes of the KV cache.", "model", "version")
	llmQueries   = family("counter", "salver_llm_prefix_queries_total", "Tokens of prompts that were looked up in the prefix cache.", "model", "version")
	llmHits      = family("counter", "salver_llm_prefix_hits_total", "Those that were found.", "model", "version")
	llmPrompt    = family("counter", "salver_llm_prompt_tokens_total", "Tokens of prompts.", "model", "version")
	llmGenerated = family("counter", "salver_llm_generated_tokens_total", "Tokens of answers.", "model", "version")
	llmPreempted = family("counter", "salver_llm_preemptions_total", "Requests that gave their memory to others and were computed again.", "model", "version")
	llmFinished  = family("counter", "salver_llm_requests_total", "Requests by their end: stop, length, abort, error.", "model", "version", "reason")
	llmFirst     = family("histogram", "salver_llm_first_token_seconds", "Time from a request's arrival to its first token.", "model", "version")
	llmEach      = family("histogram", "salver_llm_token_seconds", "Time between tokens.", "model", "version")
	llmQueue     = family("histogram", "salver_llm_queue_seconds", "Time that requests waited.", "model", "version")
	llmPrefill   = family("histogram", "salver_llm_prompt_seconds", "Time to compute prompts.", "model", "version")
	llmRequest   = family("histogram", "salver_llm_request_seconds", "Time from a request's arrival to its last token.", "model", "version")
	llmSteps     = family("counter", "salver_llm_steps_total", "Steps of the engine; each computes a batch of tokens.", "model", "version")
	llmStepTime  = family("counter", "salver_llm_step_seconds_total", "Time of steps.", "model", "version")
	llmDeciding  = family("counter", "salver_llm_scheduler_seconds_total", "Of that, spent deciding what to compute.", "model", "version")

	vllmRunning   = family("gauge", "vllm:num_requests_running", "Requests whose tokens are being computed.", "model_name", "version")
	vllmWaiting   = family("gauge", "vllm:num_requests_waiting", "Requests that wait to be computed.", "model_name", "version")
	vllmUsage     = family("gauge", "vllm:kv_cache_usage_perc", "Share of the KV cache's blocks that are used; 1 is all.", "model_name", "version")
	vllmOldUsage  = family("gauge", "vllm:gpu_cache_usage_perc", "The same, by its old name.", "model_name", "version")
	vllmConfig    = family("gauge", "vllm:cache_config_info", "Always 1; the labels say how large the KV cache is.", "model_name", "version", "block_size", "num_gpu_blocks")
	vllmQueries   = family("counter", "vllm:prefix_cache_queries_total", "Tokens of prompts that were looked up in the prefix cache.", "model_name", "version")
	vllmHits      = family("counter", "vllm:prefix_cache_hits_total", "Those that were found.", "model_name", "version")
	vllmPrompt    = family("counter", "vllm:prompt_tokens_total", "Tokens of prompts.", "model_name", "version")
	vllmGenerated = family("counter", "vllm:generation_tokens_total", "Tokens of answers.", "model_name", "version")
	vllmPreempted = family("counter", "vllm:num_preemptions_total", "Requests that gave their memory to others and were computed again.", "model_name", "version")
	vllmSuccess   = family("counter", "vllm:request_success_total", "Requests by their end: stop, length, abort.", "model_name", "version", "finished_reason")
	vllmFirst     = family("histogram", "vllm:time_to_first_token_seconds", "Time from a request's arrival to its first token.", "model_name", "version")
	vllmEach      = family("histogram", "vllm:inter_token_latency_seconds", "Time between tokens.", "model_name", "version")
	vllmOldEach   = family("histogram", "vllm:time_per_output_token_seconds", "The same, by its old name.", "model_name", "version")
	vllmQueue     = family("histogram", "vllm:request_queue_time_seconds", "Time that requests waited.", "model_name", "version")
	vllmPrefill   = family("histogram", "vllm:request_prefill_time_seconds", "Time to compute prompts.", "model_name", "version")
	vllmEndToEnd  = family("histogram", "vllm:e2e_request_latency_seconds", "Time from a request's arrival to its last token.", "model_name", "version")
)

// text sends a language model's metrics.
func (o exposition) text(name, version string, s *textgen.Stats) {
	used := 0.0
	if s.BlocksAll > 0 {
		used = float64(s.BlocksUsed) / float64(s.BlocksAll)
	}
	for _, v := range []struct {
		value float64
		under []*metric
	}{
		{float64(s.Running), []*metric{llmRunning, vllmRunning}},
		{float64(s.Waiting), []*metric{llmWaiting, vllmWaiting}},
		{float64(s.BlocksAll), []*metric{llmBlocks}},
		{float64(s.BlocksUsed), []*metric{llmUsed}},
		{float64(s.KVBytes), []*metric{llmKV}},
		{used, []*metric{vllmUsage, vllmOldUsage}},
		{float64(s.PrefixQueries), []*metric{llmQueries, vllmQueries}},
		{float64(s.PrefixHits), []*metric{llmHits, vllmHits}},
		{float64(s.PromptTokens), []*metric{llmPrompt, vllmPrompt}},
		{float64(s.GeneratedTokens), []*metric{llmGenerated, vllmGenerated}},
		{float64(s.Preemptions), []*metric{llmPreempted, vllmPreempted}},
		{float64(s.Steps), []*metric{llmSteps}},
		{s.StepSeconds, []*metric{llmStepTime}},
		{s.SchedulerSeconds, []*metric{llmDeciding}},
	} {
		for _, m := range v.under {
			o.send(m, v.value, name, version)
		}
	}
	for _, v := range []struct {
		value *textgen.Histogram
		under []*metric
	}{
		{&s.FirstToken, []*metric{llmFirst, vllmFirst}},
		{&s.EachToken, []*metric{llmEach, vllmEach, vllmOldEach}},
		{&s.Queue, []*metric{llmQueue, vllmQueue}},
		{&s.Prompt, []*metric{llmPrefill, vllmPrefill}},
		{&s.Request, []*metric{llmRequest, vllmEndToEnd}},
	} {
		for _, m := range v.under {
			o.histogram(m, serve.HistogramSnapshot(*v.value), name, version)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Requests)) {
		n := float64(s.Requests[reason])
		o.send(llmFinished, n, name, version, reason)
		if reason != "error" {
			o.send(vllmSuccess, n, name, version, reason)
		}
	}
	o.send(vllmConfig, 1, name, version, strconv.Itoa(s.BlockTokens), strconv.Itoa(s.BlocksAll))
}
