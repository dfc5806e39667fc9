package llm

import (
	"context"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/llm/kv"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/tensor"
)

// runner computes steps: it holds the session, the caches, and the inputs of a
// step, which are written anew for each.
type runner struct {
	session *exec.Session
	vocab   int
	memory  []*mmap.Buffer
	caches  []*tensor.Tensor

	tokens, positions, slots, rows []int32
	sequences, tables              []int32
	generated, generatedRows       []int32
	width                          int // blocks of a table
	inputs                         []*tensor.Tensor
	outputs                        []*tensor.Tensor
	logits                         []float32
	pages                          pages
}

// newRunner allocates caches as the graph declares them, and inputs for as many
// sequences of as many blocks.
func newRunner(s *exec.Session, vocab, sequences, blocks int) (*runner, error) {
	r := &runner{session: s, vocab: vocab, width: blocks, sequences: make([]int32, 2*sequences), tables: make([]int32, sequences*blocks), outputs: make([]*tensor.Tensor, 1)}
	g := s.Graph()
	r.inputs = make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs[len(g.Inputs)-r.cacheCount():] {
		dims, ok := v.Type.Shape.Ints()
		if !ok {
			return nil, fmt.Errorf("cache %q has shape %v", v.Name, v.Type.Shape)
		}
		m := mmap.Alloc(v.Type.DType.Bytes(tensor.Count(dims)))
		r.memory = append(r.memory, m)
		r.pages.add(m.Bytes(), dims[0])
		t := &tensor.Tensor{DType: v.Type.DType, Shape: dims, Data: m.Bytes()}
		r.caches = append(r.caches, t)
		r.inputs[stepInputs+i] = t
	}
	r.inputs[inSequences] = tensor.FromSlice(r.sequences, sequences, 2)
	r.inputs[inTables] = tensor.FromSlice(r.tables, sequences, blocks)
	r.generated, r.generatedRows = make([]int32, 1), make([]int32, 1)
	r.inputs[inGenerated], r.inputs[inGeneratedRows] = vector(r.generated), vector(r.generatedRows)
	return r, nil
}

// The inputs of a graph in order; caches follow.
const (
	inTokens = iota
	inPositions
	inSlots
	inSequences
	inTables
	inRows
	inGenerated
	inGeneratedRows
	stepInputs
)

func (r *runner) cacheCount() int { return len(r.session.Graph().Inputs) - stepInputs }

// run computes a step and gives the logits that it asks for, in order: for each
// part those of its last token if all its tokens are computed then, or of every
// token with probabilities of the prompt. They are valid until the next step.
func (r *runner) run(ctx context.Context, step []work) ([][]float32, error) {
	rows := r.prepare(step)
	r.pages.use(slices.Max(r.slots))
	if err := r.session.RunInto(ctx, r.inputs, r.outputs); err != nil {
		return nil, err
	}
	all := make([][]float32, rows)
	for i := range all {
		all[i] = r.logits[i*r.vocab : (i+1)*r.vocab]
	}
	return all, nil
}

// plan makes the plan of a step that is not to be computed.
func (r *runner) plan(step []work) error {
	r.prepare(step)
	_, err := r.session.PlanFor(r.inputs)
	return err
}

// prepare sets inputs and outputs, and gives how many logits the step asks for.
func (r *runner) prepare(step []work) int {
	r.write(step)
	rows := len(r.rows)
	tokens, logits := planned(len(r.tokens), rows)
	// What fills up has the role of what is there: weights are not read again for it alone.
	if int(r.generated[0]) == len(r.tokens) {
		r.generated[0] = int32(tokens)
	}
	if int(r.generatedRows[0]) == rows {
		r.generatedRows[0] = int32(logits)
	}
	for len(r.tokens) < tokens {
		r.tokens, r.positions, r.slots = append(r.tokens, 0), append(r.positions, 0), append(r.slots, -1)
	}
	for len(r.rows) < logits {
		r.rows = append(r.rows, 0)
	}
	r.inputs[inTokens], r.inputs[inPositions] = vector(r.tokens), vector(r.positions)
	r.inputs[inSlots], r.inputs[inRows] = vector(r.slots), vector(r.rows)
	if n := len(r.rows) * r.vocab; cap(r.logits) < n {
		r.logits = make([]float32, n)
	}
	r.outputs[0] = tensor.FromSlice(r.logits[:len(r.rows)*r.vocab], len(r.rows), r.vocab)
	return rows
}

func vector(v []int32) *tensor.Tensor { return tensor.FromSlice(v, len(v)) }

const (
	exact   = 32 // rows are computed as they are, up to so many
	padding = 16 // what large numbers of rows are rounded up to
)

// planned is for how many tokens and logits the step is computed that has so many. A
// plan is made for each pair, which takes milliseconds. So numbers are rounded up, but
// not those of a step that only generates: each of its tokens has its logits.
func planned(tokens, logits int) (t, l int) {
	t = padded(tokens)
	switch {
	case logits == tokens:
		return t, t
	case logits <= 1:
		return t, logits
	}
	return t, min((logits+7)&^7, t)
}

// padded is the number of rows that are computed for n: large ones are rounded up.
func padded(n int) int {
	switch {
	case n <= exact:
		return n
	case n <= 128:
		return (n + 7) &^ 7
	}
	return (n + padding - 1) &^ (padding - 1)
}

// write fills in the inputs. What was generated comes first in a step.
func (r *runner) write(step []work) {
	r.tokens, r.positions, r.slots, r.rows = r.tokens[:0], r.positions[:0], r.slots[:0], r.rows[:0]
	r.generated[0], r.generatedRows[0] = 0, 0
	clear(r.sequences)
	for i, w := range step {
		if w.role() == 0 {
			r.generated[0] += int32(w.n)
		}
		r.sequences[2*i], r.sequences[2*i+1] = int32(len(r.tokens)), int32(w.n)
		copy(r.tables[i*r.width:(i+1)*r.width], w.blocks)
		for p := w.from; p < w.from+w.n; p++ {
			r.tokens = append(r.tokens, w.tokens[p])
			r.positions = append(r.positions, int32(p))
			r.slots = append(r.slots, w.blocks[p/kv.BlockTokens]*kv.BlockTokens+int32(p%kv.BlockTokens))
			if w.wants(p) {
				r.rows = append(r.rows, int32(len(r.tokens)-1))
			}
		}
		if w.role() == 0 {
			r.generatedRows[0] = int32(len(r.rows))
		}
	}
}

// copyBlock copies a block of all caches.
func (r *runner) copyBlock(c blockCopy) {
	for _, t := range r.caches {
		n := len(t.Data) / t.Shape[0]
		copy(t.Data[int(c.to)*n:(int(c.to)+1)*n], t.Data[int(c.from)*n:])
	}
}

// bytesOfBlock is what one block of all layers takes.
func bytesOfBlock(layers, heads, dim int, dt dtype.Type) int {
	return 2 * layers * dt.Bytes(heads*dim*kv.BlockTokens)
}

func (r *runner) close() {
	r.session.Close()
	for _, m := range r.memory {
		m.Free()
	}
}
