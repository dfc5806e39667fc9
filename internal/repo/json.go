package repo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// ParseJSON reads a configuration in JSON, with ModelConfig's field names, as
// the load call of Triton's API has it. name is what problems carry as File.
func ParseJSON(name string, src []byte) (*Config, error) {
	fail := func(format string, args ...any) (*Config, error) {
		return nil, Problems{{File: name, Message: fmt.Sprintf(format, args...)}}
	}
	if len(src) > maxConfigBytes {
		return fail("it is larger than 1 MiB")
	}
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		return fail("it is not a JSON object: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fail("it has more than one JSON value")
	}
	m, err := fromJSON(v, modelConfig().messages["ModelConfig"], 0)
	if err != nil {
		return fail("%v", err)
	}
	cfg, ps := build(m)
	for i := range ps {
		ps[i].File, ps[i].Line, ps[i].Col = name, 0, 0
	}
	return cfg, ps.err()
}

// fromJSON makes what parseText would have made. t may be nil, for a field of unknown type.
func fromJSON(v map[string]any, t *messageType, depth int) (*message, error) {
	if depth > maxConfigDepth {
		return nil, fmt.Errorf("messages are nested more than %d deep", maxConfigDepth)
	}
	m := &message{}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		typ, inner := "", (*messageType)(nil)
		items := []any{v[name]}
		if list, ok := v[name].([]any); ok {
			items = list
		}
		if ft := fieldOf(t, name); ft != nil {
			typ, inner = ft.typ, modelConfig().messages[ft.typ]
			if entries, ok := v[name].(map[string]any); ok && ft.key != "" {
				items, inner = mapEntries(entries), ft.entry()
			}
		}
		for _, item := range items {
			f, err := jsonField(name, item, typ, inner, depth)
			if err != nil {
				return nil, err
			}
			m.fields = append(m.fields, f)
		}
	}
	return m, nil
}

func fieldOf(t *messageType, name string) *fieldType {
	if t == nil {
		return nil
	}
	return t.field(name)
}

// mapEntries makes messages with key and value of a JSON object.
func mapEntries(v map[string]any) (items []any) {
	for _, k := range slices.Sorted(maps.Keys(v)) {
		items = append(items, map[string]any{"key": k, "value": v[k]})
	}
	return items
}

// jsonField converts one value of a field of type typ, which is "" if it is
// unknown. JSON has strings for enums and long numbers too.
func jsonField(name string, v any, typ string, inner *messageType, depth int) (f field, err error) {
	f.name = name
	switch v := v.(type) {
	case map[string]any:
		f.msg, err = fromJSON(v, inner, depth+1)
	case json.Number:
		f.kind, f.text = tokNumber, v.String()
	case bool:
		f.kind, f.text = tokIdent, fmt.Sprint(v)
	case string:
		f.kind, f.text = tokString, v
		if modelConfig().enums[typ] != nil {
			f.kind = tokIdent
		} else if strings.HasPrefix(typ, "int") || strings.HasPrefix(typ, "uint") {
			f.kind = tokNumber
		}
	case nil:
		err = fmt.Errorf("%s: expected a value, found null", name)
	default:
		err = fmt.Errorf("%s: expected a value, found a list in a list", name)
	}
	return f, err
}
