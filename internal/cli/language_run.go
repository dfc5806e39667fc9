package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
	"github.com/spf13/cobra"
)

// samplingFlags say how run generates.
type samplingFlags struct {
	maxTokens   int
	temperature float32
	topP        float32
	topK        int
	system      string
	raw         bool
}

func (f *samplingFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.IntVar(&f.maxTokens, "max-tokens", 0, "language models: length of an answer, at most; 0 goes on to the end of the context")
	fl.Float32Var(&f.temperature, "temperature", 0, "language models: 0 always takes the likeliest token")
	fl.Float32Var(&f.topP, "top-p", 0, "language models: choose among the likeliest tokens that have this probability together")
	fl.IntVar(&f.topK, "top-k", 0, "language models: choose among so many of the likeliest tokens")
	fl.StringVar(&f.system, "system", "", "language models: a system message for the chat template")
	fl.BoolVar(&f.raw, "raw", false, "language models: continue the prompt as it is, without the chat template")
}

// check refuses what no model can take, before one is loaded.
func (f *samplingFlags) check() error {
	switch {
	case f.maxTokens < 0:
		return misusef("--max-tokens %d: expected 0 or more", f.maxTokens)
	case !(f.temperature >= 0 && f.temperature <= llm.MaxTemperature):
		return misusef("--temperature %v: expected 0 to %d", f.temperature, llm.MaxTemperature)
	case !(f.topP >= 0 && f.topP <= 1):
		return misusef("--top-p %v: expected 0 to 1", f.topP)
	case f.topK < 0:
		return misusef("--top-k %d: expected 0 or more", f.topK)
	}
	return nil
}

// talk is a language model with what was said so far.
type talk struct {
	model    *llm.Model
	flags    *samplingFlags
	seed     *uint64
	template *chat.Template // nil continues texts
	history  []chat.Message
	out, err io.Writer
	json     bool
}

// answerReport is what run --json prints of a language model's answer.
type answerReport struct {
	Text         string         `json:"text"`
	Finish       textgen.Finish `json:"finish_reason"`
	PromptTokens int            `json:"prompt_tokens"`
	CachedTokens int            `json:"cached_tokens"`
	Tokens       int            `json:"completion_tokens"`
	FirstTokenMS float64        `json:"first_token_ms"`
	LatencyMS    float64        `json:"latency_ms"`
}

// runLanguage answers a prompt, or talks.
func (f *runFlags) runLanguage(cmd *cobra.Command, e *env, path string, prompt []string) error {
	if len(f.inputs)+len(f.shapes) > 0 || f.random || f.output != "" || f.labels != "" || f.recipe.given() {
		return misusef("--input, --shape, --random, --output, --labels and the recipe of pictures are for models of tensors, not for language models")
	}
	if err := f.samplingFlags.check(); err != nil {
		return err
	}
	m, closeModel, err := loadLanguage(&f.engineFlags, &f.languageFlags, path)
	if err != nil {
		return err
	}
	defer closeModel()
	t := &talk{model: m, flags: &f.samplingFlags, out: e.out, err: e.err, json: f.json}
	if cmd.Flags().Changed("seed") {
		t.seed = &f.seed
	}
	if !f.raw {
		if t.template, err = m.ChatTemplate(); err != nil && f.system != "" {
			return fmt.Errorf("--system: %w", err)
		}
	}
	t.clear()
	if len(prompt) == 0 && !isTerminal(e.in) {
		b, err := io.ReadAll(e.in)
		if err != nil {
			return err
		}
		prompt = []string{strings.TrimSuffix(string(b), "\n")}
	}
	if len(prompt) > 0 {
		return t.say(cmd.Context(), prompt[0])
	}
	if f.json {
		return misusef("--json is for one answer: give a PROMPT")
	}
	return t.converse(cmd.Context(), e.in)
}

// clear forgets what was said.
func (t *talk) clear() {
	t.history = nil
	if t.flags.system != "" {
		t.history = []chat.Message{{Role: "system", Content: t.flags.system}}
	}
}

