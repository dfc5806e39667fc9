package chat

import (
	"strings"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// pythonForm is LFM2's: a list of calls as Python writes them; and MiniCPM 3's, whose
// calls have a line each, between Markdown's fences.
var pythonForm = &callForm{opens: []string{"<|tool_call_start|>"}, read: func(c *cursor, _ tools) []call {
	c.lit("<|tool_call_start|>")
	if c.end && c.ok() && !strings.Contains(c.rest(), "<|tool_call_end|>") {
		return pythonCalls(c, unfenced(c.untilEnd()))
	}
	return pythonCalls(c, unfenced(c.until("<|tool_call_end|>")))
}}

// unfenced gives the text between Markdown's fences, a call on each line, as a list; another text as it is.
func unfenced(text string) string {
	if rest, ok := strings.CutPrefix(strings.TrimSpace(text), "```python\n"); ok {
		return lines(strings.TrimSuffix(rest, "```"))
	}
	return text
}

// lines makes a list of calls of which each has a line.
func lines(text string) string {
	return "[" + strings.ReplaceAll(strings.TrimSpace(text), ")\n", "),\n") + "]"
}

// pythonCalls reads [f(a="x"), g()], or one call.
func pythonCalls(c *cursor, text string) []call {
	if !c.ok() {
		return nil
	}
	list, err := jinja.PythonCalls(text)
	if err != nil || len(list) == 0 {
		c.fail(false)
		return nil
	}
	var calls []call
	for _, p := range list {
		calls = append(calls, newCall(c, "", strings.TrimSuffix(p.Name, ".call"), p.Arguments))
	}
	return calls
}

// pythonLinesForm is OLMo 3's: a call as Python writes it on each line.
var pythonLinesForm = &callForm{opens: []string{"<function_calls>"}, read: func(c *cursor, _ tools) []call {
	c.lit("<function_calls>")
	return pythonCalls(c, lines(c.until("</function_calls>")))
}}

const pythonTag = "<|python_start|>"

// pythonListForm is a list of calls as Python writes them and nothing before it, with
// Llama 4's tags or without. A text may begin with a bracket too, so what is called must
// be tools.
var pythonListForm = &callForm{opens: []string{pythonTag}, bare: "[", after: []string{"<|python_end|>"}, read: func(c *cursor, t tools) []call {
	c.has(pythonTag)
	c.space()
	begin := c.i
	c.lit("[")
	c.space()
	c.known(t, []call{{name: c.word()}})
	c.lit("(")
	c.back(begin)
	if !c.ok() {
		return nil
	}
	n := pythonEnd(c.rest())
	if n == 0 {
		c.fail(true)
		return nil
	}
	calls := pythonCalls(c, c.rest()[:n])
	c.known(t, calls)
	c.i += n
	return calls
}}

// pythonEnd gives the length of the list at the start of s, or 0 if it has no end yet.
func pythonEnd(s string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[' || c == '(' || c == '{':
			depth++
		case c == ']' || c == ')' || c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}
