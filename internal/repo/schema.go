package repo

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed schema.txt
var schemaText string

// schema has the message and enum types of ModelConfig.
type schema struct {
	messages map[string]*messageType
	enums    map[string]*enumType
}

type messageType struct {
	name   string
	fields []*fieldType
	oneofs [][]string
}

type fieldType struct {
	name     string
	typ      string // a scalar type, or the name of a message or enum
	repeated bool
	key      string // of a map: the type of its keys
	reason   string // why it is not supported; "" if it is
}

type enumType struct {
	values  []string // by number
	reasons map[string]string
}

var modelConfig = sync.OnceValue(func() *schema { return parseSchema(schemaText) })

// parseSchema reads schema.txt.
func parseSchema(text string) *schema {
	s := &schema{messages: map[string]*messageType{}, enums: map[string]*enumType{}}
	var m *messageType
	var e *enumType
	for line := range strings.Lines(text) {
		line, reason, _ := strings.Cut(strings.TrimRight(line, "\n"), " ! ")
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "enum":
			m, e = nil, &enumType{reasons: map[string]string{}}
			s.enums[words[1]] = e
		case line[0] != ' ':
			m, e = &messageType{name: words[0]}, nil
			s.messages[m.name] = m
		case e != nil:
			e.values = append(e.values, words[0])
			if reason != "" {
				e.reasons[words[0]] = reason
			}
		case words[0] == "oneof":
			m.oneofs = append(m.oneofs, words[1:])
		default:
			m.fields = append(m.fields, parseField(words, reason))
		}
	}
	return s
}

func parseField(words []string, reason string) *fieldType {
	f := &fieldType{name: words[0], typ: words[len(words)-1], reason: reason}
	switch words[1] {
	case "repeated":
		f.repeated = true
	case "map":
		f.key = words[2]
	}
	return f
}

func (m *messageType) field(name string) *fieldType {
	if i := slices.IndexFunc(m.fields, func(f *fieldType) bool { return f.name == name }); i >= 0 {
		return m.fields[i]
	}
	return nil
}

// entry is the type of a map's entries.
func (f *fieldType) entry() *messageType {
	return &messageType{name: "map entry", fields: []*fieldType{{name: "key", typ: f.key}, {name: "value", typ: f.typ}}}
}

// unknown says that a name is not in a list, and which one may have been meant.
func unknown(what, name string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if len(name) > 64 {
			break // nobody mistypes that, and the distance would take long
		}
		if d := editDistance(name, k); d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("unknown %s; is %s meant?", what, best)
	}
	return fmt.Sprintf("unknown %s; known are %s", what, strings.Join(known, ", "))
}

// editDistance is the Levenshtein distance.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
