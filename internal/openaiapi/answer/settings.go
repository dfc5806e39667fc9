package answer

import (
	"math"
	"strconv"

	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/textgen"
)

// Bounds of a request.
const (
	MaxChoices    = 128  // answers to one request, over all its prompts
	MaxBestOf     = 128  // answers computed for one prompt
	MaxStops      = 16   // stop strings
	MaxStopBytes  = 256  // of each
	MaxStopTokens = 64   // stop tokens
	MaxLogprobs   = 20   // alternatives for a token
	MaxBias       = 1024 // tokens with a bias
)

// Settings say how answers are made, as a request gave them: nil is not given.
type Settings struct {
	Temperature, TopP, MinP, TypicalP *float32
	Repetition, Presence, Frequency   *float32
	TopK, MaxTokens, MinTokens        *int
	N, BestOf, Priority               *int
	Seed                              *uint64
	Stop                              []string
	StopTokens                        []int32
	IgnoreEOS, IncludeStop            bool
	KeepSpecial                       bool
	LogitBias                         map[int32]float32
	Logprobs                          *int
}

// Request is a request of the engine for a prompt. What was not given is as
// the model suggests; if it suggests nothing, the temperature is usual.
func (s *Settings) Request(prompt []int32, info *textgen.Info, usual float32, tenant string) *textgen.Request {
	r := &textgen.Request{
		Prompt: prompt, Sampling: info.Defaults, Tenant: tenant, Stop: s.Stop, StopTokens: s.StopTokens, IgnoreEOS: s.IgnoreEOS,
		KeepSpecial: s.KeepSpecial, IncludeStop: s.IncludeStop, Logprobs: -1, PromptLogprobs: -1,
	}
	if silent(&info.Defaults) {
		r.Temperature = usual
	}
	set(&r.Temperature, s.Temperature)
	set(&r.TopP, s.TopP)
	set(&r.MinP, s.MinP)
	set(&r.TypicalP, s.TypicalP)
	set(&r.Repetition, s.Repetition)
	set(&r.Presence, s.Presence)
	set(&r.Frequency, s.Frequency)
	set(&r.TopK, s.TopK)
	set(&r.MaxTokens, s.MaxTokens)
	set(&r.MinTokens, s.MinTokens)
	set(&r.N, s.N)
	set(&r.BestOf, s.BestOf)
	set(&r.Priority, s.Priority)
	set(&r.Logprobs, s.Logprobs)
	r.TopK = max(r.TopK, 0)
	if s.TopP != nil && *s.TopP == 0 {
		r.TopK = 1 // nothing but the likeliest; the engine's 0 is all
	}
	if s.Seed != nil {
		r.Seed = s.Seed
	}
	if s.LogitBias != nil {
		r.LogitBias = s.LogitBias
	}
	return r
}

