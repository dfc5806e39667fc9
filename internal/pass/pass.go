// Package pass drives graph rewrites. A pass looks at one node at a time and
// returns a patch or nothing; the driver infers and checks the types of what
// the patch adds, applies it, and records it. The passes of level 1 run in a
// fixed order, over and over until none changes anything; then those of levels
// 1 and 2, and so on. A pass whose patch would change a type, or that fails, is
// stopped and reported; the graph stays as it was before that patch, and the
// other passes go on.
package pass

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
)

// Pass is one rewrite.
type Pass struct {
	Name     string // as --passes -NAME switches it off
	Level    int    // least optimization level at which it runs, 1 to 3
	Portable bool   // makes standard ONNX operators only
	Last     bool   // runs only when no other pass of its level changes anything
	Doc      string // one sentence: what it rewrites into what
	// Rewrite gives a patch that changes n, or nil. It reports through c.Near
	// what almost matched.
	Rewrite func(c *Context, n *ir.Node) (*ir.Patch, error)
}

// Options chooses the passes.
type Options struct {
	Level    int        // 0 to MaxLevel
	Off      []string   // names of passes to leave out
	Portable bool       // only passes whose result any ONNX runtime can run
	Most     int        // patches to apply at most, to find out what one of them does; 0 is all
	Verify   bool       // check the whole graph after each patch: for tests, quadratic in time
	Pool     *pool.Pool // on which constants are folded; nil is the caller's thread
	// Precision is what products will be computed in.
	Precision op.Precision

	Context context.Context // ends the passes before the next one, with its cause; nil: never
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
	Stopped string        `json:"stopped,omitempty"` // the fault for which it was stopped
	Time    time.Duration `json:"time_ns"`

	seen map[Near]bool
}

// Applied is one patch that was applied.
type Applied struct {
	Number  int    `json:"number"` // among the patches of all passes, from 1
	Reason  string `json:"reason"`
	Added   int    `json:"added"`
	Removed int    `json:"removed"`
}

// Near is a place where a pass almost matched.
type Near struct {
	Node   string `json:"node"`
	Reason string `json:"reason"` // the condition that failed, expected and found

	at *ir.Node
}

// Context is what a pass may ask the driver.
type Context struct {
	Graph *ir.Graph   // the graph or subgraph that is rewritten
	Memo  map[any]any // the pass's own notes, empty at the beginning of each sweep
	Pool  *pool.Pool  // for computing constants; may be nil
	// Precision is what products will be computed in.
	Precision op.Precision

	run  *runner
	near *PassReport
}

// dropOvertaken removes near misses at nodes that something has replaced since.
func (r *PassReport) dropOvertaken() {
	r.Near = slices.DeleteFunc(r.Near, func(m Near) bool { return m.at.Removed() })
}

// Near records that a pattern almost matched at n, and what forbade it.
func (c *Context) Near(n *ir.Node, format string, args ...any) {
	m := Near{Node: n.String(), Reason: fmt.Sprintf(format, args...), at: n}
	if !c.near.seen[m] {
		c.near.seen[m] = true
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
// and 4 MiB.
func (c *Context) Grow(bytes int) bool {
	if bytes > c.run.room {
		return false
	}
	c.run.room -= bytes
	return true
}
