package chat

import (
	"strings"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// functionForm is the form of Qwen's coders and, with other outer tags, of Seed-OSS:
//
//	<tool_call>
//	<function=NAME>
//	<parameter=KEY>
//	VALUE
//	</parameter>
//	</function>
//	</tool_call>
//
// Models leave the outer tags out at times.
func functionForm(open, closing string) *callForm {
	return &callForm{opens: []string{open, "<function="}, after: []string{closing}, read: func(c *cursor, t tools) []call {
		outer := c.has(open)
		c.space()
		c.lit("<function=")
		name := strings.TrimSpace(c.until(">"))
		arguments := jinja.NewMap()
		for c.space(); c.has("<parameter="); c.space() {
			k := strings.TrimSpace(c.until(">"))
			text := c.until("</parameter>")
			text = strings.TrimSuffix(strings.TrimPrefix(text, "\n"), "\n")
			arguments.Set(k, t.value(name, k, text))
		}
		if outer {
			c.lit("</function>")
			c.space()
			c.closing(closing)
		} else {
			c.closing("</function>")
		}
		return []call{newCall(c, "", name, arguments)}
	}}
}

// argKeyForm is GLM's: a name, and keys and values each in tags.
func argKeyForm(suffix string) *callForm {
	tag := func(name string) string { return name + suffix + ">" }
	section := tag("<tool_calls")
	return &callForm{opens: []string{section, tag("<tool_call")}, after: []string{tag("</tool_calls")}, read: func(c *cursor, t tools) []call {
		if c.has(section) {
			c.space()
		}
		c.lit(tag("<tool_call"))
		name := c.before("<")
		if c.has(tag("<tool_sep")) {
			c.space()
		}
		arguments := jinja.NewMap()
		for c.space(); c.has(tag("<arg_key")); c.space() {
			k := strings.TrimSpace(c.until(tag("</arg_key")))
			c.space()
			c.lit(tag("<arg_value"))
			arguments.Set(k, t.value(name, k, c.until(tag("</arg_value"))))
		}
		c.closing(tag("</tool_call"))
		return []call{newCall(c, "", name, arguments)}
	}}
}

// before gives the trimmed text before a marker, and stays in front of it.
func (c *cursor) before(marker string) string {
	text := c.until(marker)
	if c.ok() {
		c.i -= len(marker)
	}
	return strings.TrimSpace(text)
}

// invokeForm is the form of MiniMax and of DeepSeek since V3.2:
//
//	<invoke name="NAME">
//	<parameter name="KEY">VALUE</parameter>
//	</invoke>
//
// with a prefix in the names of the tags, inside one of sections.
func invokeForm(prefix, text string) *callForm {
	invoke, parameter := prefix+"invoke", prefix+"parameter"
	f := &callForm{opens: []string{"<" + invoke + " name=\""}}
	for _, name := range []string{prefix + "function_calls", prefix + "tool_calls", "minimax:tool_call"} {
		if has(text, "<"+name+">") {
			f.opens, f.after = append([]string{"<" + name + ">"}, f.opens...), append(f.after, "</"+name+">")
		}
	}
	sections := f.opens[:len(f.opens)-1]
	f.read = func(c *cursor, t tools) []call {
		for _, s := range sections {
			if c.has(s) {
				c.space()
				break
			}
		}
		return c.invocation(t, invoke, parameter)
	}
	return f
}

// invocation reads <invoke name="NAME"> and its parameters, whose tags may have other names.
func (c *cursor) invocation(t tools, invoke, parameter string) []call {
	c.lit("<" + invoke + " name=\"")
	name := c.until("\">")
	arguments := jinja.NewMap()
	for c.space(); c.has("<" + parameter + " name=\""); c.space() {
		k := c.until("\"")
		kind := strings.TrimSpace(c.until(">"))
		if parameter == miniCPMParameter && c.has("<![CDATA[") {
			arguments.Set(k, c.until("]]>"))
			c.space()
			c.lit("</" + parameter + ">")
			continue
		}
		arguments.Set(k, typedValue(t, name, k, kind, c.until("</"+parameter+">")))
	}
	c.closing("</" + invoke + ">")
	return []call{newCall(c, "", name, arguments)}
}

const miniCPMParameter = "param"

// miniCPMForm is MiniCPM 5's, where a text may stand in a section of character data.
var miniCPMForm = &callForm{opens: []string{"<function name=\""}, read: func(c *cursor, t tools) []call {
	return c.invocation(t, "function", miniCPMParameter)
}}

// stepForm is Step 3's: <invoke> between marks of its own.
var stepForm = &callForm{
	opens: []string{"<｜tool_calls_begin｜>", "<｜tool_call_begin｜>"}, after: []string{"<｜tool_sep｜>", "<｜tool_calls_end｜>"},
	read: func(c *cursor, t tools) []call {
		if c.has("<｜tool_calls_begin｜>") {
			c.space()
		}
		c.lit("<｜tool_call_begin｜>")
		if c.has("function") { // the type
			c.lit("<｜tool_sep｜>")
		}
		c.space()
		calls := c.invocation(t, "steptml:invoke", "steptml:parameter")
		c.space()
		c.closing("<｜tool_call_end｜>")
		return calls
	},
}

// typedValue is a parameter's value where the call itself may say whether it is a string.
func typedValue(t tools, function, parameter, kind, text string) any {
	if kind == `string="true"` {
		return text
	}
	if v, err := jinja.DecodeJSON(text); err == nil && kind == `string="false"` {
		return v
	}
	return t.value(function, parameter, text)
}

// kimiForm is <|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{…}<|tool_call_end|>.
// A model that begins a section has stopped to reason.
var kimiForm = &callForm{
	opens: []string{"<|tool_calls_section_begin|>", "<|tool_call_begin|>"}, after: []string{"<|tool_calls_section_end|>"}, interrupts: true,
	read: func(c *cursor, _ tools) []call {
		if c.has("<|tool_calls_section_begin|>") {
			c.space()
		}
		c.lit("<|tool_call_begin|>")
		id := strings.TrimSpace(c.until("<|tool_call_argument_begin|>"))
		name, _, _ := strings.Cut(strings.TrimPrefix(id, "functions."), ":")
		arguments := c.object()
		c.space()
		c.closing("<|tool_call_end|>")
		return []call{newCall(c, id, name, arguments)}
	},
}

// deepseekForm is R1's (a type, a name, and JSON in a code block) and V3.1's (a name and JSON).
var deepseekForm = &callForm{
	opens: []string{"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"}, after: []string{"<｜tool▁calls▁end｜>"},
	read: func(c *cursor, _ tools) []call {
		if c.has("<｜tool▁calls▁begin｜>") {
			c.space()
		}
		c.lit("<｜tool▁call▁begin｜>")
		name := strings.TrimSpace(c.until("<｜tool▁sep｜>"))
		c.space()
		fenced := c.ok() && !strings.HasPrefix(c.rest(), "{")
		if fenced { // what came before was the type
			name = strings.TrimSpace(c.until("```json"))
		}
		arguments := c.object()
		c.space()
		if fenced {
			c.lit("```")
			c.space()
		}
		c.closing("<｜tool▁call▁end｜>")
		return []call{newCall(c, "", name, arguments)}
	},
}

// mistralForm is a list of JSON, or NAME[ARGS]{…} with or without [CALL_ID] and [ARGS].
var mistralForm = &callForm{opens: []string{"[TOOL_CALLS]"}, read: func(c *cursor, _ tools) []call {
	c.lit("[TOOL_CALLS]")
	c.space()
	if c.ok() && c.rest() == "" {
		c.fail(true)
	}
	if c.ok() && (c.rest()[0] == '[' || c.rest()[0] == '{') {
		return callsOf(c, c.json())
	}
	name, id := c.word(), ""
	if c.has("[CALL_ID]") {
		id = c.word()
	}
	c.has("[ARGS]")
	return []call{newCall(c, id, name, c.object())}
}}

// functionTagForm is Functionary 3.1's <function=NAME>{…}</function>.
var functionTagForm = &callForm{opens: []string{"<function="}, read: func(c *cursor, _ tools) []call {
	c.lit("<function=")
	name := c.until(">")
	arguments := c.object()
	c.space()
	c.closing("</function>")
	return []call{newCall(c, "", name, arguments)}
}}

// recipientForm is Functionary 3.2's: >>>all and a text, or >>>NAME and JSON.
var recipientForm = &callForm{opens: []string{">>>"}, implied: ">>>", always: true, read: func(c *cursor, t tools) []call {
	c.lit(">>>")
	return recipientCall(c, t, "\n")
}}

// contentForm is Functionary 2's: recipients likewise, and a marker before what they get.
var contentForm = &callForm{opens: []string{functionaryFrom + functionaryTo, functionaryTo}, implied: functionaryTo, always: true, read: func(c *cursor, t tools) []call {
	c.has(functionaryFrom)
	c.lit(functionaryTo)
	return recipientCall(c, t, "\n<|content|>")
}}

const (
	functionaryFrom = "<|from|>assistant\n"
	functionaryTo   = "<|recipient|>"
)

// recipientCall reads a recipient, what divides, and the call if it is a function.
func recipientCall(c *cursor, t tools, divider string) []call {
	name := c.word()
	c.lit(divider)
	if name == "all" {
		return nil
	}
	if _, known := t[name]; !known {
		c.fail(false)
	}
	return []call{newCall(c, "", name, c.object())}
}
