package exec

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/plan"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// Plan is a graph prepared for inputs of certain shapes.
type Plan struct {
	session  *Session
	key      planKey
	slots    []slot
	steps    []*step
	views    []*step // that only give names to others' memory: nothing is to be done for them
	outputs  []output
	arenas   []arena  // by space
	bound    []int    // slots that point at the caller's memory
	computed []int    // slots whose tensors are made in each run
	last     [][]int  // by step, those of them that no later step reads
	stretch  *stretch // nil if all steps compute the whole batch

	derived int // bytes of derived constants that were held when the plan was made

	pool *pool.Pool // nil where the caller's thread is enough

	users int  // runs that have the plan; the session's lock guards these two
	stays bool // the plan doesn't move on

	mu        sync.Mutex
	idle      []*frame
	maxFrames int
	bequest   *mmap.Buffer // for the first frame's arena, if it is large enough
}

// arena is where intermediate values of one space lie.
type arena struct {
	buffers []plan.Buffer
	layout  plan.Layout
}

// arenaBytes is the size of all arenas of one frame.
func (p *Plan) arenaBytes() (n int) {
	for i := range p.arenas {
		n += p.arenas[i].layout.Total
	}
	return n
}

// planKey is the inputs' types and shapes that a plan is for.
type planKey []inputKey

type inputKey struct {
	dtype dtype.Type
	shape []int
}

// output says where a graph output is found after a run.
type output struct {
	slot   int
	copied bool // the value's memory belongs to something else
}

// maxIdleFrames bounds the arenas that a plan keeps between runs.
const maxIdleFrames = 4

func keyOf(inputs []*tensor.Tensor) planKey {
	key := make(planKey, len(inputs))
	dims := 0
	for _, t := range inputs {
		dims += len(t.Shape)
	}
	all := make([]int, 0, dims)
	for i, t := range inputs {
		from := len(all)
		all = append(all, t.Shape...)
		key[i] = inputKey{t.DType, all[from:len(all):len(all)]}
	}
	return key
}

func (key planKey) fits(inputs []*tensor.Tensor) bool {
	if len(inputs) != len(key) {
		return false
	}
	for i, t := range inputs {
		k := &key[i]
		if t == nil || t.DType != k.dtype || !slices.Equal(t.Shape, k.shape) || len(t.Data) != dataBytes(t) {
			return false
		}
	}
	return true
}

func dataBytes(t *tensor.Tensor) int {
	if t.DType == dtype.String {
		return len(t.Data)
	}
	return t.DType.Bytes(t.Len())
}

// acquire gives a frame for one run: an idle one, or a new one.
func (p *Plan) acquire() (*frame, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		f := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return f, nil
	}
	p.mu.Unlock()
	return p.newFrame()
}

func (p *Plan) release(f *frame) {
	if !f.broken {
		f.reset()
	}
	p.mu.Lock()
	retired := p.maxFrames == 0
	keep := !f.broken && len(p.idle) < p.maxFrames
	if keep {
		p.idle = append(p.idle, f)
	}
	p.mu.Unlock()
	if !keep {
		f.close()
	}
	if retired { // bodies may have made plans since
		p.close()
	}
}

// takeKernel gives the kernel of a step to a frame: kernels hold the state of
// one run, so that each frame needs its own.
func (p *Plan) takeKernel(st *step) (op.Kernel, error) {
	if st.copy {
		return st.kernel, nil
	}
	if st.prep == nil {
		return nil, nil
	}
	p.mu.Lock()
	k := st.kernel
	st.kernel = nil
	p.mu.Unlock()
	if k != nil {
		return k, nil
	}
	return p.session.weights.compile(p.session.providers[st.provider], st.prep)
}

// ownBytes estimates what the plan itself and one frame of it take: slots, steps, tensors
// and calls, and what kernels have packed for it alone, but no arenas.
func (p *Plan) ownBytes() int {
	const perStep = 1 << 10 // with the facts of inputs and outputs, kernel and call
	const perTensor = 64
	return len(p.slots)*(int(unsafe.Sizeof(slot{}))+perTensor) + len(p.steps)*perStep + p.packed()
}

// packed is the bytes of weights that follow from the plan's sizes, packed for it alone.
func (p *Plan) packed() (n int) {
	for _, st := range p.steps {
		n += st.packed
	}
	return n
}

// idleBytes is the memory of the arenas, and of results sized by data, kept for later runs.
func (p *Plan) idleBytes() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bequest != nil {
		n = len(p.bequest.Bytes())
	}
	for _, f := range p.idle {
		n += f.bytes()
	}
	return n
}

