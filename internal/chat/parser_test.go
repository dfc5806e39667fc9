package chat

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// result is what the deltas of an answer come to.
type result struct {
	content, reasoning string
	calls              []call
}

func (r *result) add(t testing.TB, deltas []Delta) {
	t.Helper()
	for _, d := range deltas {
		if d.Content == "" && d.Reasoning == "" && len(d.ToolCalls) == 0 {
			t.Error("a delta without anything")
		}
		r.content += d.Content
		r.reasoning += d.Reasoning
		for _, c := range d.ToolCalls {
			if c.Index != len(r.calls) || c.Name == "" || !json.Valid([]byte(c.Arguments)) {
				t.Errorf("after %d calls came %+v", len(r.calls), c)
			}
			r.calls = append(r.calls, call{c.ID, c.Name, c.Arguments})
		}
	}
}

func (r result) String() string {
	return fmt.Sprintf("content %q, reasoning %q, calls %q", r.content, r.reasoning, r.calls)
}

// parsePieces gives what comes of an answer that arrives in pieces.
func parsePieces(t testing.TB, tmpl *Template, c Conversation, pieces ...string) result {
	t.Helper()
	p := tmpl.Parser(c)
	var r result
	for _, s := range pieces {
		r.add(t, p.Push(s))
	}
	r.add(t, p.Finish())
	return r
}

const weatherTools = `[{"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": {"type": "object",
	"properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "hours": {"type": "array"}}}}},
	{"type": "function", "function": {"name": "now", "description": "Time", "parameters": {"type": "object", "properties": {}}}}]`

func weather(t testing.TB) Conversation {
	t.Helper()
	tools, err := DecodeTools(json.RawMessage(weatherTools))
	if err != nil {
		t.Fatal(err)
	}
	return Conversation{Messages: []Message{{Role: "user", Content: "Weather?"}}, Tools: tools, AddGenerationPrompt: true}
}

const paris = `{"city": "Paris", "days": 2}`

var parisCall = []call{{"", "get_weather", paris}}

// twice is two calls, the second of a function without parameters.
var twice = []call{{"", "get_weather", paris}, {"", "now", "{}"}}