// say asks for an answer and prints it as it comes, or all at once as JSON.
func (t *talk) say(ctx context.Context, text string) error {
	if !utf8.ValidString(text) {
		return errors.New("the prompt is not valid UTF-8")
	}
	ids, err := t.prompt(text)
	if err != nil {
		return err
	}
	r := &textgen.Request{Prompt: ids, MaxTokens: t.flags.maxTokens, Logprobs: -1, PromptLogprobs: -1,
		Sampling: textgen.Sampling{Temperature: t.flags.temperature, TopP: t.flags.topP, TopK: t.flags.topK, Seed: t.seed}}
	var answer strings.Builder
	var finish textgen.Finish
	start := time.Now()
	usage, err := t.model.Generate(ctx, r, func(e *textgen.Event) (err error) {
		answer.WriteString(e.Text)
		finish = e.Finish
		if !t.json {
			_, err = io.WriteString(t.out, e.Text)
		}
		return err
	})
	if !t.json {
		fmt.Fprintln(t.out)
	}
	if t.template != nil {
		t.history = append(t.history, chat.Message{Role: "assistant", Content: answer.String()})
	}
	if err != nil {
		return err
	}
	if t.json {
		return json.NewEncoder(t.out).Encode(answerReport{answer.String(), finish, usage.PromptTokens, usage.CachedTokens, usage.GeneratedTokens,
			milliseconds(usage.FirstToken), milliseconds(usage.Total)})
	}
	rest := time.Since(start) - usage.FirstToken
	speed := ""
	if usage.GeneratedTokens > 1 {
		speed = fmt.Sprintf(", then %.1f a second", float64(usage.GeneratedTokens-1)/rest.Seconds())
	}
	fmt.Fprintf(t.err, "[%d tokens of prompt (%d known), first token after %.0f ms, %d tokens%s]\n", usage.PromptTokens, usage.CachedTokens,
		milliseconds(usage.FirstToken), usage.GeneratedTokens, speed)
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// prompt is the tokens of the conversation with the user's next message.
func (t *talk) prompt(text string) ([]int32, error) {
	tok := t.model.Tokenizer()
	if t.template == nil {
		return tok.Encode(text, token.EncodeOptions{AddSpecial: true}), nil
	}
	t.history = append(t.history, chat.Message{Role: "user", Content: text})
	whole, err := t.template.Render(chat.Conversation{Messages: t.history, AddGenerationPrompt: true})
	if err != nil {
		t.history = t.history[:len(t.history)-1]
		return nil, err
	}
	return tok.Encode(whole, token.EncodeOptions{ParseSpecial: true}), nil
}

const talkHelp = `Write a message and press Enter. A line that ends with \ goes on in the next one.
  /clear          forget what was said
  /system TEXT    begin anew with a system message
  /save FILE      write the conversation to a file
  /help           this text
  /quit           end (also Ctrl-D); Ctrl-C ends an answer
`

// converse reads messages until the end of the input. Ctrl-C ends an answer,
// and the program where there is none.
func (t *talk) converse(ctx context.Context, in io.Reader) error {
	if t.template == nil {
		fmt.Fprintln(t.err, "The model has no chat template: each message is continued as it is.")
	}
	fmt.Fprintln(t.err, "/help says what else can be done here.")
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for {
		text, ok := t.read(lines)
		if !ok || slices.Contains([]string{"/quit", "/exit", "/bye"}, strings.TrimSpace(text)) {
			return lines.Err()
		}
		if strings.TrimSpace(text) == "" {
			continue
		}
		if strings.HasPrefix(text, "/") {
			if err := t.command(strings.TrimSpace(text)); err != nil {
				fmt.Fprintf(t.err, "%v\n", err)
			}
			continue
		}
		if err := t.sayInterruptibly(ctx, text); err != nil {
			fmt.Fprintf(t.err, "%v\n", err)
		}
	}
}

// sayInterruptibly is say, which Ctrl-C ends.
func (t *talk) sayInterruptibly(parent context.Context, text string) error {
	ctx, stop := signal.NotifyContext(context.WithoutCancel(parent), os.Interrupt)
	defer stop()
	err := t.say(ctx, text)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// read gives a message, which may be several lines.
func (t *talk) read(lines *bufio.Scanner) (text string, ok bool) {
	fmt.Fprint(t.err, "> ")
	for lines.Scan() {
		part, more := strings.CutSuffix(lines.Text(), `\`)
		text += part
		if !more {
			return text, true
		}
		text += "\n"
		fmt.Fprint(t.err, "… ")
	}
	return text, text != ""
}

func (t *talk) command(line string) error {
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch name {
	case "/help", "/?":
		fmt.Fprint(t.err, talkHelp)
	case "/clear":
		t.clear()
	case "/system":
		if t.template == nil {
			return errors.New("the model has no chat template, so that it knows no system message")
		}
		t.flags.system = rest
		t.clear()
	case "/save":
		if rest == "" {
			return errors.New("/save FILE: a file name is missing")
		}
		return t.save(rest)
	default:
		return fmt.Errorf("%s is unknown; /help lists what there is", name)
	}
	return nil
}

func (t *talk) save(name string) error {
	var b strings.Builder
	for _, m := range t.history {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", m.Role, m.Content)
	}
	return os.WriteFile(name, []byte(b.String()), 0o644)
}
