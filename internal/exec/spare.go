package exec

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// spares is memory for results whose sizes data decides: a frame keeps what nothing reads
// any more, for later steps and the next runs, which then need no pages from the system
// and no work of the collector. What leaves a run is never among it: outputs, and what
// sequences hold, belong to others.
type spares struct {
	free  []spare
	lent  map[*byte][]byte // by their first bytes, those that the run in progress has
	bytes int              // of the free ones
}

// spare is a buffer that nobody uses.
type spare struct {
	data   []byte
	unused int // runs that have not wanted it
}

const (
	leastSpare = 1 << 10  // bytes of a result that is worth keeping
	mostSpare  = 64 << 20 // bytes that a frame keeps between runs
	sparePause = 4        // runs after which what they did not want goes
)

// take gives n bytes, whose contents are arbitrary.
func (s *spares) take(n int) []byte {
	best := -1
	for i := range s.free {
		if size := len(s.free[i].data); size >= n && size <= n+n/2 && (best < 0 || size < len(s.free[best].data)) {
			best = i
		}
	}
	var b []byte
	if best >= 0 {
		b = s.free[best].data
		s.bytes -= len(b)
		s.free = slices.Delete(s.free, best, best+1)
	} else {
		b = tensor.Bytes(n + n/8) // sizes that data decides differ a little from run to run
	}
	if s.lent == nil {
		s.lent = map[*byte][]byte{}
	}
	s.lent[&b[0]] = b
	return b[:n:n]
}

// giveBack keeps memory that nothing reads any more, if it was taken.
func (s *spares) giveBack(data []byte) {
	if b := s.lent[&data[0]]; b != nil {
		delete(s.lent, &b[0])
		s.free = append(s.free, spare{data: b})
		s.bytes += len(b)
	}
}

// rest lets go, between runs, of what several did not want and of too much.
func (s *spares) rest() {
	clear(s.lent)
	kept := s.free[:0]
	s.bytes = 0
	for _, b := range s.free {
		if b.unused++; b.unused <= sparePause && s.bytes+len(b.data) <= mostSpare {
			kept = append(kept, b)
			s.bytes += len(b.data)
		}
	}
	clear(s.free[len(kept):])
	s.free = kept
}

// drop lets go of all that is free.
func (s *spares) drop() {
	clear(s.free)
	s.free, s.bytes = s.free[:0], 0
}

// given finds the tensor that the caller gives for an output which lies in a slot of its
// own, if the result has its type and shape.
func (f *frame) given(id int, dt dtype.Type, shape []int) *tensor.Tensor {
	if id < 0 || dt == dtype.String {
		return nil
	}
	for i, o := range f.plan.outputs {
		if o.slot != id || o.copied || f.outputs[i] == nil {
			continue
		}
		if t := f.outputs[i]; t.DType == dt && slices.Equal(t.Shape, shape) && len(t.Data) == dataBytes(t) {
			return t
		}
	}
	return nil
}

// lender gives the function from which a step's results whose sizes data decides have
// their memory.
func (f *frame) lender(st *step) func(int, dtype.Type, []int) *tensor.Tensor {
	if !slices.ContainsFunc(st.out, func(id int) bool { return id >= 0 && f.plan.slots[id].kind == slotDynamic }) {
		return nil
	}
	return func(i int, dt dtype.Type, shape []int) *tensor.Tensor {
		if i >= len(st.out) || st.out[i] < 0 || f.plan.slots[st.out[i]].kind != slotDynamic {
			return nil
		}
		id := st.out[i]
		if f.plan.slots[id].value.IsOutput() {
			t := f.given(id, dt, shape)
			if t == nil || slices.Contains(f.lentOut, t) { // asked twice: what came first may still be read
				return nil
			}
			f.lentOut = append(f.lentOut, t)
			return t
		}
		if n := dt.Bytes(tensor.Count(shape)); n >= leastSpare {
			return &tensor.Tensor{DType: dt, Shape: shape, Data: f.spares.take(n)}
		}
		return nil
	}
}

// escape takes the memory of what a step reads out of the round for good: a sequence that
// it makes may hold it, and give it as another step's result.
func (f *frame) escape(st *step) {
	keep := func(id int) {
		if id >= 0 && f.tensors[id] != nil && len(f.tensors[id].Data) > 0 {
			delete(f.spares.lent, &f.tensors[id].Data[0])
		}
	}
	for _, id := range st.in {
		keep(id)
	}
	for _, sub := range st.subs {
		for _, id := range sub.captures {
			keep(id)
		}
	}
}
