package chat

import "github.com/salver-ml/salver/internal/chat/jinja"

// tools are the functions that may be called, by name.
type tools map[string]*jinja.Map // the parameters' schema; nil without

func toolsOf(list []Tool) tools {
	t := tools{}
	for i := range list {
		t[list[i].Name], _ = list[i].Parameters.(*jinja.Map)
	}
	return t
}

// value turns the text of a parameter into a JSON value, by the type that the tool's
// schema gives it: a string stays text; anything else is JSON if it can be read as such.
func (t tools) value(function, parameter, text string) any {
	if t.isText(function, parameter) {
		return text
	}
	if v, err := jinja.DecodeJSON(text); err == nil {
		return v
	}
	switch text {
	case "True":
		return true
	case "False":
		return false
	case "None":
		return nil
	}
	return text
}

// isText reports whether a parameter's schema allows a string and nothing else, null aside.
func (t tools) isText(function, parameter string) bool {
	schema := field(field(t[function], "properties"), parameter)
	if schema == nil {
		return false
	}
	kind, ok := schema.Get("type")
	if !ok {
		values, _ := schema.Get("enum")
		list, _ := values.(jinja.List)
		for _, v := range list {
			if _, ok := v.(string); !ok {
				return false
			}
		}
		return len(list) > 0
	}
	kinds, several := kind.(jinja.List)
	if !several {
		return kind == any("string")
	}
	text := false
	for _, k := range kinds {
		if k != any("string") && k != any("null") {
			return false
		}
		text = text || k == any("string")
	}
	return text
}

// field gives a field that is an object, or nil.
func field(m *jinja.Map, name string) *jinja.Map {
	if m == nil {
		return nil
	}
	v, _ := m.Get(name)
	sub, _ := v.(*jinja.Map)
	return sub
}

// newCall makes a call of arguments.
func newCall(c *cursor, id, name string, arguments *jinja.Map) call {
	if !c.ok() || name == "" || arguments == nil {
		c.fail(false)
		return call{}
	}
	text, err := jinja.ToJSON(arguments)
	if err != nil {
		c.fail(false)
	}
	return call{id, name, text}
}
