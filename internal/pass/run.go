package pass

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
)

// runner is the state of one optimization.
type runner struct {
	root  *ir.Graph // checked after each patch, if wanted
	names map[string]bool
	count map[string]int
	pool  *pool.Pool
	at    op.Precision
	ctx   context.Context // nil: never done
	most  int             // patches; 0 is no limit
	made  int             // patches applied
	room  int             // bytes by which the graph's constants may still grow
	idle  []int           // of each pass: how many patches there were when it last found nothing to do; -1 before
}

// growth is the room of a graph with so many bytes of constants.
func growth(constants int) int { return constants/10 + 4<<20 }

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
	r := &runner{names: map[string]bool{}, count: map[string]int{}, pool: o.Pool, at: o.Precision, most: o.Most, ctx: o.Context}
	if o.Verify {
		r.root = g
	}
	r.collect(g)
	r.room = growth(constantBytes(g, map[*ir.Value]bool{}))
	reports := make([]*PassReport, len(chosen))
	r.idle = slices.Repeat([]int{-1}, len(chosen))
	for i, p := range chosen {
		reports[i] = &PassReport{Name: p.Name, seen: map[Near]bool{}}
	}
	for level := 1; level <= o.Level; level++ {
		if err := r.settle(chosen, reports, g, level); err != nil {
			return nil, err
		}
	}
	if err := g.Verify(); err != nil {
		return nil, fmt.Errorf("after optimization: %w", err)
	}
	for _, p := range reports {
		p.dropOvertaken()
	}
	rep.Passes, rep.NodesAfter, rep.Duration = reports, CountNodes(g), time.Since(start)
	return rep, nil
}

// settle repeats the passes up to a level until none changes anything, then with those
// that come last. A pass that found nothing is not asked again before the graph has changed.
func (r *runner) settle(passes []Pass, reports []*PassReport, g *ir.Graph, level int) error {
	for _, last := range []bool{false, true} {
		for range maxRounds {
			changed := false
			for i := range passes {
				if passes[i].Level > level || reports[i].Stopped != "" || passes[i].Last && !last || r.idle[i] == r.made {
					continue
				}
				if r.ctx != nil && r.ctx.Err() != nil {
					return context.Cause(r.ctx)
				}
				did, err := r.sweep(&passes[i], reports[i], g)
				if err != nil {
					return fmt.Errorf("after pass %s: %w", passes[i].Name, err)
				}
				if changed = changed || did; !did {
					r.idle[i] = r.made
				}
			}
			if !changed {
				break
			}
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

// sweep runs a pass once over g and its subgraphs. An error means that the
// graph itself is broken.
func (r *runner) sweep(p *Pass, rep *PassReport, g *ir.Graph) (changed bool, err error) {
	start := time.Now()
	defer func() { rep.Time += time.Since(start) }()
	c := &Context{Graph: g, Memo: map[any]any{}, Pool: r.pool, Precision: r.at, run: r, near: rep}
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
		did, err := r.rewrite(c, p, n)
		changed = changed || did
		if err != nil {
			rep.Stopped = fmt.Sprintf("at %s: %s", n, err)
		}
		if rep.Stopped != "" {
			break
		}
	}
	if changed {
		err = g.Sort()
	}
	return changed, err
}

// rewrite applies a pass to one node. On an error the graph is unchanged.
func (r *runner) rewrite(c *Context, p *Pass, n *ir.Node) (changed bool, err error) {
	if r.most > 0 && r.made >= r.most {
		return false, nil
	}
	patch, err := p.Rewrite(c, n)
	if patch == nil || err != nil {
		return false, err
	}
	removed, err := apply(c.Graph, patch)
	if err != nil {
		patch.Discard()
		return false, err
	}
	r.made++
	c.near.Patches = append(c.near.Patches, Applied{r.made, patch.Reason, len(patch.Add), len(removed)})
	if r.root == nil {
		return true, nil
	}
	if err := c.Graph.Sort(); err != nil {
		return true, err
	}
	if err := r.root.Sort(); err != nil { // a body's patch may remove nodes around it
		return true, err
	}
	return true, verify(r.root)
}
