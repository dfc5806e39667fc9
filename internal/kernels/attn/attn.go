package attn

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// TileKeys is the number of keys of a tile.
const TileKeys = 512

// A View is an operand: element (i, d) of batch item (x, y, …) is at
// x·Steps[0] + y·Steps[1] + … + i·Stride + d.
type View struct {
	Data   []float32
	Data16 []uint16
	Stride int   // elements from one position of the sequence to the next
	Trans  bool  // K only: element (i, d) is at d·Stride + i
	Steps  []int // elements between batch items; nil: all share it
}

// A Mask is added to the scores; its element for query i and key j is at the
// batch item's offset + i·Row + j·Col.
type Mask struct {
	Data     []float32 // nil: none
	Row, Col int       // 0: the same for all; Col is at most 1
	Steps    []int
}

// Keys says which keys a query may see: query i of batch item b stands at
// position p = i + Offset, and sees key j if p-Left ≤ j ≤ p+Right and j < Lens[b].
type Keys struct {
	Limited     bool // false: all of them
	Offset      int
	Left, Right int   // negative: no limit
	Lens        []int // per index of the first batch dimension; Offset is then Lens[b]-M. nil: N
}

// A Problem says what to compute.
type Problem struct {
	Batch      []int // dimensions of the batch, heads included
	M, N       int   // queries and keys
	D, DV      int   // elements of a head of Q and K, and of V
	Q, K, V, O View
	Mask       Mask
	Keys       Keys
	Scale      float32
	Softcap    float32 // c > 0: scores become c·tanh(score/c) before the mask is added
	Fill       float32 // with HasFill: the least score
	HasFill    bool
	ZeroMasked bool

	// BF16 rounds Q, K, V and the weights of the keys to bfloat16 for their
	// products, whose sums are of float32. With Halves, Q, K and V are stored so: in
	// their Data16 instead of Data.
	BF16, Halves bool
}

// A Task is a problem that is prepared once and run often. Its Data may change
// between runs. It is used by one goroutine at a time.
type Task struct {
	Problem

	// Scratch is at least ScratchSize elements that nothing else uses during
	// Run. With too little, Run allocates and keeps its own.
	Scratch []float32

	plan   plan
	micros micros // the plan's
	spans  spans
	slots  tiling.Slots
	spaces []workspace
	own    []float32
}

// Run computes O on the pool's threads. An error means that sizes, strides and
// slices don't fit together, and that nothing was computed.
func (t *Task) Run(p *pool.Pool) error {
	if err := t.Check(); err != nil {
		return err
	}
	if t.items() == 0 || t.M == 0 || t.DV == 0 {
		return nil
	}
	t.prepare(p.Threads())
	p.RunFromEnds(t.plan.chunks(), (*chunkTask)(t))
	return nil
}

// ScratchSize is how many elements of Scratch a Run on so many threads uses.
func (t *Task) ScratchSize(threads int) int {
	p := t.newPlan(threads)
	return p.slots * p.perSlot
}

func (t *Problem) items() int { return tiling.Batch(t.Batch).Items() }

func (t *Task) prepare(threads int) {
	t.plan = t.newPlan(threads)
	t.slots.Reset(t.plan.slots)
	t.spans.reset(t)
	if len(t.spaces) < t.plan.slots {
		t.spaces = make([]workspace, t.plan.slots)
	}
	if need := t.plan.slots * t.plan.perSlot; len(t.Scratch) < need && len(t.own) < need {
		t.own = make([]float32, need)
	}
}

// scratchOf is the memory of one slot.
func (t *Task) scratchOf(slot int) []float32 {
	s := t.Scratch
	if len(s) < t.plan.slots*t.plan.perSlot {
		s = t.own
	}
	return s[slot*t.plan.perSlot : (slot+1)*t.plan.perSlot]
}

// Check reports what doesn't fit together.
func (t *Problem) Check() error {
	if t.M < 0 || t.N < 0 || t.D < 1 || t.DV < 0 {
		return fmt.Errorf("attn: %d queries, %d keys, heads of %d and %d: none may be negative, and Q's heads not empty", t.M, t.N, t.D, t.DV)
	}
	b := tiling.Batch(t.Batch)
	if err := b.Check(); err != nil {
		return fmt.Errorf("attn: %w", err)
	}
	if t.Halves && !t.BF16 {
		return fmt.Errorf("attn: operands stored in bfloat16 are multiplied in bfloat16 only")
	}
	for _, v := range []struct {
		name       string
		v          *View
		rows, cols int
	}{{"Q", &t.Q, t.M, t.D}, {"K", &t.K, t.N, t.D}, {"V", &t.V, t.N, t.DV}, {"O", &t.O, t.M, t.DV}} {
		rows, cols := v.rows, v.cols
		if v.v.Trans {
			if v.v != &t.K {
				return fmt.Errorf("attn: %s can't be transposed", v.name)
			}
			rows, cols = cols, rows
		}
		elements := len(v.v.Data)
		if t.Halves && v.v != &t.O {
			elements = len(v.v.Data16)
		}
		if err := b.CheckMatrix(elements, rows, cols, v.v.Stride, v.v.Steps); err != nil {
			return fmt.Errorf("attn: %s: %w", v.name, err)
		}
	}
	if t.Keys.Lens != nil && (len(t.Batch) == 0 || len(t.Keys.Lens) != t.Batch[0]) {
		return fmt.Errorf("attn: %d lengths for the batch %v", len(t.Keys.Lens), t.Batch)
	}
	return t.checkMask()
}

func (t *Problem) checkMask() error {
	m := &t.Mask
	if m.Data == nil {
		return nil
	}
	if m.Row < 0 || m.Col < 0 || m.Col > 1 {
		return fmt.Errorf("attn: mask with strides %d and %d", m.Row, m.Col)
	}
	last, err := tiling.Batch(t.Batch).Last(m.Steps)
	if err != nil {
		return fmt.Errorf("attn: mask: %w", err)
	}
	if need := last + max(t.M-1, 0)*m.Row + max(t.N-1, 0)*m.Col + 1; t.items()*t.M*t.N > 0 && len(m.Data) < need {
		return fmt.Errorf("attn: mask has %d elements, needs %d", len(m.Data), need)
	}
	return nil
}

// matrix is an operand from an element on, as package gemm sees it.
func (t *Problem) matrix(v *View, from int) gemm.Matrix {
	if t.Halves {
		return gemm.Matrix{Stride: v.Stride}
	}
	return gemm.Matrix{Data: v.Data[from:], Stride: v.Stride}
}
