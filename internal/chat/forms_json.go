package chat

import (
	"strings"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// taggedJSON is a form with JSON, or several JSONs, between two markers; closing may be "".
func taggedJSON(open, closing string, calls func(c *cursor, v any) []call) *callForm {
	return &callForm{opens: []string{open}, read: func(c *cursor, _ tools) []call {
		c.lit(open)
		list := calls(c, c.json())
		if closing == "" {
			return list
		}
		for c.space(); c.ok() && strings.HasPrefix(c.rest(), "{"); c.space() {
			list = append(list, calls(c, c.json())...)
		}
		c.closing(closing)
		return list
	}}
}

// graniteForm is Granite 3's, which writes one of two markers before a list, and that of
// Phi-4-mini, which ends each call.
var graniteForm = &callForm{opens: []string{"<|tool_call|>", "<tool_call>"}, after: []string{"<|/tool_call|>", "</tool_call>"}, read: func(c *cursor, _ tools) []call {
	if !c.has("<|tool_call|>") {
		c.lit("<tool_call>")
	}
	return callsOf(c, c.json())
}}

// gigaChatCall is the role of a message of GigaChat 3 that is a call.
const gigaChatCall = "function call<|role_sep|>\n"

var gigaChatForm = taggedJSON(gigaChatCall, "", callsOf)

// callsOf reads calls like {"name": …, "arguments": {…}}, one or a list of them.
func callsOf(c *cursor, v any) []call {
	list, ok := v.(jinja.List)
	if !ok {
		list = jinja.List{v}
	}
	if len(list) == 0 { // as callsByName has it: what calls nothing is text
		c.fail(false)
	}
	var calls []call
	for _, e := range list {
		m, _ := e.(*jinja.Map)
		calls = append(calls, callOf(c, m))
	}
	return calls
}

func callOf(c *cursor, m *jinja.Map) call {
	if m == nil {
		c.fail(false)
		return call{}
	}
	if inner := field(m, "function"); inner != nil {
		m = inner
	}
	id, _ := first(m, "id", "tool_call_id").(string)
	name, _ := first(m, "name", "tool_name", "function").(string)
	return newCall(c, id, name, argumentsOf(first(m, "arguments", "parameters")))
}

// first gives the first of several fields that is there and not null.
func first(m *jinja.Map, names ...string) any {
	for _, name := range names {
		if v, _ := m.Get(name); v != nil {
			return v
		}
	}
	return nil
}

// argumentsOf gives arguments that are an object, or its JSON in a string; without any they are empty.
func argumentsOf(v any) *jinja.Map {
	if v == nil {
		return jinja.NewMap()
	}
	if s, ok := v.(string); ok {
		v, _ = jinja.DecodeJSON(s)
	}
	m, _ := v.(*jinja.Map)
	return m
}

// callsByName reads calls like {"get_weather": {…}}.
func callsByName(c *cursor, v any) []call {
	list, _ := v.(jinja.List)
	if len(list) == 0 {
		c.fail(false)
	}
	var calls []call
	for _, e := range list {
		m, _ := e.(*jinja.Map)
		if m == nil || m.Len() != 1 {
			c.fail(false)
			return nil
		}
		for name := range m.All {
			calls = append(calls, newCall(c, "", name, field(m, name)))
		}
	}
	return calls
}

const llamaTag = "<|python_tag|>"

// llamaForm is {"name": …, "parameters": {…}} and nothing else, with or without the
// tag. Since an answer may be JSON too, the name must be a tool's. Behind the tag
// built-in tools are called as in Python.
var llamaForm = &callForm{opens: []string{llamaTag}, bare: "{", after: []string{";"}, read: func(c *cursor, t tools) []call {
	tagged := c.has(llamaTag)
	c.space()
	if !c.ok() {
		return nil
	}
	if tagged && c.rest() != "" && c.rest()[0] != '{' {
		return pythonCalls(c, c.untilEnd())
	}
	if !c.mayBeCall() {
		c.fail(false)
		return nil
	}
	calls := []call{callOf(c, c.object())}
	if !tagged {
		c.known(t, calls)
	}
	return calls
}}

// listForm is xLAM's: a list of JSON and nothing before it.
var listForm = &callForm{bare: "[", read: func(c *cursor, t tools) []call {
	begin := c.i
	c.lit("[")
	if c.space(); c.ok() && !c.mayBeCall() {
		c.fail(false)
	}
	c.back(begin)
	calls := callsOf(c, c.json())
	c.known(t, calls)
	return calls
}}

// known expects calls of tools: a text may look like a call of something else.
func (c *cursor) known(t tools, calls []call) {
	for i := range calls {
		if _, ok := t[calls[i].name]; !ok {
			c.fail(false)
		}
	}
}

// callFields are the keys of which one begins a call in JSON.
var callFields = []string{`"name"`, `"type"`, `"function"`, `"id"`, `"parameters"`, `"arguments"`}

// mayBeCall looks at the first key of an object, so that other JSON is not held back.
func (c *cursor) mayBeCall() bool {
	rest, ok := strings.CutPrefix(c.rest(), "{")
	rest = strings.TrimLeft(rest, whitespace)
	if !ok || rest == "" {
		return c.rest() == "" || ok
	}
	for _, f := range callFields {
		if strings.HasPrefix(rest, f) || strings.HasPrefix(f, rest) {
			return true
		}
	}
	return false
}

// untilEnd gives all that is left, once nothing more will come.
func (c *cursor) untilEnd() string {
	if !c.ok() {
		return ""
	}
	if !c.end {
		c.fail(true)
		return ""
	}
	text := c.rest()
	c.i = len(c.s)
	return text
}

// actionForm is Command R's list of actions.
var actionForm = &callForm{opens: []string{"Action:"}, read: func(c *cursor, _ tools) []call {
	c.lit("Action:")
	c.space()
	c.lit("```json")
	list := callsOf(c, c.json())
	c.space()
	c.closing("```")
	var calls []call
	for _, a := range list {
		if a.name != "directly_answer" && a.name != "directly-answer" { // no tool: the answer follows
			calls = append(calls, a)
		}
	}
	return calls
}}