// silent reports whether a model suggests nothing.
func silent(d *textgen.Sampling) bool {
	return d.Temperature == 0 && d.TopK == 0 && d.TopP == 0 && d.MinP == 0 && d.TypicalP == 0 && d.Repetition == 0 && d.Presence == 0 &&
		d.Frequency == 0 && d.LogitBias == nil && d.Seed == nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// Choices is how many answers there are for each prompt.
func (s *Settings) Choices() int {
	if s.N == nil {
		return 1
	}
	return *s.N
}

// Check finds settings that contradict each other or the model.
func (s *Settings) Check(info *textgen.Info, stream bool) error {
	n := s.Choices()
	switch {
	case s.BestOf != nil && *s.BestOf < n:
		return &fields.Error{Path: "best_of", Reason: "expected at least n (" + strconv.Itoa(n) + "), found " + strconv.Itoa(*s.BestOf)}
	case s.BestOf != nil && *s.BestOf > n && stream:
		return &fields.Error{Path: "best_of", Reason: "which answers are the likeliest is known at the end only: with stream, expected best_of to be n"}
	case s.MinTokens != nil && s.MaxTokens != nil && *s.MinTokens > *s.MaxTokens:
		return &fields.Error{Path: "min_tokens", Reason: "expected at most max_tokens (" + strconv.Itoa(*s.MaxTokens) + "), found " + strconv.Itoa(*s.MinTokens)}
	}
	for id := range s.LogitBias {
		if int(id) >= info.Vocabulary {
			return &fields.Error{Path: "logit_bias", Reason: "this model has " + strconv.Itoa(info.Vocabulary) + " tokens, found the id " + strconv.Itoa(int(id))}
		}
	}
	for _, id := range s.StopTokens {
		if int(id) >= info.Vocabulary {
			return &fields.Error{Path: "stop_token_ids", Reason: "this model has " + strconv.Itoa(info.Vocabulary) + " tokens, found the id " + strconv.Itoa(int(id))}
		}
	}
	return nil
}

// OpenAI are the settings that OpenAI's chat and completions have in common.
var OpenAI = fields.Table[*Settings]{
	fields.Float("temperature", "How far less likely tokens are considered; 0 is greedy. Default: as the model suggests, or 1.", 0, 2, func(s *Settings) **float32 { return &s.Temperature }),
	fields.Float("top_p", "Considers the likeliest tokens that together have this probability.", 0, 1, func(s *Settings) **float32 { return &s.TopP }),
	fields.Int("n", "Answers to each prompt; no more than `--max-sequences`.", 1, MaxChoices, func(s *Settings) **int { return &s.N }),
	Stop("stop", "Strings that end an answer; they are not part of it."),
	fields.Float("presence_penalty", "Subtracted from the logit of each token that the answer has.", -2, 2, func(s *Settings) **float32 { return &s.Presence }),
	fields.Float("frequency_penalty", "The same, for each time that the answer has it.", -2, 2, func(s *Settings) **float32 { return &s.Frequency }),
	Seed("seed", "The same seed and request give the same answer."),
	fields.Any("logit_bias", "object: token id to number from -100 to 100; at most "+strconv.Itoa(MaxBias), "Added to the logits of tokens.", readBias),
}

// VLLM are settings that vLLM adds.
var VLLM = fields.Table[*Settings]{
	fields.Extend(fields.Int("top_k", "Considers so many of the likeliest tokens; 0 and -1 are all.", -1, fields.Many, func(s *Settings) **int { return &s.TopK })),
	fields.Extend(fields.Float("min_p", "Considers tokens of at least this share of the likeliest's probability.", 0, 1, func(s *Settings) **float32 { return &s.MinP })),
	fields.Extend(fields.Float("typical_p", "Considers the tokens of the most typical information that together have this probability.", 0, 1, func(s *Settings) **float32 { return &s.TypicalP })),
	fields.Extend(fields.Float("repetition_penalty", "Divides (or, below 0, multiplies) the logit of each token that prompt or answer have.", 0.01, 100, func(s *Settings) **float32 { return &s.Repetition })),
	fields.Extend(fields.Int("min_tokens", "No end before so many tokens.", 0, fields.Many, func(s *Settings) **int { return &s.MinTokens })),
	fields.Extend(fields.Bool("ignore_eos", "Goes on where the model wants to end.", func(s *Settings) *bool { return &s.IgnoreEOS })),
	fields.Extend(fields.Any("stop_token_ids", "array of at most "+strconv.Itoa(MaxStopTokens)+" token ids", "Tokens that end an answer.", readStopTokens)),
	fields.Extend(fields.Bool("include_stop_str_in_output", "Leaves the stop string in the answer.", func(s *Settings) *bool { return &s.IncludeStop })),
	fields.Extend(fields.Any("skip_special_tokens", "boolean", "false leaves special tokens in the answer's text. Default: true.", func(s *Settings, v fields.Value) error {
		skip, err := v.Bool()
		s.KeepSpecial = !skip
		return err
	})),
	fields.Extend(fields.Any("priority", "integer from -1000 to 1000", "Requests of a lower value go first. Default: 0.", func(s *Settings, v fields.Value) error {
		n, err := v.Int(-1000, 1000)
		p := int(-n)
		s.Priority = &p
		return err
	})),
	fields.Refuse[*Settings]("length_penalty", "there is no beam search", "1", "1.0"),
	fields.Refuse[*Settings]("use_beam_search", "there is no beam search", "false"),
	fields.Refuse[*Settings]("bad_words", "use logit_bias", "[]"),
	fields.Refuse[*Settings]("allowed_token_ids", "use logit_bias"),
	fields.Refuse[*Settings]("spaces_between_special_tokens", "text is as its tokens say", "true"),
	fields.Refuse[*Settings]("truncate_prompt_tokens", "a prompt is never cut"),
	fields.Refuse[*Settings]("prompt_logprobs", "use echo and logprobs of /v1/completions"),
	fields.Refuse[*Settings]("return_token_ids", "use /tokenize", "false"),
	fields.Refuse[*Settings]("cache_salt", "prefix caches are of one API key already"),
	fields.Refuse[*Settings]("structured_outputs", "output can't be constrained yet: leave it out and ask for the form in a message"),
	fields.Refuse[*Settings]("guided_json", "output can't be constrained yet: leave it out and ask for the form in a message"),
	fields.Refuse[*Settings]("guided_regex", "output can't be constrained yet: leave it out and ask for the form in a message"),
	fields.Refuse[*Settings]("guided_choice", "output can't be constrained yet: leave it out and ask for the form in a message"),
	fields.Refuse[*Settings]("guided_grammar", "output can't be constrained yet: leave it out and ask for the form in a message"),
}

// Stop is a field of stop strings.
func Stop(name, doc string) *fields.Field[*Settings] {
	form := "string, or array of at most " + strconv.Itoa(MaxStops) + "; each of 1 to " + strconv.Itoa(MaxStopBytes) + " bytes"
	return fields.Any(name, form, doc, (*Settings).ReadStop)
}

// ReadStop reads stop strings.
func (s *Settings) ReadStop(v fields.Value) error {
	list, err := v.Strings(MaxStops)
	if err != nil {
		return err
	}
	for _, t := range list {
		if len(t) == 0 || len(t) > MaxStopBytes {
			return v.Errorf("expected strings of 1 to %d bytes, found one of %d", MaxStopBytes, len(t))
		}
	}
	s.Stop = list
	return nil
}

// Seed is a field of a seed.
func Seed(name, doc string) *fields.Field[*Settings] {
	return fields.Any(name, "integer of 64 bits", doc, func(s *Settings, v fields.Value) error {
		n, err := v.Int(math.MinInt64, math.MaxInt64)
		seed := uint64(n)
		s.Seed = &seed
		return err
	})
}

func readStopTokens(s *Settings, v fields.Value) (err error) {
	if s.StopTokens, err = v.IDs(); err == nil && len(s.StopTokens) > MaxStopTokens {
		err = v.Errorf("expected at most %d token ids, found %d", MaxStopTokens, len(s.StopTokens))
	}
	return err
}

func readBias(s *Settings, v fields.Value) error {
	members, err := v.Object()
	if err != nil {
		return err
	}
	if len(members) > MaxBias {
		return v.Errorf("expected at most %d tokens, found %d", MaxBias, len(members))
	}
	s.LogitBias = make(map[int32]float32, len(members))
	for _, m := range members {
		id, err := strconv.ParseInt(m.Name, 10, 32)
		if err != nil || id < 0 {
			return m.Errorf("expected a token id")
		}
		bias, err := m.Number(-100, 100)
		if err != nil {
			return err
		}
		s.LogitBias[int32(id)] = float32(bias)
	}
	return nil
}
