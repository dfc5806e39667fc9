package explain

import (
	"cmp"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
)

// Drawing is a graph with places for its nodes: layers from top to bottom, so
// that every edge points down (Sugiyama's method without bends).
type Drawing struct {
	Title string   `json:"title"`
	Nodes []Box    `json:"nodes"`
	Edges [][2]int `json:"edges"` // from and to, indices of Nodes
	W     float64  `json:"w"`     // in units of one box with its gap
	H     int      `json:"h"`     // layers
}

// Box is a node, an input or an output in a drawing.
type Box struct {
	Name  string  `json:"n"`
	Op    string  `json:"o"`
	Shape string  `json:"s,omitempty"` // of the first output
	X     float64 `json:"x"`
	Layer int     `json:"l"`
}

// Draw lays out a graph; subgraphs are not drawn. It is linear in nodes and
// edges but for the sorting of layers.
func Draw(title string, g *ir.Graph) *Drawing {
	d := &drawer{Drawing: Drawing{Title: title}, made: map[*ir.Value]int{}}
	for _, v := range g.Inputs {
		d.made[v] = d.add(Box{Name: v.Name, Op: "input", Shape: v.Type.String()})
	}
	for _, n := range g.Nodes {
		d.node(n)
	}
	for _, o := range g.Outputs {
		i := d.add(Box{Name: o.Name, Op: "output", Shape: o.Value.Type.String()})
		d.edge(o.Value, i)
	}
	d.layers()
	for range 4 {
		d.sweep(d.above)
		d.sweep(d.below)
	}
	d.place()
	return &d.Drawing
}

// drawer is a drawing in the making.
type drawer struct {
	Drawing
	made         map[*ir.Value]int
	above, below [][]int // neighbours of each box
	rows         [][]int // boxes of each layer, from left to right
	at           []int   // place of each box in its layer
}

func (d *drawer) add(b Box) int {
	d.Nodes = append(d.Nodes, b)
	d.above, d.below = append(d.above, nil), append(d.below, nil)
	return len(d.Nodes) - 1
}

func (d *drawer) edge(v *ir.Value, to int) {
	if v == nil {
		return
	}
	from, ok := d.made[v]
	if !ok || slices.Contains(d.above[to], from) {
		return
	}
	d.Edges = append(d.Edges, [2]int{from, to})
	d.above[to] = append(d.above[to], from)
	d.below[from] = append(d.below[from], to)
	d.Nodes[to].Layer = max(d.Nodes[to].Layer, d.Nodes[from].Layer+1)
}

func (d *drawer) node(n *ir.Node) {
	b := Box{Name: n.Name, Op: n.FullName()}
	if v := n.Output(0); v != nil {
		b.Shape = v.Type.String()
	}
	i := d.add(b)
	for _, v := range n.In {
		d.edge(v, i)
	}
	for _, sub := range n.Subgraphs() {
		for _, v := range sub.Captures() {
			d.edge(v, i)
		}
	}
	for _, v := range n.Out {
		if v != nil {
			d.made[v] = i
		}
	}
}

// layers puts the boxes into rows. What does not follow from an input stands
// just above its first reader.
func (d *drawer) layers() {
	follows := make([]bool, len(d.Nodes))
	for i, b := range d.Nodes {
		follows[i] = b.Op == "input" || slices.ContainsFunc(d.above[i], func(j int) bool { return follows[j] })
	}
	for i := len(d.Nodes) - 1; i >= 0; i-- {
		if !follows[i] && len(d.below[i]) > 0 {
			first := slices.MinFunc(d.below[i], func(a, c int) int { return cmp.Compare(d.Nodes[a].Layer, d.Nodes[c].Layer) })
			d.Nodes[i].Layer = d.Nodes[first].Layer - 1
		}
	}
	for _, b := range d.Nodes {
		for b.Layer >= len(d.rows) {
			d.rows = append(d.rows, nil)
		}
	}
	d.at = make([]int, len(d.Nodes))
	for i, b := range d.Nodes {
		d.at[i] = len(d.rows[b.Layer])
		d.rows[b.Layer] = append(d.rows[b.Layer], i)
	}
	d.H = len(d.rows)
}

// sweep orders each row by the mean place of its boxes' neighbours.
func (d *drawer) sweep(neighbours [][]int) {
	for _, row := range d.rows {
		mean := make(map[int]float64, len(row))
		for _, i := range row {
			mean[i] = float64(d.at[i])
			if ns := neighbours[i]; len(ns) > 0 {
				sum := 0
				for _, j := range ns {
					sum += d.at[j]
				}
				mean[i] = float64(sum) / float64(len(ns))
			}
		}
		slices.SortStableFunc(row, func(a, b int) int { return cmp.Compare(mean[a], mean[b]) })
		for k, i := range row {
			d.at[i] = k
		}
	}
}

// place gives each box an x under the mean of the boxes above it, as far as its
// row leaves room.
func (d *drawer) place() {
	for _, row := range d.rows {
		left := 0.0
		for k, i := range row {
			x := float64(k)
			if ns := d.above[i]; len(ns) > 0 {
				x = 0
				for _, j := range ns {
					x += d.Nodes[j].X
				}
				x /= float64(len(ns))
			}
			x = max(x, left)
			d.Nodes[i].X = x
			left = x + 1
			d.W = max(d.W, left)
		}
	}
}
