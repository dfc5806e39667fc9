package repo

import (
	"fmt"
	"strings"
)

// Document lists every field of ModelConfig and what it does here, in
// Markdown: it is docs/MODEL_CONFIG.md.
func Document() string {
	var b strings.Builder
	b.WriteString(`# config.pbtxt

A model in a repository may have a ` + "`config.pbtxt`" + ` in the text format of Triton's ModelConfig; it may be left out, and so may every
field, as they are completed from the model. All fields are known. A field that has no effect here is refused
with its line and column, unless it has its default value; ` + "`salver serve --dry-run REPO`" + ` lists all of them for a whole
repository. This page is made from the code: run ` + "`go test ./internal/repo -update`" + ` after a change there.

What to know:

- ` + "`max_batch_size`" + `: 0 turns batching off and ` + "`dims`" + ` have every dimension; above 0, ` + "`dims`" + ` leave out the first one. Left out, it is 64 for a model whose rows are
  proved independent, unless ` + "`dims`" + ` have every dimension. A value that is written bounds the rows of a single request too.
- ` + "`dynamic_batching`" + ` is on for every model that can batch. Without ` + "`max_queue_delay_microseconds`" + ` a request never waits for company while an instance is idle.
- ` + "`max_queue_size`" + ` left out is 8 full batches per instance and at least 128 requests; 0 is no bound. A full queue answers 429 or RESOURCE_EXHAUSTED with the time to come back.
- ` + "`timeout`" + ` of a request (microseconds) shortens its time in the queue where ` + "`allow_timeout_override`" + ` is set, and for models without a ` + "`default_queue_policy`" + `.
- ` + "`parameters`" + ` are settings of the engine, each a ` + "`string_value`" + `.

`)
	s := modelConfig()
	s.document(&b, "ModelConfig", map[string]bool{})
	return b.String()
}

// document writes a message's table and then those of the supported messages in it.
func (s *schema) document(b *strings.Builder, name string, done map[string]bool) {
	m := s.messages[name]
	if done[name] || len(m.fields) == 0 {
		return
	}
	done[name] = true
	fmt.Fprintf(b, "## %s\n\n| Field | Type | |\n|---|---|---|\n", name)
	for _, f := range m.fields {
		note := "supported"
		if f.reason != "" {
			note = "no: " + f.reason
		} else if e := s.enums[f.typ]; e != nil && len(e.reasons) > 0 {
			for _, v := range e.values {
				if e.reasons[v] != "" {
					note += fmt.Sprintf(", but not %s: %s", v, e.reasons[v])
				}
			}
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.name, f.typeText(), note)
	}
	b.WriteByte('\n')
	for _, f := range m.fields {
		if s.messages[f.typ] != nil && f.reason == "" {
			s.document(b, f.typ, done)
		}
	}
}

func (f *fieldType) typeText() string {
	switch {
	case f.repeated:
		return "list of " + f.typ
	case f.key != "":
		return "map of " + f.key + " to " + f.typ
	}
	return f.typ
}
