package jinja

import (
	"math"
	"math/big"
	"strings"
)

// filterTojson is the tojson of transformers: json.dumps with its defaults, but not
// only ASCII.
func filterTojson(in *interp, v any, a args) any {
	b := in.bind("tojson", a, "ensure_ascii?", "indent?", "separators?", "sort_keys?")
	w := jsonWriter{in: in, item: ", ", pair: ": "}
	w.ascii = given(b[0]) && truth(b[0])
	w.sort = given(b[3]) && truth(b[3])
	if given(b[1]) {
		w.indented, w.item = true, ","
		if s, ok := asString(b[1]); ok {
			w.indent = s
		} else {
			n := max(in.int(b[1], 0), 0)
			in.alloc(int(n))
			w.indent = strings.Repeat(" ", int(n))
		}
	}
	if given(b[2]) {
		marks := in.list(b[2])
		if len(marks) != 2 {
			in.fail("ValueError", "separators are two strings, found %d values", len(marks))
		}
		w.item, w.pair = in.text("tojson", marks[0]), in.text("tojson", marks[1])
	}
	w.value(v, 0)
	in.alloc(w.b.Len())
	return w.b.String()
}

// ToJSON gives a value of the types that DecodeJSON makes, as json.dumps(v, ensure_ascii=False) writes it.
func ToJSON(v any) (text string, err error) {
	in := &interp{opt: Options{}.withDefaults(), line: 1}
	defer catch(&err)
	return filterTojson(in, v, args{}).(string), nil
}

// A jsonWriter is json.dumps.
type jsonWriter struct {
	in          *interp
	b           strings.Builder
	ascii, sort bool
	indented    bool
	indent      string
	item, pair  string // what separates items, and a key from its value
}

func (w *jsonWriter) value(v any, level int) {
	defer w.in.enter()()
	w.in.step(1)
	w.in.fits(w.b.Len())
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool, int64, *big.Int:
		w.b.WriteString(w.scalar(v))
	case float64:
		w.b.WriteString(jsonFloat(v))
	case string:
		w.text(v)
	case Markup:
		w.text(string(v))
	case *Map:
		w.object(v, level)
	default:
		items, ok := sequence(v)
		if !ok {
			w.in.typeError("Object of type %s is not JSON serializable", typeName(v))
		}
		w.brackets('[', ']', len(items), level, func(i int) { w.value(items[i], level+1) })
	}
}

func (w *jsonWriter) scalar(v any) string {
	switch v {
	case true:
		return "true"
	case false:
		return "false"
	}
	return w.in.repr(v)
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return formatFloat(f)
}

func (w *jsonWriter) brackets(open, closing byte, n, level int, item func(i int)) {
	w.b.WriteByte(open)
	for i := range n {
		if i > 0 {
			w.b.WriteString(w.item)
		}
		w.newline(level + 1)
		item(i)
	}
	if n > 0 {
		w.newline(level)
	}
	w.b.WriteByte(closing)
}

func (w *jsonWriter) newline(level int) {
	if !w.indented {
		return
	}
	w.in.fits(w.b.Len() + product(len(w.indent), int64(level)))
	w.b.WriteByte('\n')
	w.b.WriteString(strings.Repeat(w.indent, level))
}

func (w *jsonWriter) object(m *Map, level int) {
	pairs := w.in.list(&view{"items", m})
	if w.sort {
		pairs = w.in.sorted(pairs, w.in.attrGetter(int64(0), nil), false)
	}
	w.brackets('{', '}', len(pairs), level, func(i int) {
		p := pairs[i].(Tuple)
		w.text(w.key(p[0]))
		w.b.WriteString(w.pair)
		w.value(p[1], level+1)
	})
}

// key is the text of a dict's key: JSON has only strings.
func (w *jsonWriter) key(k any) string {
	if s, ok := asString(k); ok {
		return s
	}
	switch k := k.(type) {
	case nil:
		return "null"
	case bool, int64, *big.Int:
		return w.scalar(k)
	case float64:
		return jsonFloat(k)
	}
	w.in.typeError("keys must be str, int, float, bool or None, not %s", typeName(k))
	return ""
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`}

func (w *jsonWriter) text(s string) {
	w.in.alloc(len(s))
	w.b.WriteByte('"')
	for _, r := range s {
		escape, ok := jsonEscapes[r]
		switch {
		case ok:
			w.b.WriteString(escape)
		case r < 0x20:
			w.b.WriteString(`\u` + hex(r, 4))
		case r < 0x7f || !w.ascii:
			w.b.WriteRune(r)
		case r < 0x10000:
			w.b.WriteString(`\u` + hex(r, 4))
		default:
			r -= 0x10000
			w.b.WriteString(`\u` + hex(0xd800+r>>10, 4) + `\u` + hex(0xdc00+r&0x3ff, 4))
		}
	}
	w.b.WriteByte('"')
}
