package passes_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/passes"
)

var update = flag.Bool("update", false, "rewrite docs/PASSES.md")

const page = "../../docs/PASSES.md"

// docs/PASSES.md is made from the passes.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Optimization passes\n\nThis page is made from the code: run `go test ./internal/passes -update` after a change there.\n\n" +
		"In their order. A pass runs at its level and above (`--level`, 3 unless asked otherwise); `--passes -NAME` leaves it out. What it did, and where it nearly\n" +
		"matched, is in `salver explain`. *Portable* passes make standard ONNX only: `salver optimize` uses these.\n\n" +
		"| Pass | Level | Portable | |\n|---|---|---|---|\n")
	for _, p := range passes.All {
		portable := ""
		if p.Portable {
			portable = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s |\n", p.Name, p.Level, portable, p.Doc)
	}
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("docs/PASSES.md is not what the passes say: run go test ./internal/passes -update")
	}
}
