package chat

import (
	"strings"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// gemmaForm is Gemma 4's: call:NAME{key:<|"|>text<|"|>,key:2}, nearly JSON.
var gemmaForm = &callForm{opens: []string{"<|tool_call>"}, read: func(c *cursor, _ tools) []call {
	c.lit("<|tool_call>")
	name, arguments := c.gemmaCall(`<|"|>`)
	c.closing("<tool_call|>")
	return []call{newCall(c, "", name, arguments)}
}}

// functionGemmaForm is FunctionGemma's, with other marks. Some templates quote all values,
// so the tool's schema says what a quoted one is.
var functionGemmaForm = &callForm{opens: []string{"<start_function_call>"}, read: func(c *cursor, t tools) []call {
	c.lit("<start_function_call>")
	name, arguments := c.gemmaCall("<escape>")
	c.closing("<end_function_call>")
	for k, v := range arguments.All {
		if s, ok := v.(string); ok {
			arguments.Set(k, t.value(name, k, s))
		}
	}
	return []call{newCall(c, "", name, arguments)}
}}

// gemmaCall reads call:NAME{…}; quote stands around texts.
func (c *cursor) gemmaCall(quote string) (name string, arguments *jinja.Map) {
	c.lit("call:")
	name = c.word()
	c.lit("{")
	return name, c.gemmaObject(quote, 0)
}

// gemmaDepth bounds how deep values nest.
const gemmaDepth = 64

// gemmaObject reads an object behind its opening bracket.
func (c *cursor) gemmaObject(quote string, depth int) *jinja.Map {
	m := jinja.NewMap()
	for c.space(); c.ok() && !c.has("}"); c.space() {
		if m.Len() > 0 {
			c.lit(",")
			c.space()
		}
		k := ""
		if c.has(quote) {
			k = c.until(quote)
			c.lit(":")
		} else {
			k = strings.TrimSpace(c.until(":"))
		}
		m.Set(k, c.gemmaValue(quote, depth+1))
	}
	return m
}

func (c *cursor) gemmaValue(quote string, depth int) any {
	c.space()
	switch {
	case depth > gemmaDepth:
		c.fail(false)
	case c.has(quote):
		return c.until(quote)
	case c.has("{"):
		return c.gemmaObject(quote, depth)
	case c.has("["):
		list := jinja.List{}
		for c.space(); c.ok() && !c.has("]"); c.space() {
			if len(list) > 0 {
				c.lit(",")
			}
			list = append(list, c.gemmaValue(quote, depth+1))
		}
		return list
	}
	if !c.ok() {
		return nil
	}
	n := strings.IndexAny(c.rest(), ",}]")
	if n < 0 {
		c.fail(true)
		return nil
	}
	v, err := jinja.DecodeJSON(c.rest()[:n])
	if err != nil {
		c.fail(false)
	}
	c.i += n
	return v
}
