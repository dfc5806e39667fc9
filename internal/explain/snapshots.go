package explain

import (
	"fmt"

	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
)

// Snapshots draws a model as the file has it and after each pass that changes
// it, the passes before it included.
func Snapshots(file string, o pass.Options) ([]*Drawing, error) {
	var drawings []*Drawing
	for n := 0; n <= len(passes.All); n++ {
		m, err := onnx.Load(file)
		if err != nil {
			return nil, err
		}
		title := "as in the file"
		changed := n == 0
		if n > 0 {
			title = passes.All[n-1].Name
			report, err := pass.Run(m.Graph, passes.All[:n], pass.Options{Level: o.Level, Off: known(o.Off, passes.All[:n]), Portable: o.Portable})
			if err != nil {
				return nil, fmt.Errorf("pass %s: %w", title, err)
			}
			for _, p := range report.Passes {
				changed = changed || p.Name == title && len(p.Patches) > 0
			}
		}
		if changed {
			drawings = append(drawings, Draw(title, m.Graph))
		}
		if err := m.Close(); err != nil {
			return nil, err
		}
	}
	return drawings, nil
}

// known keeps the names that are among the passes.
func known(names []string, all []pass.Pass) []string {
	var out []string
	for _, p := range all {
		for _, n := range names {
			if n == p.Name {
				out = append(out, n)
			}
		}
	}
	return out
}
