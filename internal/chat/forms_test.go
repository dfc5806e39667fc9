package chat

import "testing"

// shows are what templates of further families have of their form of calls, and answers in it.
var shows = []struct {
	family, template, answer string
	want                     result
}{
	{"MiniMax-M1", "<tool_calls>\n{\"name\": <tool-name>, \"arguments\": <args>}\n</tool_calls>",
		"Ok\n<tool_calls>\n{\"name\": \"get_weather\", \"arguments\": " + paris + "}\n{\"name\": \"now\", \"arguments\": {}}\n</tool_calls>", result{"Ok", "", twice}},
	{"MiniMax-M1", "<tool_calls>", "<tool_calls>\n{\"name\": \"now\"}\noops</tool_calls>", result{"<tool_calls>\n{\"name\": \"now\"}\noops</tool_calls>", "", nil}},
	{"LongCat", "<longcat_tool_call>", "<longcat_tool_call>{\"name\": \"get_weather\", \"arguments\": " + paris + "}</longcat_tool_call>\n<longcat_tool_call>{\"name\": \"now\"}</longcat_tool_call>", result{"", "", twice}},
	{"InternLM 2", "<|action_start|><|plugin|>", "I look.<|action_start|><|plugin|>\n{\"name\": \"get_weather\", \"parameters\": " + paris + "}<|action_end|>\n", result{"I look.", "", parisCall}},
	{"FireFunction 2", "formatted as functools[{\"name\": ", " functools[{\"name\": \"get_weather\", \"arguments\": " + paris + "}, {\"name\": \"now\", \"arguments\": {}}]", result{"", "", twice}},
	{"FireFunction 2", "functools[{", "Use functools.cache: functools[0]", result{"Use functools.cache: functools[0]", "", nil}},
	{"FireFunction 2", "functools[{", "functools[] is no call", result{"functools[] is no call", "", nil}},
	{"Granite 3.1", "<|tool_call|>", "<tool_call> [{\"name\": \"get_weather\", \"arguments\": " + paris + "}]</tool_call>", result{"", "", parisCall}},
	{"Phi-4-mini", "<|tool_call|>", "<|tool_call|>{\"name\": \"get_weather\", \"arguments\": " + paris + "}<|/tool_call|><|tool_call|>{\"name\": \"now\"}<|/tool_call|>", result{"", "", twice}},
	{"Granite 3.2", "<|tool_call|>Here is my response:", "Here is my thought process: Hm.\n\nHere is my response: Hi", result{"Hi", "Hm.", nil}},
	{"Hunyuan A13B", "<think></think><|extra_0|><tool_calls>[", "<think>\nHm\n</think>\n<answer>\nHi\n</answer>", result{"Hi", "Hm", nil}},
	{"Hunyuan A13B", "<think></think><|extra_0|><tool_calls>[", "<think>\nHm\n</think>\n<answer>\n<tool_calls>[{\"name\": \"now\", \"arguments\": {}}]</tool_calls>\n</answer>", result{"", "Hm", []call{{"", "now", "{}"}}}},
	{"Granite 20B", "<function_call> ", "<function_call> {\"name\": \"get_weather\", \"arguments\": " + paris + "}<function_call> {\"name\": \"now\", \"arguments\": {}}", result{"", "", twice}},
	{"GigaChat 3", "function call<|role_sep|>\n", "Ok<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"get_weather\", \"arguments\": " + paris + "}<|message_sep|>\n\n", result{"Ok", "", parisCall}},
	{"GigaChat 3", "function call<|role_sep|>\n", "a function call<|message_sep|>", result{"a function call", "", nil}},
	{"Solar Open", "<|tool_call:begin|><|think|><|content|>",
		"<|think|>Hm<|end|><|begin|>assistant<|tool_calls|><|tool_call:begin|>a1<|tool_call:name|>get_weather<|tool_call:args|>" + paris + "<|tool_call:end|><|tool_call:begin|>b2<|tool_call:name|>now<|tool_call:args|>{}<|tool_call:end|><|calls|>",
		result{"", "Hm", []call{{"a1", "get_weather", paris}, {"b2", "now", "{}"}}}},
	{"Solar Open", "<|tool_call:begin|><|think|><|content|>", "<|think|>Hm<|end|><|begin|>assistant<|content|>Hi there.<|end|>", result{"Hi there.", "Hm", nil}},
	{"Command A 2", "<|START_THINKING|><|END_THINKING|><|START_ACTION|><|START_TEXT|><|END_TEXT|>", "<|START_THINKING|>Hm<|END_THINKING|><|START_TEXT|>Hi<|END_TEXT|>", result{"Hi", "Hm", nil}},
	{"MiniCPM 5", `<function name="NAME"><param name="KEY">`,
		"<function name=\"get_weather\"><param name=\"city\"><![CDATA[a < b\n&]]></param><param name=\"days\">2</param></function>\n<function name=\"now\"></function>",
		result{"", "", []call{{"", "get_weather", `{"city": "a < b\n&", "days": 2}`}, {"", "now", "{}"}}}},
	{"MiniCPM 5", `<function name="NAME"><param name="KEY">`, "<function name=\"now\"> begins", result{"<function name=\"now\"> begins", "", nil}},
	{"Step 3", `<steptml:invoke name="`,
		"<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name=\"get_weather\"><steptml:parameter name=\"city\">Paris</steptml:parameter><steptml:parameter name=\"days\">2</steptml:parameter></steptml:invoke><｜tool_call_end｜><｜tool_sep｜><｜tool_call_begin｜><steptml:invoke name=\"now\"></steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>",
		result{"", "", twice}},
	{"Seed-OSS", "<seed:think></seed:think><seed:tool_call>\n<function=",
		"<seed:think>Hm</seed:think>\nOk\n<seed:tool_call>\n<function=get_weather>\n<parameter=city>Paris</parameter>\n<parameter=days>2</parameter>\n</function>\n</seed:tool_call>", result{"Ok", "Hm", parisCall}},
	{"FunctionGemma", "<start_function_call>call:", "<start_function_call>call:get_weather{city:<escape>Paris<escape>,days:2}<end_function_call><start_function_call>call:now{}<end_function_call>", result{"", "", twice}},
	{"FunctionGemma", "<start_function_call>call:", "<start_function_call>call:get_weather{city:<escape>12<escape>,days:<escape>2<escape>}<end_function_call>", result{"", "", []call{{"", "get_weather", `{"city": "12", "days": 2}`}}}},
	{"OLMo 3", "<function_calls>", "Ok <function_calls>get_weather(city='Paris', days=2)\nnow()</function_calls>", result{"Ok", "", twice}},
	{"OLMo 3", "<function_calls>", "<function_calls>oops</function_calls>", result{"<function_calls>oops</function_calls>", "", nil}},
	{"Functionary 2", functionary2, "all\n<|content|>Let me see.\n<|from|>assistant\n<|recipient|>get_weather\n<|content|>" + paris + "\n<|from|>assistant\n<|recipient|>now\n<|content|>{}", result{"Let me see.", "", twice}},
	{"Functionary 2", functionary2, "get_weather\n<|content|>" + paris, result{"", "", parisCall}},
	{"Functionary 2", functionary2, "all\n<|content|>Hi", result{"Hi", "", nil}},
	{"Functionary 2", functionary2, "no recipient", result{"no recipient", "", nil}},
	{"Functionary 2", functionary2, "sum\n<|content|>{}", result{"sum\n<|content|>{}", "", nil}},
	{"MiniCPM 3", "<|tool_call_start|>", "Ok\n<|tool_call_start|>\n```python\nget_weather(city=\"Paris\",days=2)\nnow()\n```\n<|tool_call_end|>\n", result{"Ok", "", twice}},
	{"MiniCPM 3", "<|tool_call_start|>", "<|tool_call_start|>\n```python\nnow()\n```", result{"", "", []call{{"", "now", "{}"}}}},
	{"ToolACE", pythonic, `[get_weather(city="Paris", days=2), now()]`, result{"", "", twice}},
	{"ToolACE", pythonic, `[get_weather(city="it's )] \" ", hours=[1, null, True, {'a': {'b': -1.5}}])] Done.`, result{"Done.", "", []call{{"", "get_weather", `{"city": "it's )] \" ", "hours": [1, null, true, {"a": {"b": -1.5}}]}`}}}},
	{"Llama 4", pythonic, "<|python_start|>[now()]<|python_end|>", result{"", "", []call{{"", "now", "{}"}}}},
	{"ToolACE", pythonic, "[1] says so, and [see](http://x)", result{"[1] says so, and [see](http://x)", "", nil}},
	{"ToolACE", pythonic, "[sum(a=1)]", result{"[sum(a=1)]", "", nil}},
	{"ToolACE", pythonic, "[now(), sum(a=1)]", result{"[now(), sum(a=1)]", "", nil}},
	{"ToolACE", pythonic, "Call [now()]", result{"Call [now()]", "", nil}},
	{"ToolACE", pythonic, `[get_weather(city="Par`, result{`[get_weather(city="Par`, "", nil}},
	{"ToolACE", pythonic, "[get_weather(open(x))]", result{"[get_weather(open(x))]", "", nil}},
	{"xLAM", jsonList, `[{"name": "get_weather", "arguments": ` + paris + `}, {"name": "now", "arguments": {}}]`, result{"", "", twice}},
	{"xLAM", jsonList, `[{"name": "Ada", "arguments": {}}]`, result{`[{"name": "Ada", "arguments": {}}]`, "", nil}},
	{"gpt-oss", "<|channel|><|message|><|start|>", "<|channel<|message|>Hm", result{"<|channel<|message|>Hm", "", nil}},
	{"Atem", "<atem:<|message|><|start|>", "<|message|<|message|>", result{"<|message|<|message|>", "", nil}},
	{"xLAM", jsonList, "[] and [1, 2]", result{"[] and [1, 2]", "", nil}},
}

