package chat

import (
	"strings"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

const gemmaQuote = `<|"|>`

// gemmaForm is Gemma 4's: call:NAME{key:<|"|>text<|"|>,key:2}, nearly JSON.
var gemmaForm = &callForm{opens: []string{"<|tool_call>"}, read: func(c *cursor, _ tools) []call {
	c.lit("<|tool_call>")
	c.lit("call:")
	name := c.word()
	c.lit("{")
	arguments := c.gemmaObject(0)
	c.closing("<tool_call|>")
	return []call{newCall(c, "", name, arguments)}
}}

// gemmaDepth bounds how deep values nest.
const gemmaDepth = 64

// gemmaObject reads an object behind its opening bracket.
func (c *cursor) gemmaObject(depth int) *jinja.Map {
	m := jinja.NewMap()
	for c.space(); c.ok() && !c.has("}"); c.space() {
		if m.Len() > 0 {
			c.lit(",")
			c.space()
		}
		k := ""
		if c.has(gemmaQuote) {
			k = c.until(gemmaQuote)
			c.lit(":")
		} else {
			k = strings.TrimSpace(c.until(":"))
		}
		m.Set(k, c.gemmaValue(depth+1))
	}
	return m
}

func (c *cursor) gemmaValue(depth int) any {
	c.space()
	switch {
	case depth > gemmaDepth:
		c.fail(false)
	case c.has(gemmaQuote):
		return c.until(gemmaQuote)
	case c.has("{"):
		return c.gemmaObject(depth)
	case c.has("["):
		list := jinja.List{}
		for c.space(); c.ok() && !c.has("]"); c.space() {
			if len(list) > 0 {
				c.lit(",")
			}
			list = append(list, c.gemmaValue(depth+1))
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
