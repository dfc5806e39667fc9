package ops

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
)

var update = flag.Bool("update", false, "write docs/OPERATORS.md anew")

const docsFile = "../../docs/OPERATORS.md"

// TestDocs keeps docs/OPERATORS.md as the registry says; -update writes it.
func TestDocs(t *testing.T) {
	want := operatorsPage()
	if *update {
		if err := os.WriteFile(docsFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the registry says: run go test ./internal/ops -run TestDocs -update", docsFile)
	}
}

func operatorsPage() []byte {
	var b bytes.Buffer
	byDomain := map[string][]*op.Op{}
	count := map[string]bool{}
	for _, o := range op.All() {
		byDomain[o.Domain] = append(byDomain[o.Domain], o)
		count[o.Domain+":"+o.Name] = true
	}
	fmt.Fprintf(&b, "# Operators\n\nGenerated from the operator registry by `go test ./internal/ops -run TestDocs -update`; do not edit.\n\n")
	fmt.Fprintf(&b, "%d operators. *Since* lists the opset versions at which a schema changed; a node is read under the newest that is not newer than\n", len(count))
	fmt.Fprintf(&b, "its model's opset (ai.onnx up to %d). *Kernel* says that there is a fast kernel for at least some of the types; all others\n", op.MaxOpset)
	fmt.Fprintf(&b, "run on the reference implementation. *Rows* says that requests may be batched through the operator.\n\n")
	sets := typeSets()
	fmt.Fprintln(&b, "Sets of element types:")
	fmt.Fprintln(&b)
	for _, s := range sets {
		fmt.Fprintf(&b, "- **%s**: %s\n", s.name, typeList(s.types, nil))
	}
	domains := make([]string, 0, len(byDomain))
	for d := range byDomain {
		domains = append(domains, d)
	}
	slices.Sort(domains)
	for _, d := range domains {
		name := d
		if d == "" {
			name = "ai.onnx"
		}
		fmt.Fprintf(&b, "\n## %s\n\n| Operator | Since | Types | Kernel | Rows | |\n| --- | --- | --- | --- | --- | --- |\n", name)
		for i := 0; i < len(byDomain[d]); {
			j := i
			for j < len(byDomain[d]) && byDomain[d][j].Name == byDomain[d][i].Name {
				j++
			}
			writeOperator(&b, byDomain[d][i:j], sets)
			i = j
		}
	}
	return b.Bytes()
}

// writeOperator is the row of an operator from all its registrations.
func writeOperator(b *bytes.Buffer, regs []*op.Op, sets []typeSet) {
	var versions []int
	kernel, rows := "", ""
	for _, o := range regs {
		versions = append(versions, o.Versions...)
		if o.Compile != nil || o.View {
			kernel = "yes"
		}
		if o.Rows != nil {
			rows = "yes"
		}
	}
	slices.Sort(versions)
	since := make([]string, len(versions))
	for i, v := range versions {
		since[i] = fmt.Sprint(v)
	}
	newest := slices.MaxFunc(regs, func(a, b *op.Op) int { return slices.Max(a.Versions) - slices.Max(b.Versions) })
	var types []string
	for _, p := range sortedParams(newest.Types) {
		types = append(types, p+": "+typeList(newest.Types[p], sets))
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", newest.Name, strings.Join(since, ", "), strings.Join(types, "; "), kernel, rows, strings.ReplaceAll(newest.Doc, "|", "\\|"))
}

func sortedParams(t op.Types) []string {
	var names []string
	for n := range t {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

type typeSet struct {
	name  string
	types []dtype.Type
}

// typeSets names the sets of types that schemas share, largest first.
func typeSets() []typeSet {
	return []typeSet{
		{"all", op.AllTensors}, {"numeric", op.Numeric}, {"floats", op.Floats}, {"integers", op.IntTypes},
		{"signed", op.Signed}, {"unsigned", op.Unsigned}, {"indices", op.Indices}, {"complex", op.Complex}, {"float8", op.Float8}, {"packed", op.SubByte},
	}
}

// typeList writes types, whole sets by name.
func typeList(types []dtype.Type, sets []typeSet) string {
	rest := slices.Clone(types)
	var out []string
	for _, s := range sets {
		if !slices.ContainsFunc(s.types, func(t dtype.Type) bool { return !slices.Contains(rest, t) }) {
			out = append(out, s.name)
			rest = slices.DeleteFunc(rest, func(t dtype.Type) bool { return slices.Contains(s.types, t) })
		}
	}
	for _, t := range rest {
		out = append(out, t.String())
	}
	return strings.Join(out, ", ")
}