// What templates without markers render for calls.
const (
	pythonic     = "{% for m in messages %}{% for c in m.tool_calls %}[{{ c.function.name }}({% for k, v in c.function.arguments.items() %}{{ k }}={{ v | tojson }}{% endfor %})]{% endfor %}{% endfor %}"
	functionary2 = "{% for m in messages %}<|from|>{{ m.role }}\n<|recipient|>all\n<|content|>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|from|>assistant\n<|recipient|>{% endif %}"
	jsonList     = "{% for m in messages %}{% for c in m.tool_calls %}[{{ c.function | tojson }}]{% endfor %}{% endfor %}"
)

func TestFurtherForms(t *testing.T) {
	c := weather(t)
	for _, s := range shows {
		tmpl := compile(t, s.template)
		if !tmpl.Parser(c).Tools() {
			t.Errorf("%s: the form is not known", s.family)
			continue
		}
		checkAnswer(t, s.family, tmpl, c, s.answer, s.want)
	}
}

// A text that begins like a call is given as soon as it can't be one.
func TestNoCallComesAtOnce(t *testing.T) {
	for template, text := range map[string]string{pythonic: "[see below", jsonList: "[ {\"age\"", "{{ '<tool_call>' }}": "<tool_call> is"} {
		p := compile(t, template).Parser(weather(t))
		var got result
		for _, piece := range text {
			got.add(t, p.Push(string(piece)))
		}
		if got.content == "" {
			t.Errorf("%q is held back", text)
		}
	}
}
