package passes_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/passes/contrib"
)

var update = flag.Bool("update", false, "rewrite docs/PASSES.md")

// promises are what holds for all passes.
const promises = `
## What holds for all of them

- A pass changes the graph through patches alone. The driver checks the schema of what a patch adds, infers its types and compares them with what it replaces;
  a patch that does not fit is left out, its pass stopped and reported with the reason, and the others go on.
- Names of inputs and outputs stay, and so do their types. What a patch teaches of shapes is passed on to the nodes behind it.
- Computed constants let a model grow by a tenth of its constants and 4 MiB at most, all in all.
- A level runs until nothing changes, then the next one joins in: what is removed and computed comes before what is fused, and layouts come last.
- Every pass has goldens, also of graphs at which it must not fire, in *testdata* beside it. Both graphs of each run on random numbers and have to agree.

## Layout

Convolutions compute on blocks of channels, a vector register wide: [N, C, H, W] becomes [N, ⌈C/b⌉, H, W, b]. *block-conv* puts each between two reorders.
*choose-layout* then decides for all operators at once that could follow in either layout: a minimum cut of the graph, where each value between a blocked and a plain
operator costs its elements, once. A lone convolution changes nothing around it; a detector is left with one reorder for each of its heads.

The unused channels of the last block hold finite numbers, always, since convolutions multiply them by zero weights, and 0·∞ and 0·NaN are NaN. Reorders and
convolutions put zeros there, or what an activation makes of zero; an operator goes to blocked layout only if its results stay finite there whatever the data:
the pass follows the range of these numbers. Constants are neutral there: ones for Mul, Div and Pow, zeros else.
`

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
	b.WriteString("\n## For onnxruntime\n\n`salver optimize --contrib` runs these after the portable ones; they make operators of `com.microsoft`.\n\n| Pass | Level | |\n|---|---|---|\n")
	for _, p := range contrib.Passes {
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", p.Name, p.Level, p.Doc)
	}
	b.WriteString(promises)
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
