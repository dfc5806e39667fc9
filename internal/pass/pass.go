// Package pass drives graph rewrites. A pass looks at one node at a time and
// returns a patch or nothing; the driver infers and checks the types of what
// the patch adds, applies it, and records it. The passes of level 1 run in a fixed order, over
// and over until none changes anything; then those of levels 1 and 2, and so on. A patch that would change a type is an
// error of the pass and stops the optimization.
package pass

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
)

// Pass is one rewrite.
type Pass struct {
	Name     string // as --passes -NAME switches it off
	Level    int    // least optimization level at which it runs, 1 to 3
	Portable bool   // makes standard ONNX operators only
	Doc      string // one sentence: what it rewrites into what
	// Rewrite gives a patch that changes n, or nil. It reports through c.Near
	// what almost matched.
	Rewrite func(c *Context, n *ir.Node) (*ir.Patch, error)
}

// Options chooses the passes.
type Options struct {
	Level    int      // 0 to MaxLevel
	Off      []string // names of passes to leave out
	Portable bool     // only passes whose result any ONNX runtime can run
}

// MaxLevel is the highest optimization level.
const MaxLevel = 3

// Report says what the passes did.
type Report struct {
	NodesBefore int           `json:"nodes_before"`
	NodesAfter  int           `json:"nodes_after"`
	Passes      []*PassReport `json:"passes"`
	Duration    time.Duration `json:"duration_ns"`
}

// PassReport says what one pass did.
type PassReport struct {
	Name    string        `json:"name"`
	Patches []Applied     `json:"patches,omitempty"`
	Near    []Near        `json:"near_misses,omitempty"`
	Time    time.Duration `json:"time_ns"`
}

// Applied is one patch that was applied.
type Applied struct {
	Reason  string `json:"reason"`
	Added   int    `json:"added"`
	Removed int    `json:"removed"`
}

// Near is a place where a pass almost matched.
type Near struct {
	Node   string `json:"node"`
	Reason string `json:"reason"` // the condition that failed, expected and found
}

// Context is what a pass may ask the driver.
type Context struct {
	Graph *ir.Graph   // the graph or subgraph that is rewritten
	Memo  map[any]any // the pass's own notes, empty at the beginning of each sweep
	run   *runner
	near  *PassReport
}

// Near records that a pattern almost matched at n, and what forbade it.
func (c *Context) Near(n *ir.Node, format string, args ...any) {
	m := Near{Node: n.String(), Reason: fmt.Sprintf(format, args...)}
	if !slices.Contains(c.near.Near, m) {
		c.near.Near = append(c.near.Near, m)
	}
}

// Name makes a value name that is not in use.
func (c *Context) Name(base string) string { return c.run.fresh(base) }

// Value makes a value with a name that is not in use and no type yet.
func (c *Context) Value(base string) *ir.Value { return ir.NewValue(c.run.fresh(base), ir.Type{}) }

// Grow reserves bytes of constants that a patch is going to add beyond those
// that it frees, and reports whether the graph may have them. Folding must not
// blow a small file up: in all, constants may grow by a tenth of what they were
// and 1 MiB.
func (c *Context) Grow(bytes int) bool {
	if bytes > c.run.room {
		return false
	}
	c.run.room -= bytes
	return true
}

// runner is the state of one optimization.
type runner struct {
	names map[string]bool
	count map[string]int
	room  int // bytes by which the graph's constants may still grow
}

// growth is the room of a graph with so many bytes of constants.
func growth(constants int) int { return constants/10 + 1<<20 }

// constantBytes sums the constants of g and its subgraphs, each once.
func constantBytes(g *ir.Graph, seen map[*ir.Value]bool) int {
	total := 0
	for _, n := range g.Nodes {
		for _, v := range n.In {
			if v != nil && v.Const != nil && !seen[v] {
				seen[v] = true
				total += len(v.Const.Data)
			}
		}
		for _, sub := range n.Subgraphs() {
			total += constantBytes(sub, seen)
		}
	}
	return total
}