// dropIdle frees the arenas kept for later runs.
func (p *Plan) dropIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.idle {
		f.close()
	}
	p.idle = nil
	p.bequest.Free()
	p.bequest = nil
}

// retire lets the frames go: idle ones now, running ones at their release.
func (p *Plan) retire() {
	p.mu.Lock()
	p.maxFrames = 0
	p.mu.Unlock()
	p.close()
}

func (p *Plan) close() {
	p.dropIdle()
	for _, st := range p.steps {
		for _, sub := range st.subs {
			sub.session.closePlans()
		}
	}
}

// Memory is what a plan needs, in bytes.
type Memory struct {
	Weights    int // constants that steps read, as the file holds them
	Derived    int // constants computed from others that are held while weights are packed, and dropped then
	Packed     int // weights in the kernels' layouts
	Pages      int // of the file that are read while weights are packed
	Arena      int // intermediate values of one run
	ArenaBound int // the least arena that any placement could reach
	Inputs     int
	Outputs    int
}

// Memory adds up what the plan needs.
func (p *Plan) Memory() Memory {
	m := Memory{Packed: p.session.weights.bytes() + p.packed(), Arena: p.arenaBytes(), Derived: p.derived}
	for i := range p.arenas {
		m.ArenaBound += p.arenas[i].layout.Bound
	}
	read := p.readByRuns()
	constants := 0
	for i := range p.slots {
		s := &p.slots[i]
		switch {
		case s.kind == slotConst && s.tensor != nil && s.space == 0:
			if p.session.weights.isDropped(s.tensor) {
				break
			}
			constants += s.size
			m.Weights += read[i]
		case s.kind == slotInput:
			m.Inputs += s.size
		case s.kind == slotOutput:
			m.Outputs += s.size
		}
	}
	m.Pages = min(constants, p.session.weights.step)
	return m
}

// readByRuns gives for each constant how many of its bytes a run reads: none of what
// kernels have packed, and of a table those rows that are gathered.
func (p *Plan) readByRuns() []int {
	read, packed := make([]int, len(p.slots)), make([]bool, len(p.slots))
	for _, st := range p.steps {
		for i, id := range st.in {
			switch {
			case id < 0:
			case st.prep != nil && st.prep.IsOnlyPacked(i):
				packed[id] = true
			case i == 0 && st.node.Is("Gather") && st.node.Int("axis") == 0:
				read[id] = max(read[id], p.gathered(st))
			default:
				read[id] = p.slots[id].size
			}
		}
	}
	for i := range read {
		if read[i] == 0 && !packed[i] { // an output, or read by a subgraph
			read[i] = p.slots[i].size
		}
	}
	return read
}

// aroundFault is how many bytes of a file the system maps where one is read.
const aroundFault = 64 << 10

// gathered is how many bytes of its table a Gather reads, with the pages around its rows.
func (p *Plan) gathered(st *step) int {
	table, out := &p.slots[st.in[0]], &p.slots[st.out[0]]
	if out.shape == nil || len(table.shape) == 0 || table.shape[0] == 0 {
		return table.size
	}
	row := table.size / table.shape[0]
	if row == 0 {
		return table.size
	}
	return min(table.size, out.size/row*(row+aroundFault))
}

// Total is what stays, and what a run needs.
func (m Memory) Total() int { return m.Weights + m.Packed + m.Arena + m.Inputs + m.Outputs }

// Peak is the most that is held at once: while weights are packed, or in a run.
func (m Memory) Peak() int { return max(m.Derived+m.Pages+m.Packed+m.Inputs, m.Total()) }

// fitsIn refuses a plan that needs more memory than allowed; 0 allows any.
func (p *Plan) fitsIn(limit int) error {
	if limit == 0 {
		return nil
	}
	if m, other := p.Memory(), p.session.overhead; m.Peak()+other > limit {
		return memoryError{alone: true, error: fmt.Errorf("the model needs %s with these inputs (weights %s, packed weights %s, folded weights until they are packed %s, intermediate values %s, inputs and outputs %s, the process itself %s), the limit is %s",
			bytesText(m.Peak()+other), bytesText(m.Weights), bytesText(m.Packed), bytesText(m.Derived), bytesText(m.Arena), bytesText(m.Inputs+m.Outputs), bytesText(other), bytesText(limit))}
	}
	return nil
}

// fitsBesideOthers refuses to take need bytes more where that, with all that the
// process holds outside the Go heap, other sessions' included, is more than
// allowed. The session's own idle arenas go first.
func (s *Session) fitsBesideOthers(need int) error {
	lacking := func() bool { return s.maxMemory > 0 && int(mmap.InUse())+s.overhead+need > s.maxMemory }
	if !lacking() {
		return nil
	}
	if s.dropIdle(); !lacking() {
		return nil
	}
	return memoryError{error: fmt.Errorf("a run with these inputs needs %s beside the %s that all models hold now, the limit is %s", bytesText(need), bytesText(int(mmap.InUse())+s.overhead), bytesText(s.maxMemory))}
}

