package explain

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"io"
)

//go:embed page.html
var page string

var pageTemplate = template.Must(template.New("page").Parse(page))

// HTML writes one page that needs nothing else: the data are in it.
func (x *Explanation) HTML(w io.Writer, drawings []*Drawing) error {
	data, err := json.Marshal(map[string]any{"explanation": x, "drawings": drawings})
	if err != nil {
		return err
	}
	return pageTemplate.Execute(w, map[string]any{"Title": x.Model, "Data": template.JS(data)}) // json.Marshal escapes <, > and &
}