func (r *runner) fresh(base string) string {
	if stem, n, ok := cutLast(base, "."); ok && r.count[stem] > 0 && isNumber(n) {
		base = stem // the successor of a name made here before
	}
	for {
		name := base
		if k := r.count[base]; k > 0 {
			name = fmt.Sprintf("%s.%d", base, k)
		}
		r.count[base]++
		if !r.names[name] {
			r.names[name] = true
			return name
		}
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// maxRounds bounds the repetitions of the whole sequence; graphs settle in two
// or three.
const maxRounds = 20

// Run optimizes g with the given passes in their order.
func Run(g *ir.Graph, passes []Pass, o Options) (*Report, error) {
	chosen, err := choose(passes, o)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	rep := &Report{NodesBefore: CountNodes(g)}
	r := &runner{names: map[string]bool{}, count: map[string]int{}}
	r.collect(g)
	r.room = growth(constantBytes(g, map[*ir.Value]bool{}))
	reports := make([]*PassReport, len(chosen))
	for i, p := range chosen {
		reports[i] = &PassReport{Name: p.Name}
	}
	for level := 1; level <= o.Level; level++ {
		if err := r.settle(chosen, reports, g, level); err != nil {
			return nil, err
		}
	}
	if err := g.Verify(); err != nil {
		return nil, fmt.Errorf("after optimization: %w", err)
	}
	rep.Passes, rep.NodesAfter, rep.Duration = reports, CountNodes(g), time.Since(start)
	return rep, nil
}

// settle repeats the passes up to a level until none changes anything.
func (r *runner) settle(passes []Pass, reports []*PassReport, g *ir.Graph, level int) error {
	for range maxRounds {
		changed := false
		for i := range passes {
			if passes[i].Level > level {
				continue
			}
			did, err := r.sweep(&passes[i], reports[i], g)
			if err != nil {
				return fmt.Errorf("pass %s: %w", passes[i].Name, err)
			}
			changed = changed || did
		}
		if !changed {
			break
		}
	}
	return nil
}

func choose(passes []Pass, o Options) ([]Pass, error) {
	if o.Level < 0 || o.Level > MaxLevel {
		return nil, fmt.Errorf("optimization level %d: expected 0 to %d", o.Level, MaxLevel)
	}
	for _, name := range o.Off {
		if !slices.ContainsFunc(passes, func(p Pass) bool { return p.Name == name }) {
			return nil, fmt.Errorf("pass %q is unknown; the passes are %v", name, Names(passes))
		}
	}
	var chosen []Pass
	for _, p := range passes {
		if p.Level <= o.Level && !slices.Contains(o.Off, p.Name) && (p.Portable || !o.Portable) {
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}

// Names lists the passes' names in order.
func Names(passes []Pass) []string {
	names := make([]string, len(passes))
	for i, p := range passes {
		names[i] = p.Name
	}
	return names
}

// CountNodes counts the nodes of g and its subgraphs.
func CountNodes(g *ir.Graph) int {
	n := len(g.Nodes)
	for _, m := range g.Nodes {
		for _, sub := range m.Subgraphs() {
			n += CountNodes(sub)
		}
	}
	return n
}

// collect notes every value name, so that new ones differ.
func (r *runner) collect(g *ir.Graph) {
	for _, v := range g.Inputs {
		r.names[v.Name] = true
	}
	for _, o := range g.Outputs {
		r.names[o.Name] = true
	}
	for _, n := range g.Nodes {
		for _, vs := range [][]*ir.Value{n.In, n.Out} {
			for _, v := range vs {
				if v != nil {
					r.names[v.Name] = true
				}
			}
		}
		for _, sub := range n.Subgraphs() {
			r.collect(sub)
		}
	}
}

// sweep runs a pass once over g and its subgraphs.
func (r *runner) sweep(p *Pass, rep *PassReport, g *ir.Graph) (changed bool, err error) {
	start := time.Now()
	defer func() { rep.Time += time.Since(start) }()
	c := &Context{Graph: g, Memo: map[any]any{}, run: r, near: rep}
	for _, n := range slices.Clone(g.Nodes) {
		if n.Removed() {
			continue
		}
		for _, sub := range n.Subgraphs() {
			did, err := r.sweep(p, rep, sub)
			if err != nil {
				return false, err
			}
			changed = changed || did
		}
		patch, err := p.Rewrite(c, n)
		if err != nil {
			return false, fmt.Errorf("at %s: %w", n, err)
		}
		if patch == nil {
			continue
		}
		removed, err := apply(g, patch)
		if err != nil {
			return false, fmt.Errorf("at %s: %w", n, err)
		}
		rep.Patches = append(rep.Patches, Applied{patch.Reason, len(patch.Add), len(removed)})
		changed = true
	}
	if changed {
		err = g.Sort()
	}
	return changed, err
}

// apply completes and infers the patch's nodes, in order, and applies it.
func apply(g *ir.Graph, patch *ir.Patch) ([]*ir.Node, error) {
	for _, n := range patch.Add {
		if err := op.Complete(n); err != nil {
			return nil, fmt.Errorf("patch %q: %w", patch.Reason, err)
		}
		if err := op.InferNode(n); err != nil {
			return nil, fmt.Errorf("patch %q: %w", patch.Reason, err)
		}
	}
	learned := make([]*ir.Value, 0, len(patch.Replace))
	for _, r := range patch.Replace {
		if knowsMore(op.FactOf(r.New), op.FactOf(r.Old)) {
			learned = append(learned, r.New)
		}
	}
	removed, err := g.Apply(patch)
	if err != nil {
		return nil, err
	}
	refine(learned)
	return removed, nil
}

// refine infers the readers of values of which more is known now, and their
// readers in turn. What can't be inferred keeps its type: the contradiction is
// the model's own, and is reported where the node runs.
func refine(values []*ir.Value) {
	for len(values) > 0 {
		v := values[len(values)-1]
		values = values[:len(values)-1]
		for _, u := range v.Uses() {
			if len(u.Node.Subgraphs()) > 0 {
				continue // a body's values may differ from run to run
			}
			values = append(values, refineNode(u.Node)...)
		}
	}
}

// refineNode infers n again and gives the outputs of which more is known now.
func refineNode(n *ir.Node) (learned []*ir.Value) {
	before := make([]op.Fact, len(n.Out))
	for i, v := range n.Out {
		before[i] = op.FactOf(v)
	}
	failed := op.InferNode(n) != nil
	for i, v := range n.Out {
		switch {
		case v == nil:
		case failed || !knowsMore(op.FactOf(v), before[i]):
			v.Type, v.Content = before[i].Type, before[i].Content
		default:
			learned = append(learned, v)
		}
	}
	return learned
}

// knowsMore reports whether a says something of a value that b does not.
func knowsMore(a, b op.Fact) bool {
	if a.Const != nil && b.Const == nil || a.DType != dtype.Invalid && b.DType == dtype.Invalid || a.Shape != nil && b.Shape == nil {
		return true
	}
	return len(a.Shape) == len(b.Shape) && moreConstants(a.Shape, b.Shape) || a.Content != nil && b.Content == nil ||
		len(a.Content) == len(b.Content) && moreConstants(a.Content, b.Content)
}

func moreConstants(a, b []shape.Dim) bool {
	for i, d := range a {
		_, known := d.Int()
		if _, before := b[i].Int(); known && !before || b[i].IsUnknown() && !d.IsUnknown() {
			return true
		}
	}
	return false
}
