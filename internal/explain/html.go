package explain

import (
	_ "embed"
	"encoding/json"
	"html"
	"io"
	"strings"
)

//go:embed page.html
var page string

// HTML writes one page that needs nothing else: the data are in it. The page has
// two places to fill, which needs no template package: that would keep every
// method of the program in the binary.
func (x *Explanation) HTML(w io.Writer, drawings []*Drawing) error {
	data, err := json.Marshal(map[string]any{"explanation": x, "drawings": drawings}) // escapes <, > and &
	if err != nil {
		return err
	}
	_, err = strings.NewReplacer("{{.Title}}", html.EscapeString(x.Model), "{{.Data}}", string(data)).WriteString(w, page)
	return err
}
