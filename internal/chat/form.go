package chat

import (
	"regexp"
	"strings"
)

// form is the form in which a template writes tool calls and reasoning.
type form struct {
	thinks   []pair    // what stands around reasoning
	calls    *callForm // nil without
	drop     []string  // markers around an answer's text
	messages *dialect  // an answer is several messages, each with a header; or nil
}

type pair struct{ open, close string }

// callForm is a form of tool calls.
type callForm struct {
	opens []string // what begins a call
	after []string // what may stand behind calls
	// read reads calls from the opening marker on.
	read    func(c *cursor, t tools) []call
	bare    string // the bracket with which a call begins, without a marker, at the beginning of an answer; or ""
	implied string // what of opens the prompt ends with, or ""
	// interrupts: a call may come in the midst of reasoning, and ends it.
	interrupts bool
	// always: the form is of texts too, and read even without tools.
	always bool
}

// call is a tool call. Arguments are JSON.
type call struct{ id, name, arguments string }

// thinkPairs are what templates put around reasoning.
var thinkPairs = []pair{
	{"<think>", "</think>"},
	{"<seed:think>", "</seed:think>"},
	{"[THINK]", "[/THINK]"},
	{"<mm:think>", "</mm:think>"},
	{"<|START_THINKING|>", "<|END_THINKING|>"},
	{"<|inner_prefix|>", "<|inner_suffix|>"},
	{"<|channel>thought\n", "<channel|>"},
	{"Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"},
	{"Here is my thought process:", "Here is my response:"},
}

var (
	thinkSuffix  = regexp.MustCompile(`</think(:[a-z0-9_]+)>`)
	argKeySuffix = regexp.MustCompile(`<arg_key(:[a-z0-9_]+)?>`)
	invokePrefix = regexp.MustCompile(`<([^<>\s/'"]*)invoke name=`)
)

// formOf finds the form in a template's text and in a prompt that it made.
func formOf(text string) form {
	var f form
	switch {
	case has(text, "<|channel|>", "<|message|>", "<|start|>"):
		return form{messages: harmony}
	case has(text, "<atem:", "<|message|>", "<|start|>"):
		return form{messages: atem}
	case has(text, "<|open|>", "<|close|>", "<|sep|>"):
		return kimi3Form
	case has(text, "<|tool_call:begin|>", "<|think|>", "<|content|>"):
		return solarForm
	}
	for _, p := range thinkPairs {
		if strings.Contains(text, p.close) {
			f.thinks = append(f.thinks, p)
		}
	}
	if m := thinkSuffix.FindStringSubmatch(text); m != nil {
		f.thinks = append(f.thinks, pair{"<think" + m[1] + ">", "</think" + m[1] + ">"})
	}
	for _, p := range []pair{{"<|START_RESPONSE|>", "<|END_RESPONSE|>"}, {"<|START_TEXT|>", "<|END_TEXT|>"}, {"<response>", "</response>"}} {
		if has(text, p.open, p.close) && !strings.Contains(text, "<response>{") && !strings.Contains(text, "minimax") {
			f.drop = append(f.drop, p.open, p.close)
		}
	}
	if has(text, "<think>", "<|extra_0|>") { // Hunyuan's, whose templates don't show what it writes behind its reasoning
		f.drop = append(f.drop, "<answer>", "</answer>")
	}
	if f.calls = callFormOf(text); f.calls == gigaChatForm {
		f.drop = append(f.drop, "<|message_sep|>")
	}
	return f
}

// has reports whether text has all the markers.
func has(text string, markers ...string) bool {
	for _, m := range markers {
		if !strings.Contains(text, m) {
			return false
		}
	}
	return true
}

// callFormOf tells the forms apart by markers that only they have; the order matters
// where one form's markers are among another's.
func callFormOf(text string) *callForm {
	suffix := argKeySuffix.FindStringSubmatch(text)
	prefix := invokePrefix.FindStringSubmatch(text)
	switch {
	case has(text, minimaxMark):
		return minimaxForm
	case suffix != nil && strings.Contains(text, "<tool_call"):
		return argKeyForm(suffix[1])
	case has(text, "<seed:tool_call>", "<function="):
		return functionForm("<seed:tool_call>", "</seed:tool_call>")
	case has(text, "<tool_call>", "<function="):
		return functionForm("<tool_call>", "</tool_call>")
	case has(text, "<steptml:invoke name="):
		return stepForm
	case has(text, `<function name="`, `<param name="`):
		return miniCPMForm
	case prefix != nil:
		return invokeForm(prefix[1], text)
	case has(text, "<|tool_call_begin|>", "<|tool_call_argument_begin|>"):
		return kimiForm
	case has(text, "<｜tool▁call▁begin｜>"):
		return deepseekForm
	case has(text, "<|tool_call>call:"):
		return gemmaForm
	case has(text, "<start_function_call>call:"):
		return functionGemmaForm
	case has(text, "[TOOL_CALLS]"):
		return mistralForm
	case has(text, "<|START_ACTION|>"):
		return taggedJSON("<|START_ACTION|>", "<|END_ACTION|>", callsOf)
	case has(text, "<|tools_prefix|>"):
		return taggedJSON("<|tools_prefix|>", "<|tools_suffix|>", callsByName)
	case has(text, "<TOOLCALL>"):
		return taggedJSON("<TOOLCALL>", "</TOOLCALL>", callsOf)
	case has(text, "<tool_calls>["):
		return taggedJSON("<tool_calls>", "</tool_calls>", callsOf)
	case has(text, "<tool_call>"):
		return taggedJSON("<tool_call>", "</tool_call>", callsOf)
	case has(text, "<longcat_tool_call>"):
		return taggedJSON("<longcat_tool_call>", "</longcat_tool_call>", callsOf)
	case has(text, "<tool_calls>"):
		return taggedJSON("<tool_calls>", "</tool_calls>", callsOf)
	case has(text, "<|action_start|><|plugin|>"):
		return taggedJSON("<|action_start|><|plugin|>", "<|action_end|>", callsOf)
	case has(text, "<|tool_call|>"):
		return graniteForm
	case has(text, "<|function_call|>"):
		return taggedJSON("<|function_call|>", "", callsOf)
	case has(text, gigaChatCall):
		return gigaChatForm
	case has(text, "<function_call>"):
		return taggedJSON("<function_call>", "", callsOf)
	case has(text, "functools[{"):
		return taggedJSON("functools", "", callsOf)
	case has(text, ">>>all"):
		return recipientForm
	case has(text, functionaryTo, "<|content|>", "<|from|>"):
		return contentForm
	case has(text, "<function="):
		return functionTagForm
	case has(text, "<|tool_list_start|>"), has(text, "<|tool_call_start|>"), has(text, "List of tools: ["):
		return pythonForm
	case has(text, "<function_calls>"):
		return pythonLinesForm
	case has(text, "["+probeFunction+"("):
		return pythonListForm
	case has(text, `[{"name": "`+probeFunction+`", `):
		return listForm
	case has(text, "Action:", "```json", "tool_name"):
		return actionForm
	case has(text, `{"name": `, `"parameters": `):
		return llamaForm
	}
	return nil
}
