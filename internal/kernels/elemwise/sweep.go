package elemwise

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// An Operand is a row of an input of a RowFunc: float32 or bool, one element for
// each of the result, or with Step 0 one for all. An absent input has neither.
type Operand struct {
	Float []float32
	Bool  []bool
	Step  int
}

// A RowFunc computes a row of float32 elements; dst may be any of the inputs.
type RowFunc func(dst []float32, in []Operand)

// An Instruction computes a register from inputs and registers that come before it.
type Instruction struct {
	Row  RowFunc
	Args []int // numbers of inputs, then of instructions; -1: absent
}

// Sweep runs a chain of functions of single elements over its inputs at once, a block
// of elements at a time, so that what lies between them stays in the nearest cache. An
// element has the bits of the functions one by one.
type Sweep struct {
	*Broadcast
	code      []Instruction
	registers []int // of each instruction, in the workspace; the last writes to the result
	isBool    []bool
	perSlot   int
	parts     int
	short     bool           // rows are
	spreadTo  [maxInputs]int // where in the workspace an input is spread out; -1: nowhere

	slots  tiling.Slots
	spaces []sweepSpace
	dst    []float32
	in     [maxInputs][]byte
	memory []float32
}

// sweepBlock is the number of elements of a register: fewer cost more calls (512: a half more time), more leave the first caches.
const sweepBlock = 4096

// maxArgs bounds the inputs of an instruction.
const maxArgs = 4

// sweepSpace is what a chunk needs while it is computed.
type sweepSpace struct {
	args [maxArgs]Operand
	_    [64]byte // no false sharing with the next
}

// NewSweep prepares a chain for inputs of given types, float32 or bool, and shapes.
// The last instruction's register is the result, of the inputs' common shape.
func NewSweep(code []Instruction, types []dtype.Type, shapes [][]int) (*Sweep, error) {
	b, err := NewBroadcast(shapes...)
	if err != nil {
		return nil, err
	}
	s := &Sweep{Broadcast: b, code: code, parts: split.Parts(b.n, grain/max(1, min(8, len(code))))}
	for i, t := range types {
		if t != dtype.Float32 && t != dtype.Bool {
			return nil, fmt.Errorf("sweep: input %d is %s, expected float32 or bool", i, t)
		}
		s.isBool = append(s.isBool, t == dtype.Bool)
	}
	if len(code) == 0 {
		return nil, fmt.Errorf("sweep: no instructions")
	}
	for i, c := range code {
		if len(c.Args) > maxArgs {
			return nil, fmt.Errorf("sweep: instruction %d has %d inputs, at most %d are supported", i, len(c.Args), maxArgs)
		}
		for _, a := range c.Args {
			if a < -1 || a >= len(types)+i {
				return nil, fmt.Errorf("sweep: instruction %d reads %d, of which nothing is known there", i, a)
			}
		}
	}
	s.allocate()
	return s, nil
}

// allocate gives each instruction a register that nothing needs any more.
func (s *Sweep) allocate() {
	inputs := len(s.isBool)
	last := make([]int, len(s.code)) // the last reader of each
	for i, c := range s.code {
		for _, a := range c.Args {
			if a >= inputs {
				last[a-inputs] = i
			}
		}
	}
	var holds []int // the instruction whose result each register holds
	s.registers = make([]int, len(s.code))
	for i := range s.code {
		r := 0
		for r < len(holds) && last[holds[r]] > i {
			r++
		}
		if r == len(holds) {
			holds = append(holds, i)
		}
		holds[r], s.registers[i] = i, r
	}
	s.perSlot = len(holds) * sweepBlock
	for k := range s.spreadTo {
		s.spreadTo[k] = -1
	}
	s.spread()
}

// ScratchSize is how many elements of memory a Run on so many threads needs.
func (s *Sweep) ScratchSize(threads int) int { return s.perSlot * s.concurrent(threads) }

func (s *Sweep) concurrent(threads int) int {
	return max(1, min(threads, s.parts, tiling.MaxSlots))
}

// Run computes the chain. The lengths must be those of the shapes, in bytes; scratch has
// ScratchSize elements. dst may be an input of its size.
func (s *Sweep) Run(p *pool.Pool, dst []float32, in [][]byte, scratch []float32) {
	if s.n == 0 {
		return
	}
	slots := s.concurrent(p.Threads())
	if len(s.spaces) < slots {
		s.spaces = make([]sweepSpace, slots)
	}
	s.slots.Reset(slots)
	s.dst, s.memory = dst[:s.n], scratch[:slots*s.perSlot]
	for i, isBool := range s.isBool {
		size := 4
		if isBool {
			size = 1
		}
		s.in[i] = in[i][:s.need[i]*size]
	}
	p.RunFromEnds(s.parts, s)
	s.dst, s.memory, s.in = nil, nil, [maxInputs][]byte{}
}