var answers = []struct {
	model, answer string
	want          result
}{
	{"Qwen-Qwen3-0.6B", "<think>\nHm.\n\nYes.\n</think>\n\nHello!", result{"Hello!", "Hm.\n\nYes.", nil}},
	{"Qwen-Qwen3-0.6B", "Hello <think> is a tag.\n", result{"Hello <think> is a tag.\n", "", nil}},
	{"Qwen-Qwen3-0.6B", "<think>\nnever ends", result{"", "never ends", nil}},
	{"Qwen-Qwen3-0.6B", "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": " + paris + "}\n</tool_call>", result{"", "", parisCall}},
	{"Qwen-Qwen3-0.6B", "<think>\nCall.\n</think>\n\nLet me see.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": " + paris + "}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n",
		result{"Let me see.", "Call.", twice}},
	{"Qwen-Qwen3-0.6B", `<tool_call>{"name": "get_weather", "arguments": {"city": "</tool_call>}"}}</tool_call> done`,
		result{"done", "", []call{{"", "get_weather", `{"city": "</tool_call>}"}`}}}},
	{"Qwen-Qwen3-0.6B", `<tool_call>{"name": "now", "arguments": "{\"a\": 1}"}</tool_call>`, result{"", "", []call{{"", "now", `{"a": 1}`}}}},
	{"Qwen-Qwen3-0.6B", `<tool_call>{"name": "now"}`, result{"", "", []call{{"", "now", `{}`}}}},
	{"Qwen-Qwen3-0.6B", `<tool_call>{"name": "now"}</tool_`, result{"", "", []call{{"", "now", `{}`}}}},
	{"Qwen-Qwen3-0.6B", "See: \n<tool_call>\n{\"name\": oops}\n</tool_call>\n", result{"See: \n<tool_call>\n{\"name\": oops}\n</tool_call>\n", "", nil}},
	{"Qwen-Qwen3-0.6B", "a <tool_call>\n{\"name\": \"now\", \"argu", result{"a <tool_call>\n{\"name\": \"now\", \"argu", "", nil}},
	{"Qwen-Qwen3-0.6B", "a <tool_call> b <tool_call>{\"name\": \"now\"}</tool_call>", result{"a <tool_call> b", "", []call{{"", "now", "{}"}}}},
	{"Qwen-Qwen3-0.6B", "a <tool_call> b <tool", result{"a <tool_call> b <tool", "", nil}},
	{"Qwen-Qwen3-0.6B", "<think>a <tool_call>{\"name\": \"now\"}</tool_call></think>b", result{"b", `a <tool_call>{"name": "now"}</tool_call>`, nil}},
	{"Qwen-Qwen3-0.6B", "  spaced  text \n\n ", result{"  spaced  text \n\n ", "", nil}},
	{"Qwen3.5-4B", "I think.\n</think>\n\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>", result{"", "I think.", parisCall}},
	{"Qwen3-Coder", "Sure.\n<function=get_weather>\n<parameter=city>\n 12\n\n</parameter>\n<parameter=days>\nmany\n</parameter>\n<parameter=hours>\n[1, 2]\n</parameter>\n</function>\n</tool_call>",
		result{"Sure.", "", []call{{"", "get_weather", `{"city": " 12\n", "days": "many", "hours": [1, 2]}`}}}},
	{"Qwen3-Coder", "<tool_call>\n<function=now>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>", result{"", "", []call{{"", "now", "{}"}, {"", "now", "{}"}}}},
	{"Qwen3-Coder", "<function=now> is how", result{"<function=now> is how", "", nil}},
	{"GLM-4.6", "\n<think>Hm</think>\nWait.\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>", result{"Wait.", "Hm", twice}},
	{"GLM-4.7-Flash", "Hm</think><tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value><arg_key>days</arg_key><arg_value>2</arg_value></tool_call>", result{"", "Hm", parisCall}},
	{"tencent-Hy3", "<tool_calls:opensource>\n<tool_call:opensource>get_weather<tool_sep:opensource>\n<arg_key:opensource>city</arg_key:opensource>\n<arg_value:opensource>Paris</arg_value:opensource>\n<arg_key:opensource>days</arg_key:opensource>\n<arg_value:opensource>2</arg_value:opensource>\n</tool_call:opensource>\n<tool_call:opensource>now<tool_sep:opensource>\n</tool_call:opensource>\n</tool_calls:opensource>", result{"", "", twice}},
	{"MiniMax-M2", "Hm.\n</think>\n\nOk\n<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">Paris</parameter>\n<parameter name=\"days\">2</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>", result{"Ok", "Hm.", twice}},
	{"deepseek-ai-DeepSeek-V3.2", "Ok\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">Paris</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" string=\"false\">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>", result{"Ok", "", twice}},
	{"deepseek-ai-DeepSeek-V4", "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"now\">\n<｜DSML｜parameter name=\"x\" string=\"true\">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>", result{"", "", []call{{"", "now", `{"x": "2"}`}}}},
	{"deepseek-ai-DeepSeek-V3.1", "Ok<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>" + paris + "<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", result{"Ok", "", twice}},
	{"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "Hm</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n" + paris + "\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", result{"", "Hm", twice}},
	{"moonshotai-Kimi-K2", "Ok<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>" + paris + "<|tool_call_end|><|tool_calls_section_end|>", result{"Ok", "", []call{{"functions.get_weather:0", "get_weather", paris}}}},
	{"Kimi-K2-Thinking", "<think>Hm <|tool_calls_section_begin|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>", result{"", "Hm", []call{{"functions.now:1", "now", "{}"}}}},
	{"Mistral-Small-3.2-24B-Instruct-2506", "[TOOL_CALLS]get_weather[CALL_ID]a1B2c3D4e[ARGS]" + paris + "[TOOL_CALLS]now[ARGS]{}", result{"", "", []call{{"a1B2c3D4e", "get_weather", paris}, {"", "now", "{}"}}}},
	{"mistralai-Mistral-Nemo-Instruct-2407", `[TOOL_CALLS][{"name": "get_weather", "arguments": ` + paris + `, "id": "a1B2c3D4e"}, {"name": "now", "arguments": {}}]`, result{"", "", []call{{"a1B2c3D4e", "get_weather", paris}, {"", "now", "{}"}}}},
	{"mistralai-Mistral-Nemo-Instruct-2407", "I can't [TOOL_CALLS] that", result{"I can't [TOOL_CALLS] that", "", nil}},
	{"mistralai-Ministral-3-14B-Reasoning-2512", "[THINK]Hm[/THINK]Hi", result{"Hi", "Hm", nil}},
	{"unsloth-mistral-Devstral-Small-2507", "Ok [TOOL_CALLS]get_weather[ARGS]" + paris, result{"Ok", "", parisCall}},
	{"meta-llama-Llama-3.1-8B-Instruct", `{"name": "get_weather", "parameters": ` + paris + `}`, result{"", "", parisCall}},
	{"meta-llama-Llama-3.1-8B-Instruct", `{"name": "get_weather", "parameters": ` + paris + `}; {"name": "now", "parameters": {}}`, result{"", "", twice}},
	{"meta-llama-Llama-3.1-8B-Instruct", `<|python_tag|>{"name": "get_weather", "parameters": ` + paris + `}`, result{"", "", parisCall}},
	{"meta-llama-Llama-3.1-8B-Instruct", `<|python_tag|>brave_search.call(query="x \"y\"")`, result{"", "", []call{{"", "brave_search", `{"query": "x \"y\""}`}}}},
	{"meta-llama-Llama-3.1-8B-Instruct", `<|python_tag|>import os`, result{"<|python_tag|>import os", "", nil}},
	{"meta-llama-Llama-3.1-8B-Instruct", `{"name": "Ada", "parameters": {"age": 36}}`, result{`{"name": "Ada", "parameters": {"age": 36}}`, "", nil}},
	{"meta-llama-Llama-3.1-8B-Instruct", `{"answer": 1} {"name": "now"}`, result{`{"answer": 1} {"name": "now"}`, "", nil}},
	{"meta-llama-Llama-3.1-8B-Instruct", `In JSON: {"name": "now", "description": "Time", "parameters": {"type": "object", "properties": {}}}`, result{`In JSON: {"name": "now", "description": "Time", "parameters": {"type": "object", "properties": {}}}`, "", nil}},
	{"meta-llama-Llama-3.2-3B-Instruct", ` {"type": "function", "function": "now", "parameters": {}}`, result{"", "", []call{{"", "now", "{}"}}}},
	{"meetkai-functionary-medium-v3.1", "Ok <function=get_weather>" + paris + "</function><function=now>{}</function>", result{"Ok", "", twice}},
	{"meetkai-functionary-medium-v3.2", "all\nLet me see.>>>get_weather\n" + paris + ">>>now\n{}", result{"Let me see.", "", twice}},
	{"meetkai-functionary-medium-v3.2", "get_weather\n" + paris, result{"", "", parisCall}},
	{"meetkai-functionary-medium-v3.2", "all\nIn Python:\n>>> now\n5", result{"In Python:\n>>> now\n5", "", nil}},
	{"meetkai-functionary-medium-v3.2", "no recipient", result{"no recipient", "", nil}},
	{"ibm-granite-granite-3.3-2B-Instruct", `<|tool_call|>[{"name": "get_weather", "arguments": ` + paris + `}, {"name": "now", "arguments": {}}]`, result{"", "", twice}},
	{"ibm-granite-granite-3.3-2B-Instruct", "<think>Hm</think><response>Hi</response>", result{"Hi", "Hm", nil}},
	{"ibm-granite-granite-4.0", "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": " + paris + "}\n</tool_call>", result{"", "", parisCall}},
	{"NVIDIA-Nemotron-Nano-v2", "Hm\n</think>\n<TOOLCALL>[{\"name\": \"get_weather\", \"arguments\": " + paris + "}]</TOOLCALL>", result{"", "Hm", parisCall}},
	{"Apriel-1.6-15b-Thinker-fixed", "Hm\n[BEGIN FINAL RESPONSE]\nOk\n<tool_calls>[{\"name\": \"get_weather\", \"arguments\": " + paris + ", \"id\": \"x1\"}]</tool_calls>", result{"Ok", "Hm", []call{{"x1", "get_weather", paris}}}},
	{"Apertus-8B-Instruct", "<|inner_prefix|>Hm<|inner_suffix|><|tools_prefix|>[{\"get_weather\": " + paris + "}, {\"now\": {}}]<|tools_suffix|>", result{"", "Hm", twice}},
	{"GigaChat3.1-10B-A1.8B", "Ok<|function_call|>{\"name\": \"get_weather\", \"arguments\": " + paris + "}", result{"Ok", "", parisCall}},
	{"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "<|START_THINKING|>Hm<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"get_weather\", \"parameters\": " + paris + "}\n]<|END_ACTION|>", result{"", "Hm", []call{{"0", "get_weather", paris}}}},
	{"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "<|START_RESPONSE|>Hi <co>there</co: 0:[0]><|END_RESPONSE|>", result{"Hi <co>there</co: 0:[0]>", "", nil}},
	{"CohereForAI-c4ai-command-r-plus-tool_use", "Action: ```json\n[\n    {\n        \"tool_name\": \"get_weather\",\n        \"parameters\": " + paris + "\n    }\n]\n```", result{"", "", parisCall}},
	{"LFM2-8B-A1B", `<|tool_call_start|>[get_weather(city="Paris", days=2), now()]<|tool_call_end|>Checking.`, result{"Checking.", "", twice}},
	{"LFM2-8B-A1B", `<|tool_call_start|>[get_weather(city=open("x"))]<|tool_call_end|>`, result{`<|tool_call_start|>[get_weather(city=open("x"))]<|tool_call_end|>`, "", nil}},
	{"google-gemma-4-31B-it", `<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:2}<tool_call|><|tool_call>call:now{}<tool_call|>`, result{"", "", twice}},
	{"google-gemma-4-31B-it", `<|tool_call>call:now{a:[1,<|"|>}<|"|>,{b:true,c:null}],d:{}}<tool_call|>`, result{"", "", []call{{"", "now", `{"a": [1, "}", {"b": true, "c": null}], "d": {}}`}}}},
	{"openai-gpt-oss-120b", "<|channel|>analysis<|message|>Hm <b>.<|end|><|start|>assistant<|channel|>final<|message|>Hi\n<|return|>", result{"Hi\n", "Hm <b>.", nil}},
	{"openai-gpt-oss-120b", "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>" + paris + "<|call|>", result{"", "Hm", parisCall}},
	{"openai-gpt-oss-120b", " to=functions.get_weather<|channel|>commentary json<|message|>" + paris, result{"", "", parisCall}},
	{"openai-gpt-oss-120b", "<|channel|>commentary to=functions.now json<|message|>{oops<|call|>", result{"<|channel|>commentary to=functions.now json<|message|>{oops", "", nil}},
	{"openai-gpt-oss-120b", "<|channel|>commentary<|message|>First.<|end|><|start|>assistant<|channel|>final<|message|>Then", result{"First.Then", "", nil}},
	{"openai-gpt-oss-120b", "no channels at all", result{"no channels at all", "", nil}},
	{"openai-gpt-oss-120b", "<|start|>assistant<|chan", result{"<|start|>assistant<|chan", "", nil}},
	{"muse-glimmer", " to=self<|message|>Hm<|eom|><|start|>assistant to=user<|message|>Hi\n<|eot|>", result{"Hi\n", "Hm", nil}},
	{"muse-glimmer", " to=get_weather<|message|><atem:function_calls>\n<atem:invoke name=\"get_weather\">\n<atem:parameter name=\"city\">Paris</atem:parameter>\n<atem:parameter name=\"days\">2</atem:parameter>\n</atem:invoke>\n</atem:function_calls><|eom|><|start|>assistant to=now<|message|><atem:function_calls><atem:invoke name=\"now\"></atem:invoke></atem:function_calls>", result{"", "", twice}},
	{"muse-glimmer", "<|message|>Hi", result{"Hi", "", nil}},
	{"MiniMax-M3", "<mm:think>Hm</mm:think>Ok\n]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"get_weather\">]<]minimax[>[<city>Paris]<]minimax[>[</city>]<]minimax[>[<days>2]<]minimax[>[</days>]<]minimax[>[</invoke>\n]<]minimax[>[<invoke name=\"now\">]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>", result{"Ok", "Hm", twice}},
	{"MiniMax-M3", "]<]minimax[>[<invoke name=\"now\">]<]minimax[>[<a>]<]minimax[>[<item>1]<]minimax[>[</item>]<]minimax[>[<item>b]<]minimax[>[</item>]<]minimax[>[</a>]<]minimax[>[<c>]<]minimax[>[<d>true]<]minimax[>[</d>]<]minimax[>[</c>]<]minimax[>[</invoke>", result{"", "", []call{{"", "now", `{"a": [1, "b"], "c": {"d": true}}`}}}},
	{"Kimi-K3", "Hm<|close|>think<|sep|><|open|>response<|sep|>Ok<|close|>response<|sep|><|open|>tools<|sep|><|open|>call tool=\"get_weather\" index=\"1\"<|sep|><|open|>argument key=\"city\" type=\"string\"<|sep|>Paris<|close|>argument<|sep|><|open|>argument key=\"days\" type=\"number\"<|sep|>2<|close|>argument<|sep|><|close|>call<|sep|><|open|>call tool=\"now\" index=\"2\"<|sep|><|close|>call<|sep|><|close|>tools<|sep|><|close|>message<|sep|>", result{"Ok", "Hm", twice}},
	{"google-gemma-2-2b-it", "<think>a</think><tool_call>{\"name\": \"now\"}</tool_call>", result{"<think>a</think><tool_call>{\"name\": \"now\"}</tool_call>", "", nil}},
}

func (r result) equal(o result) bool {
	return r.content == o.content && r.reasoning == o.reasoning && slices.Equal(r.calls, o.calls)
}

// The answers of each model's form, whole and however they are cut.
func TestAnswers(t *testing.T) {
	templates, c := models(t), weather(t)
	for _, a := range answers {
		tmpl := templates[a.model]
		if tmpl == nil {
			t.Fatalf("no template %s", a.model)
		}
		checkAnswer(t, a.model, tmpl, c, a.answer, a.want)
	}
}

// checkAnswer parses an answer whole, in two pieces cut anywhere, and in small pieces.
func checkAnswer(t *testing.T, name string, tmpl *Template, c Conversation, answer string, want result) {
	t.Helper()
	if got := parsePieces(t, tmpl, c, answer); !got.equal(want) {
		t.Errorf("%s: %q:\ngot      %v\nexpected %v", name, answer, got, want)
		return
	}
	for i := 1; i < len(answer); i++ {
		if got := parsePieces(t, tmpl, c, answer[:i], answer[i:]); !got.equal(want) {
			t.Errorf("%s: %q | %q:\ngot      %v\nexpected %v", name, answer[:i], answer[i:], got, want)
			return
		}
	}
	runes := strings.Split(answer, "")
	for n := 1; n <= 5; n++ {
		var pieces []string
		for part := range slices.Chunk(runes, n) {
			pieces = append(pieces, strings.Join(part, ""))
		}
		if got := parsePieces(t, tmpl, c, pieces...); !got.equal(want) {
			t.Errorf("%s: %q in pieces of %d:\ngot      %v\nexpected %v", name, answer, n, got, want)
		}
	}
}

// Without tools nothing is a call.
func TestAnswersWithoutTools(t *testing.T) {
	templates, c := models(t), weather(t)
	c.Tools = nil
	for _, a := range answers {
		if got := parsePieces(t, templates[a.model], c, a.answer); len(got.calls) > 0 {
			t.Errorf("%s: %q has the calls %v without tools", a.model, a.answer, got.calls)
		}
	}
}

// What a template renders for a call is read as that call.
func TestCallsComeBack(t *testing.T) {
	c, shown := weather(t), 0
	for name, tmpl := range models(t) {
		if !tmpl.Parser(c).Tools() {
			continue
		}
		said := c
		said.AddGenerationPrompt = false
		said.Messages = append(slices.Clone(c.Messages), Message{Role: "assistant", NoContent: true, ToolCalls: []ToolCall{{ID: "call00001", Name: "get_weather", Arguments: paris}}})
		prompt, err := tmpl.Render(said)
		begin, err2 := tmpl.Render(c)
		n := 0
		for n < min(len(begin), len(prompt)) && begin[n] == prompt[n] {
			n++
		}
		for n > 0 && strings.ContainsRune("<|", rune(prompt[n-1])) { // not within a marker
			n--
		}
		answer := prompt[n:]
		if err != nil || err2 != nil || !strings.Contains(answer, "get_weather") {
			t.Logf("%s shows no calls: %v, %v", name, err, err2)
			continue
		}
		shown++
		if p := tmpl.Parser(c); p.thinks != "" { // history has no reasoning
			answer = p.thinks + answer
		}
		got := parsePieces(t, tmpl, c, answer)
		if len(got.calls) != 1 || got.calls[0].name != "get_weather" || got.calls[0].arguments != paris {
			t.Errorf("%s: %q: got %v", name, answer, got)
		}
	}
	if shown < 30 {
		t.Errorf("only %d templates show calls", shown)
	}
}

// Pieces of any number and size give the same, and nothing is lost but markers and
// white space beside them.
func TestRandomCuts(t *testing.T) {
	templates, c := models(t), weather(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, tmpl := range templates {
		for range 30 {
			text := ""
			for range 1 + rng.IntN(4) {
				a := answers[rng.IntN(len(answers))].answer
				i := rng.IntN(len(a))
				text += a[i : i+1+rng.IntN(len(a)-i)]
			}
			want := parsePieces(t, tmpl, c, text)
			var pieces []string
			for rest := text; rest != ""; {
				n := 1 + rng.IntN(min(12, len(rest)))
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			if got := parsePieces(t, tmpl, c, pieces...); !got.equal(want) {
				t.Fatalf("%q in pieces %q:\ngot      %v\nexpected %v", text, pieces, got, want)
			}
		}
	}
}

// BenchmarkAnswer reads an answer of 2000 tokens, one by one: reasoning, text and a long call.
func BenchmarkAnswer(b *testing.B) {
	tmpl, c := models(b)["Qwen-Qwen3-0.6B"], weather(b)
	words := strings.Repeat("some words, ", 300)
	answer := "<think>" + words + "</think>\n" + words + "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"text\": \"" + words + "\"}}\n</tool_call>"
	var tokens []string
	for rest := answer; rest != ""; {
		n := min(5, len(rest))
		tokens, rest = append(tokens, rest[:n]), rest[n:]
	}
	b.ReportMetric(float64(len(tokens)), "tokens")
	for b.Loop() {
		parsePieces(b, tmpl, c, tokens...)
	}
}

// The time for an answer doesn't grow with the square of its brackets, and its call is found all the same.
func TestManyBrackets(t *testing.T) {
	tmpl := compile(t, `{{ messages[0].content }}{% if tools %}<tool_call>{"name": "f"}</tool_call>{% endif %}`)
	p := tmpl.Parser(Conversation{Messages: []Message{{Role: "user", Content: "x"}}, Tools: []Tool{{Name: "f"}}})
	const pieces = 40000
	text := `<tool_call>{"name": "f", "arguments": {"a": [` + strings.Repeat("{},", pieces) + `{}]}}</tool_call> done`
	var calls, content string
	push := func(deltas []Delta) {
		for _, d := range deltas {
			content += d.Content
			for _, c := range d.ToolCalls {
				calls += c.Arguments
			}
		}
	}
	for i := 0; i < len(text); i += 3 {
		push(p.Push(text[i:min(i+3, len(text))]))
	}
	push(p.Finish())
	if want := `{"a": [` + strings.Repeat("{}, ", pieces) + `{}]}`; calls != want || content != "done" {
		t.Errorf("calls of %d bytes, expected %d; text %q", len(calls), len(want), content)
	}
	if p.reread > 2*maxReread {
		t.Errorf("%d bytes were read for %d", p.reread, len(text))
	}
}
