package openaiapi

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
)

// conversationFields are those that chat and tokenize have in common.
var conversationFields = fields.Table[*answer.Conversation]{
	fields.Any("messages", "array of 1 to 4096", "What was said; see below.", func(c *answer.Conversation, v fields.Value) (err error) {
		c.Messages, err = readMessages(v)
		return err
	}),
	fields.Any("tools", "array of at most 128", "Functions that the model may call; the model's template shows them to it.", func(c *answer.Conversation, v fields.Value) (err error) {
		c.Tools, err = readTools(v)
		return err
	}),
	fields.Extend(fields.Any("add_generation_prompt", "boolean", "false leaves out what begins an answer. Default: true.", func(c *answer.Conversation, v fields.Value) error {
		add, err := v.Bool()
		c.NoPrompt = !add
		return err
	})),
	fields.Extend(fields.Bool("continue_final_message", "Goes on with the last message; needs `add_generation_prompt: false`.", func(c *answer.Conversation) *bool { return &c.Continue })),
	fields.Extend(fields.Any("chat_template_kwargs", "object", "Variables of the model's template, such as `enable_thinking`.", func(c *answer.Conversation, v fields.Value) error {
		m, err := v.Object()
		c.Variables = append(c.Variables, m...)
		return err
	})),
	fields.Refuse[*answer.Conversation]("chat_template", "templates come with the model"),
	fields.Refuse[*answer.Conversation]("documents", "give them in messages", "[]"),
	fields.Refuse[*answer.Conversation]("mm_processor_kwargs", "models here read text only"),
}

// checkConversation finds what is missing or contradicts itself.
func checkConversation(c *answer.Conversation) error {
	switch {
	case len(c.Messages) == 0:
		return &fields.Error{Path: "messages", Reason: "expected at least one message"}
	case c.Continue && !c.NoPrompt:
		return &fields.Error{Path: "continue_final_message", Reason: "it needs add_generation_prompt to be false"}
	}
	return nil
}

// toolChoiceFields say how its tools may be called.
var toolChoiceFields = fields.Table[*answer.Conversation]{
	fields.Any("tool_choice", "none, auto", "none hides the tools from the model. A call can't be forced yet.", func(c *answer.Conversation, v fields.Value) (err error) {
		c.NoTools, err = readToolChoice(v)
		return err
	}),
	answer.OneCall("parallel_tool_calls", false),
}

// chatRequest is a request for a chat's next message.
type chatRequest struct {
	model string
	answer.Conversation
	answer.Settings
	maxTokens, maxCompletion *int
	logprobs                 bool
	streaming
}

// streaming says whether an answer comes in pieces.
type streaming struct {
	stream              bool
	usage, runningUsage bool // sent at the end, or in each piece
}

func (s *streaming) check() error {
	if (s.usage || s.runningUsage) && !s.stream {
		return &fields.Error{Path: "stream_options", Reason: "it needs stream to be true"}
	}
	return nil
}

var streamOptions = fields.Table[*streaming]{
	fields.Bool("include_usage", "", func(s *streaming) *bool { return &s.usage }),
	fields.Extend(fields.Bool("continuous_usage_stats", "", func(s *streaming) *bool { return &s.runningUsage })),
	fields.Ignore[*streaming]("include_obfuscation", "pieces are never padded"),
}

var streamingFields = fields.Table[*streaming]{
	fields.Bool("stream", "Sends the answer in pieces as it is made.", func(s *streaming) *bool { return &s.stream }),
	fields.Object("stream_options", "With `include_usage` the last piece has the usage; with `continuous_usage_stats` (an extension) each has.", streamOptions, func(s *streaming) *streaming { return s }),
}

// accepted are fields of OpenAI's that clients send and that mean nothing here.
func accepted[T any]() fields.Table[T] {
	return fields.Table[T]{
		fields.Ignore[T]("user", "fairness is by API key"),
		fields.Ignore[T]("safety_identifier", "nothing is reported"),
		fields.Ignore[T]("metadata", "nothing is stored"),
		fields.Ignore[T]("prompt_cache_key", "prefixes are found by their content"),
		fields.Ignore[T]("prompt_cache_retention", "prefixes stay while there is memory"),
		fields.Ignore[T]("prompt_cache_options", "prefixes are found by their content"),
		fields.Ignore[T]("service_tier", "there is one tier"),
		fields.Ignore[T]("request_id", "the answer has an id of its own"),
		fields.Ignore[T]("store", "nothing is stored"),
		fields.Refuse[T]("moderation", "answers are not moderated"),
	}
}