// Do computes one chunk; it is called by the pool.
func (s *Sweep) Do(i int) {
	slot := s.slots.Take()
	w, memory := &s.spaces[slot], s.memory[slot*s.perSlot:][:s.perSlot]
	width, steps := s.row()
	lo, hi := split.Aligned(s.n, 64, s.parts, i)
	if s.short {
		s.doShort(w, memory, lo, hi)
		lo = hi
	}
	for c := s.seek(lo); lo < hi; {
		n := min(width-c.in, hi-lo, sweepBlock)
		s.block(w, memory, s.dst[lo:lo+n], &c, &steps)
		lo += n
		if c.in += n; c.in == width {
			s.next(&c)
		}
	}
	*w = sweepSpace{}
	s.slots.Give(slot)
}

// block runs all instructions for a few elements.
func (s *Sweep) block(w *sweepSpace, memory, dst []float32, c *cursor, steps *[maxInputs]int) {
	n, inputs := len(dst), len(s.isBool)
	for i := range s.code {
		args := w.args[:len(s.code[i].Args)]
		for j, a := range s.code[i].Args {
			switch {
			case a < 0:
				args[j] = Operand{}
			case a < inputs && s.spreadTo[a] >= 0:
				args[j] = s.spreadOperand(a, memory, n)
			case a < inputs:
				args[j] = s.operand(a, c.off[a]+c.in*steps[a], n, steps[a])
			default:
				args[j] = Operand{Float: memory[s.registers[a-inputs]*sweepBlock:][:n], Step: 1}
			}
		}
		out := dst
		if i < len(s.code)-1 {
			out = memory[s.registers[i]*sweepBlock:][:n]
		}
		s.code[i].Row(out, args)
	}
}

// operand is n elements of an input from an element on.
func (s *Sweep) operand(i, at, n, step int) Operand {
	have := 1 + (n-1)*step
	if s.isBool[i] {
		return Operand{Bool: unsafe.Slice((*bool)(unsafe.Pointer(&s.in[i][at])), have), Step: step}
	}
	return Operand{Float: unsafe.Slice((*float32)(unsafe.Pointer(&s.in[i][4*at])), have), Step: step}
}

// UnaryRow is op as a RowFunc at the current instruction-set level.
func UnaryRow(op Op, p Params) RowFunc {
	f := Float32(op)
	return func(dst []float32, in []Operand) {
		if x := in[0]; x.Step == 1 {
			f(dst, x.Float, p)
		} else {
			f(dst[:1], x.Float, p)
			repeat(dst, dst[0])
		}
	}
}

// BinaryRow is op as a RowFunc at the current level; nil where float32 has no such
// function that gives float32.
func BinaryRow(op Binary) RowFunc {
	f := Row(op)
	if op.Compares() || f == nil {
		return nil
	}
	return func(dst []float32, in []Operand) { f(dst, in[0].Float, in[1].Float, in[0].Step, in[1].Step) }
}

// ClipRow is Clip with bounds that are inputs of one element each, or absent.
func ClipRow() RowFunc {
	f := Float32(Clip)
	return func(dst []float32, in []Operand) {
		p := Params{A: float32(math.Inf(-1)), B: float32(math.Inf(1))}
		if len(in) > 1 && in[1].Float != nil {
			p.A = in[1].Float[0]
		}
		if len(in) > 2 && in[2].Float != nil {
			p.B = in[2].Float[0]
		}
		if x := in[0]; x.Step == 1 {
			f(dst, x.Float, p)
		} else {
			f(dst[:1], x.Float, p)
			repeat(dst, dst[0])
		}
	}
}

// SelectRow is Where: elements of input 1 where input 0 is true, else of input 2.
func SelectRow(dst []float32, in []Operand) {
	cond, x, y := in[0], in[1], in[2]
	if cond.Step == 0 {
		if !cond.Bool[0] {
			x = y
		}
		spreadRow(dst, x.Float, x.Step)
		return
	}
	choose(bitsOf(dst), unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(cond.Bool))), len(dst)), bitsOf(x.Float), bitsOf(y.Float), x.Step, y.Step)
}

// bitsOf is what a row's numbers are stored as.
func bitsOf(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// CastRow is Cast to float32 of float32 or bool.
func CastRow(dst []float32, in []Operand) {
	x := in[0]
	switch {
	case x.Step == 0 && x.Bool == nil:
		repeat(dst, x.Float[0])
	case x.Bool == nil:
		copy(dst, x.Float)
	case x.Step == 0:
		fromTruths(dst[:1], x.Bool)
		repeat(dst, dst[0])
	default:
		fromTruths(dst, x.Bool)
	}
}

func fromTruths(dst []float32, src []bool) {
	current().casts[castPair{dtype.Bool, dtype.Float32}](unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src)), len(dst), nil)
}

func repeat(dst []float32, x float32) {
	for i := range dst {
		dst[i] = x
	}
}
