package chat

import (
	"strings"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// minimaxMark stands before each tag of MiniMax-M3's calls.
const minimaxMark = "]<]minimax[>["

// minimaxForm is MiniMax-M3's, where the names of arguments are tags:
//
//	<tool_call>
//	<invoke name="NAME"><city>Paris</city><days>2</days></invoke>
//	</tool_call>
var minimaxForm = &callForm{
	opens: []string{minimaxMark + "<tool_call>", minimaxMark + "<invoke name=\""}, after: []string{minimaxMark + "</tool_call>"},
	read: func(c *cursor, t tools) []call {
		if c.has(minimaxMark + "<tool_call>") {
			c.space()
		}
		c.lit(minimaxMark + "<invoke name=\"")
		name := c.until("\">")
		arguments := jinja.NewMap()
		for c.space(); c.ok() && !c.has(minimaxMark+"</invoke>"); c.space() {
			k, v := c.element(0)
			if s, ok := v.(string); ok {
				v = t.value(name, k, s)
			}
			arguments.Set(k, v)
		}
		return []call{newCall(c, "", name, arguments)}
	},
}

// maxElements bounds how deep elements nest.
const maxElements = 64

// element reads <name>value</name>: a text, or elements, which are a list if they are
// called item.
func (c *cursor) element(depth int) (string, any) {
	c.lit(minimaxMark + "<")
	name := c.until(">")
	closing := minimaxMark + "</" + name + ">"
	if depth > maxElements || strings.HasPrefix(name, "/") {
		c.fail(false)
	}
	text := c.before(minimaxMark)
	if c.has(closing) || !c.ok() {
		return name, text
	}
	m, list := jinja.NewMap(), jinja.List{}
	for c.space(); c.ok() && !c.has(closing); c.space() {
		k, v := c.element(depth + 1)
		if s, ok := v.(string); ok {
			v = tools{}.value("", "", s)
		}
		list = append(list, v)
		m.Set(k, v)
	}
	if _, ok := m.Get("item"); ok && m.Len() == 1 {
		return name, list
	}
	return name, m
}

// kimi3Form is Kimi K3's: everything stands between <|open|>NAME<|sep|> and <|close|>NAME<|sep|>.
var kimi3Form = form{
	thinks: []pair{{"<|open|>think<|sep|>", "<|close|>think<|sep|>"}},
	drop:   []string{"<|open|>response<|sep|>", "<|close|>response<|sep|>", "<|close|>message<|sep|>"},
	calls: &callForm{
		opens: []string{"<|open|>tools<|sep|>", "<|open|>call tool=\""}, after: []string{"<|close|>tools<|sep|>"},
		read: func(c *cursor, t tools) []call {
			if c.has("<|open|>tools<|sep|>") {
				c.space()
			}
			c.lit("<|open|>call tool=\"")
			name := c.until("\"")
			c.until("<|sep|>")
			arguments := jinja.NewMap()
			for c.space(); c.has("<|open|>argument key=\""); c.space() {
				k := c.until("\"")
				kind := c.until("<|sep|>")
				arguments.Set(k, kimi3Value(t, name, k, kind, c.until("<|close|>argument<|sep|>")))
			}
			c.closing("<|close|>call<|sep|>")
			return []call{newCall(c, "", name, arguments)}
		},
	},
}

// kimi3Value is a value whose type the call says.
func kimi3Value(t tools, function, parameter, kind, text string) any {
	if strings.Contains(kind, `type="string"`) {
		return text
	}
	if v, err := jinja.DecodeJSON(text); err == nil {
		return v
	}
	return t.value(function, parameter, text)
}

// solarForm is Solar Open's: messages of one kind each, and calls of an id, a name and JSON.
var solarForm = form{
	thinks: []pair{{"<|think|>", "<|end|>"}},
	drop:   []string{"<|begin|>assistant", "<|content|>", "<|end|>", "<|tool_calls|>", "<|calls|>"},
	calls: &callForm{opens: []string{"<|tool_call:begin|>"}, read: func(c *cursor, _ tools) []call {
		c.lit("<|tool_call:begin|>")
		id := strings.TrimSpace(c.until("<|tool_call:name|>"))
		name := strings.TrimSpace(c.until("<|tool_call:args|>"))
		arguments := c.object()
		c.space()
		c.closing("<|tool_call:end|>")
		return []call{newCall(c, id, name, arguments)}
	}},
}
