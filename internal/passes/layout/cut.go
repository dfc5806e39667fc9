package layout

import "math"

// network is a flow network whose minimum cut decides which nodes compute in
// blocked layout: those on the source's side. Vertices 0 and 1 are source
// (blocked) and sink (plain).
type network struct {
	edges []edge
	out   [][]int // edges of each vertex, by index; edge i^1 is the reverse of edge i
}

type edge struct {
	to  int
	cap int64 // what still fits
}

const (
	source = 0
	sink   = 1
	// unbounded is the capacity of edges that must not be cut.
	unbounded = math.MaxInt64 / 4
)

func newNetwork() *network { return &network{out: make([][]int, 2)} }

func (g *network) vertex() int {
	g.out = append(g.out, nil)
	return len(g.out) - 1
}

func (g *network) edge(from, to int, capacity int64) {
	if from == to || capacity == 0 || to == source || from == sink {
		return
	}
	g.out[from] = append(g.out[from], len(g.edges))
	g.out[to] = append(g.out[to], len(g.edges)+1)
	g.edges = append(g.edges, edge{to, capacity}, edge{from, 0})
}

// sourceSide finds a minimum cut (Dinic 1970) and gives the vertices on the
// source's side; of several cuts that with the fewest.
func (g *network) sourceSide() []bool {
	level := make([]int, len(g.out))
	for g.levels(level) {
		next := make([]int, len(g.out))
		for g.augment(level, next) {
		}
	}
	side := make([]bool, len(g.out))
	for v, l := range level {
		side[v] = l >= 0
	}
	return side
}

// levels numbers the vertices by their distance from the source along edges
// with room, -1 where there is none, and reports whether the sink has one.
func (g *network) levels(level []int) bool {
	for v := range level {
		level[v] = -1
	}
	level[source] = 0
	queue := []int{source}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, i := range g.out[v] {
			if e := g.edges[i]; e.cap > 0 && level[e.to] < 0 {
				level[e.to] = level[v] + 1
				queue = append(queue, e.to)
			}
		}
	}
	return level[sink] >= 0
}

// augment sends flow along one shortest path, without recursion: graphs are
// thousands of nodes deep.
func (g *network) augment(level, next []int) bool {
	var path []int
	v := source
	for v != sink {
		moved := false
		for ; next[v] < len(g.out[v]); next[v]++ {
			i := g.out[v][next[v]]
			if e := g.edges[i]; e.cap > 0 && level[e.to] == level[v]+1 {
				path = append(path, i)
				v = e.to
				moved = true
				break
			}
		}
		if moved {
			continue
		}
		if v == source {
			return false
		}
		v = g.edges[path[len(path)-1]^1].to // back; that edge leads nowhere
		path = path[:len(path)-1]
		next[v]++
	}
	most := int64(unbounded)
	for _, i := range path {
		most = min(most, g.edges[i].cap)
	}
	for _, i := range path {
		g.edges[i].cap -= most
		g.edges[i^1].cap += most
	}
	return true
}