var chatFields = concat(
	fields.Table[*chatRequest]{
		fields.Text("model", "Its name, or `NAME:VERSION`.", answer.MaxName, func(q *chatRequest) *string { return &q.model }),
	},
	fields.In(slices.Concat(conversationFields, toolChoiceFields), func(q *chatRequest) *answer.Conversation { return &q.Conversation }),
	fields.Table[*chatRequest]{
		fields.Int("max_completion_tokens", "Tokens of an answer, at most. Default: as many as the context has room for.", 1, fields.Many, func(q *chatRequest) **int { return &q.maxCompletion }),
		fields.Int("max_tokens", "The same, by its old name.", 1, fields.Many, func(q *chatRequest) **int { return &q.maxTokens }),
	},
	fields.In(answer.OpenAI, func(q *chatRequest) *answer.Settings { return &q.Settings }),
	fields.Table[*chatRequest]{
		fields.Bool("logprobs", "Gives the probability of each token.", func(q *chatRequest) *bool { return &q.logprobs }),
		fields.Int("top_logprobs", "And of so many alternatives; needs `logprobs`.", 0, answer.MaxLogprobs, func(q *chatRequest) **int { return &q.Logprobs }),
		fields.Any("reasoning_effort", "string", "Given to the model's template as `reasoning_effort`; none also sets `enable_thinking` to false.", func(q *chatRequest, v fields.Value) error {
			vars, err := readEffort(v)
			q.Variables = append(q.Variables, vars...)
			return err
		}),
	},
	fields.In(streamingFields, func(q *chatRequest) *streaming { return &q.streaming }),
	fields.In(answer.VLLM, func(q *chatRequest) *answer.Settings { return &q.Settings }),
	fields.Table[*chatRequest]{
		fields.Extend(fields.Int("best_of", "Answers computed for each prompt, of which the `n` likeliest are given; no more than `--max-sequences`, and not with `stream`.", 1, answer.MaxBestOf, func(q *chatRequest) **int { return &q.BestOf })),
		fields.Refuse[*chatRequest]("response_format", "output can't be constrained yet: leave it out and ask for the form in a message", `{"type":"text"}`),
		fields.Refuse[*chatRequest]("functions", "use tools", "[]"),
		fields.Refuse[*chatRequest]("function_call", "use tool_choice", `"none"`, `"auto"`),
		fields.Refuse[*chatRequest]("modalities", "models here write text", `["text"]`),
		fields.Refuse[*chatRequest]("audio", "models here write text"),
		fields.Refuse[*chatRequest]("prediction", "answers are not guessed ahead"),
		fields.Refuse[*chatRequest]("web_search_options", "this server searches nothing"),
		fields.Refuse[*chatRequest]("verbosity", "say it in the messages", `"medium"`),
		fields.Refuse[*chatRequest]("echo", "use continue_final_message", "false"),
		fields.Refuse[*chatRequest]("add_special_tokens", "the template has them", "false"),
		fields.Refuse[*chatRequest]("include_reasoning", "reasoning is shown apart", "true"),
	},
	accepted[*chatRequest](),
)

func concat[T any](tables ...fields.Table[T]) (all fields.Table[T]) {
	for _, t := range tables {
		all = append(all, t...)
	}
	return all
}

// efforts are OpenAI's.
var efforts = []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}

// readEffort makes the template's variables of how much a model is to think.
func readEffort(v fields.Value) ([]fields.Member, error) {
	s, err := v.Text()
	if err == nil && !slices.Contains(efforts, s) {
		err = v.Errorf("expected one of %s, found %q", strings.Join(efforts, ", "), s)
	}
	list := []fields.Member{answer.Variable("reasoning_effort", s)}
	if s == "none" {
		list = append(list, answer.Variable("enable_thinking", false))
	}
	return list, err
}

// readChat reads and checks a request.
func readChat(body []byte) (*chatRequest, error) {
	q, err := fields.ReadBody(chatFields, body)
	if err != nil {
		return nil, err
	}
	switch {
	case q.maxTokens != nil && q.maxCompletion != nil && *q.maxTokens != *q.maxCompletion:
		return nil, &fields.Error{Path: "max_tokens", Reason: "it contradicts max_completion_tokens; give one of them"}
	case q.maxTokens != nil:
		q.MaxTokens = q.maxTokens
	default:
		q.MaxTokens = q.maxCompletion
	}
	switch {
	case q.Logprobs != nil && !q.logprobs:
		return nil, &fields.Error{Path: "top_logprobs", Reason: "it needs logprobs to be true"}
	case q.logprobs && q.Logprobs == nil:
		q.Logprobs = new(int)
	}
	return q, errors.Join(checkConversation(&q.Conversation), q.streaming.check())
}

// usualTemperature is OpenAI's default.
const usualTemperature = 1

// chat answers /v1/chat/completions.
func (h *handler) chat(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := readChat(body)
	if err != nil {
		return err
	}
	m, turn, err := h.Turn(r.Context(), q.model, &q.Conversation, &q.Settings, q.stream, usualTemperature)
	if err != nil {
		return err
	}
	defer m.Release()
	if q.stream {
		return h.streamChat(w, r, q, m.Model, turn)
	}
	return h.wholeChat(w, r, q, m.Model, turn)
}
