package samples

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// The keys of a line of JSON that need not be inputs' names.
const (
	inputKey = "input"
	textKey  = "text"
	labelKey = "label"
)

// jsonLines are objects, one a line: a nested list for each input by its name
// ("input" serves for a single one), or a "text" where the model reads texts;
// and, if there are labels, a number called "label".
type jsonLines struct {
	*lines
	graph *ir.Graph
	texts *tokens // of lines with a text; nil: there are none
	class []int   // of each line; nil: there are none
}

func openJSON(path string, g *ir.Graph, o Options) (source, error) {
	if len(g.Inputs) == 0 {
		return nil, errNoInputs
	}
	j := &jsonLines{graph: g}
	texts := false
	l, err := index(path, func(_ int, line []byte) error {
		object, err := j.object(line)
		if err != nil {
			return err
		}
		texts = texts || j.isText(object)
		class, ok, err := j.classOf(object)
		if ok {
			j.class = append(j.class, class)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	j.lines = l
	if n := len(j.class); n > 0 && n < l.len() {
		return nil, fmt.Errorf("%s: %d of %d lines have a %q: expected all, or none", path, n, l.len(), labelKey)
	}
	if texts {
		if j.texts, err = newTokens(g, o); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return j, nil
}

func (j *jsonLines) object(line []byte) (map[string]json.RawMessage, error) {
	var object map[string]json.RawMessage
	const expected = `expected an object such as {"input": [[0.5, 1]], "label": 3}`
	if err := json.Unmarshal(line, &object); err != nil {
		return nil, fmt.Errorf("%s: %w", expected, err)
	}
	if object == nil {
		return nil, fmt.Errorf("%s, found null", expected)
	}
	return object, nil
}

func (j *jsonLines) isInput(name string) bool {
	return slices.ContainsFunc(j.graph.Inputs, func(v *ir.Value) bool { return v.Name == name })
}

func (j *jsonLines) isText(object map[string]json.RawMessage) bool {
	return object[textKey] != nil && !j.isInput(textKey)
}

func (j *jsonLines) classOf(object map[string]json.RawMessage) (class int, ok bool, err error) {
	raw, ok := object[labelKey]
	if !ok || j.isInput(labelKey) {
		return 0, false, nil
	}
	if err := json.Unmarshal(raw, &class); err != nil || class < 0 {
		return 0, false, fmt.Errorf("%q is %.40s: expected a class, 0 or more", labelKey, raw)
	}
	return class, true, nil
}

func (j *jsonLines) label(i int) (int, bool) {
	if j.class == nil {
		return 0, false
	}
	return j.class[i], true
}

func (j *jsonLines) read(_ context.Context, i int) ([]*tensor.Tensor, error) {
	line, err := j.line(i)
	if err != nil {
		return nil, err
	}
	object, err := j.object(line)
	if err != nil {
		return nil, err
	}
	if j.isText(object) {
		var text string
		if err := json.Unmarshal(object[textKey], &text); err != nil {
			return nil, fmt.Errorf("%q: expected a string: %w", textKey, err)
		}
		return j.texts.encode(text)
	}
	in := make([]*tensor.Tensor, len(j.graph.Inputs))
	for k, v := range j.graph.Inputs {
		raw, ok := object[v.Name]
		if !ok && len(in) == 1 {
			raw, ok = object[inputKey]
		}
		if !ok {
			return nil, fmt.Errorf("no input %q: the model has %s, the line %s", v.Name, InputNames(j.graph), strings.Join(slices.Sorted(maps.Keys(object)), ", "))
		}
		if in[k], err = jsonTensor(v, raw); err != nil {
			return nil, fmt.Errorf("input %q: %w", v.Name, err)
		}
	}
	return in, nil
}

// jsonTensor makes an input of a nested list, which may lack the dimension of
// the batch.
func jsonTensor(v *ir.Value, raw json.RawMessage) (*tensor.Tensor, error) {
	l := list{text: raw}
	if err := l.read(0); err != nil {
		return nil, err
	}
	dims := slices.Clone(l.shape)
	if want := v.Type.Shape; len(want) == len(dims)+1 && fits(want[:1], []int{1}) {
		dims = slices.Insert(dims, 0, 1)
	}
	if err := tensor.CheckSize(dims); err != nil {
		return nil, err
	}
	t := tensor.New(v.Type.DType, dims...)
	for i, s := range l.items {
		if err := put(t, i, s); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return t, nil
}

// list reads nested lists of numbers out of text that is known to be JSON.
type list struct {
	text  []byte
	at    int
	items []string // numbers, true and false
	shape []int
	known bool // the depth of the numbers is
}

// maxDepth is the most dimensions.
const maxDepth = 32

func (l *list) read(depth int) error {
	switch c := l.next(); {
	case c == '[':
		return l.readList(depth)
	case c == '"' || c == '{' || c == 'n' || c == 0:
		return fmt.Errorf("expected numbers in nested lists, found %.20q", l.text[l.at:])
	}
	if l.known && depth != len(l.shape) {
		return fmt.Errorf("expected a list of %d numbers, found a number: lists must be equally deep", l.shape[depth])
	}
	l.known = true
	from := l.at
	for l.at < len(l.text) && !strings.ContainsRune(",] \t\r\n", rune(l.text[l.at])) {
		l.at++
	}
	l.items = append(l.items, string(l.text[from:l.at]))
	return nil
}

func (l *list) readList(depth int) error {
	l.at++ // [
	fresh := depth == len(l.shape)
	if fresh {
		if l.known || depth == maxDepth {
			return fmt.Errorf("found a list %d deep: lists must be equally deep, at most %d", depth+1, maxDepth)
		}
		l.shape = append(l.shape, 0)
	}
	n := 0
	for {
		switch l.next() {
		case ']':
			l.at++
			if fresh {
				l.shape[depth] = n
			}
			if n != l.shape[depth] {
				return fmt.Errorf("found a list of %d in dimension %d, the first has %d", n, depth, l.shape[depth])
			}
			return nil
		case ',':
			l.at++
		default:
			if err := l.read(depth + 1); err != nil {
				return err
			}
			n++
		}
	}
}

// next skips blanks and gives the character that follows, or 0.
func (l *list) next() byte {
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.at]) >= 0 {
		l.at++
	}
	if l.at == len(l.text) {
		return 0
	}
	return l.text[l.at]
}

// put writes a number as element i.
func put(t *tensor.Tensor, i int, s string) error {
	dt := t.DType
	size := dt.Bits() / 8
	var bits uint64
	switch {
	case dt == dtype.Bool && (s == "true" || s == "1"):
		bits = 1
	case dt == dtype.Bool && (s == "false" || s == "0"):
	case dt == dtype.Float32 || dt == dtype.Float64 || dt == dtype.Float16 || dt == dtype.BFloat16:
		f, err := strconv.ParseFloat(s, max(32, dt.Bits()))
		if err != nil {
			return fmt.Errorf("%q is no number of type %s", s, dt)
		}
		bits = floatBits(dt, f)
	case dt.IsInt() && size > 0 && dt.IsSigned():
		n, err := strconv.ParseInt(s, 10, dt.Bits())
		if err != nil {
			return fmt.Errorf("%q is no number of type %s", s, dt)
		}
		bits = uint64(n)
	case dt.IsInt() && size > 0:
		n, err := strconv.ParseUint(s, 10, dt.Bits())
		if err != nil {
			return fmt.Errorf("%q is no number of type %s", s, dt)
		}
		bits = n
	default:
		return fmt.Errorf("%q is no value of type %s, or JSON cannot give that type: use .npz", s, dt)
	}
	for b := range size {
		t.Data[i*size+b] = byte(bits >> (8 * b))
	}
	return nil
}

func floatBits(dt dtype.Type, f float64) uint64 {
	switch dt {
	case dtype.Float16:
		return uint64(dtype.F32ToF16(float32(f)))
	case dtype.BFloat16:
		return uint64(dtype.F32ToBF16(float32(f)))
	case dtype.Float32:
		return uint64(math.Float32bits(float32(f)))
	}
	return math.Float64bits(f)
}