// bytesText is a number of bytes in the largest unit of which there is one.
func bytesText(n int) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

// memoryError is a plan that does not fit into the memory allowed.
type memoryError struct {
	error
	alone bool // also if nothing else is held
}

// NeverFits reports whether a memory error would be the same on another try.
func NeverFits(err error) bool {
	var plan memoryError
	var result *op.TooLargeError
	return errors.As(err, &plan) && plan.alone || errors.As(err, &result)
}

// IsMemoryError reports whether a run was refused because it needs more memory
// than Options.MaxMemory, or made a result whose size depends on data too large.
func IsMemoryError(err error) bool {
	var plan memoryError
	var result *op.TooLargeError
	return errors.As(err, &plan) || errors.As(err, &result)
}

// maxDynamic bounds, in bytes, one result whose size depends on data, so that
// one request cannot take the machine's memory.
const maxDynamic = 1 << 30

// maxHeld bounds, in bytes, all such results that a run holds at once; 0 is no bound.
func (s *Session) maxHeld() int {
	if s.maxMemory > 0 {
		return s.maxMemory
	}
	return halfMemory()
}

// halfMemory is half of what the process may use.
var halfMemory = sync.OnceValue(func() int {
	total, _ := cpu.Memory()
	return int(total / 2)
})

// maxOutput is the bound for the session: maxDynamic, or less where a run may
// need less in all.
func (s *Session) maxOutput() int {
	if s.maxMemory > 0 {
		return min(s.maxMemory, maxDynamic)
	}
	return maxDynamic
}

// Step describes one step of a plan for reports.
type Step struct {
	Node      *ir.Node
	Provider  string
	Fast      bool // runs on a kernel of the provider, not on the reference
	Dynamic   bool // its shapes are known only when it runs
	Copy      bool // copies a tensor to another provider's memory; Node stands for it
	Joined    bool // does nothing: its inputs were computed in their places
	Precision op.Precision
	Flops     float64
	Bytes     int // read and written, each value once
	In, Out   []ir.Type
}

// Steps describes the plan's steps in order.
func (p *Plan) Steps() []Step {
	steps := make([]Step, len(p.steps))
	for i, st := range p.steps {
		s := Step{Node: st.node, Provider: p.session.providers[st.provider].Name(), Fast: st.prep != nil || st.joined || st.copy, Dynamic: st.dynamic, Copy: st.copy, Joined: st.joined, Precision: st.precision}
		in, out := p.facts(st.in), p.facts(st.out)
		s.Flops, s.Bytes = p.flops(st), p.bytes(st)
		for _, f := range in {
			s.In = append(s.In, f.Type)
		}
		for _, f := range out {
			s.Out = append(s.Out, f.Type)
		}
		steps[i] = s
	}
	return steps
}

// Lives gives the size, offset and first and last step of each buffer in the
// host's arena.
func (p *Plan) Lives() ([]plan.Buffer, plan.Layout) { return p.arenas[0].buffers, p.arenas[0].layout }

// Copies counts the copies between providers that one run makes, and their bytes.
func (p *Plan) Copies() (n, bytes int) {
	for _, st := range p.steps {
		if st.copy {
			n++
			bytes += p.slots[st.out[0]].size
		}
	}
	return n, bytes
}

// flops is how many floating-point operations a step takes, 0 if that isn't known.
func (p *Plan) flops(st *step) float64 {
	if st.copy || st.dynamic || st.op.Flops == nil {
		return 0
	}
	return st.op.Flops(p.facts(st.in), p.facts(st.out))
}

// bytes is how many a step reads and writes.
func (p *Plan) bytes(st *step) (n int) {
	if st.joined {
		return 0
	}
	for _, ids := range [...][]int{st.in, st.out} {
		for _, id := range ids {
			if id >= 0 {
				n += p.slots[id].size
			}
		}
	}
	return n
}

// setWork notes the work of a step, by which poolFor decides.
func (p *Plan) setWork(st *step) { st.work = max(p.flops(st), float64(p.bytes(st))) }

// poolFor is the pool that a plan runs on: none if all its work is small.
func (s *Session) poolFor(p *Plan) *pool.Pool {
	if s.alone == 0 || s.pool == nil {
		return s.pool
	}
	work := 0.0
	for _, st := range p.steps {
		if st.dynamic || len(st.subs) > 0 {
			return s.pool
		}
		work += st.work
	}
	if work > s.alone {
		return s.pool
	}
	return nil
}
