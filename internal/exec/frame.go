package exec

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// frame is the state of one run of a plan: an arena, a tensor for each slot,
// and a prepared call for each step.
type frame struct {
	plan    *Plan
	ctx     context.Context // of the run in progress
	arenas  [][]byte        // by space
	host    *mmap.Buffer
	tensors []*tensor.Tensor // by slot; nil while a dynamic value is not computed
	own     []*tensor.Tensor // the frame's tensor of each planned slot
	calls   []op.Call
	kernels []op.Kernel // by step; nil where the reference runs
	dynamic []dynamicKernels
	scratch []byte    // of dynamic steps, as much as the greediest so far wanted
	held    int       // bytes of the results whose sizes depend on data
	results []*result // that hold them, by slot
	memory  map[*byte]*result
	spares  spares
	outputs []*tensor.Tensor // the caller's, of the run in progress
	lentOut []*tensor.Tensor // those of them that the step in progress has been given
	lanes   *lanes           // of the stretch, if there is one
	at      int              // step in progress, -1 outside
	made    bool             // the step in progress has made the memory of its results, or taken an input's over
	broken  bool             // an operator panicked: what the frame holds is not to be trusted
}

func (p *Plan) newFrame() (f *frame, err error) {
	f = &frame{plan: p, tensors: make([]*tensor.Tensor, len(p.slots)),
		own: make([]*tensor.Tensor, len(p.slots)), calls: make([]op.Call, len(p.steps)), kernels: make([]op.Kernel, len(p.steps)), dynamic: make([]dynamicKernels, len(p.steps)), at: -1}
	defer func() {
		if v := recover(); v != nil {
			name := f.atWork()
			f.close()
			f, err = nil, Panicked(name, v)
		}
	}()
	var more int
	f.host, more = p.inherited()
	need := p.arenaBytes()
	if f.host != nil {
		need -= p.arenas[0].layout.Total
	}
	if err := p.session.fitsBesideOthers(need); err != nil {
		f.close()
		return nil, err
	}
	f.allocate(more)
	for i := range p.slots {
		f.makeTensor(i)
	}
	if p.stretch != nil {
		if f.lanes, err = f.newLanes(); err != nil {
			f.close()
			return nil, err
		}
	}
	for i, st := range p.steps {
		if p.stretch.has(i) {
			continue
		}
		f.at = i
		c := &f.calls[i]
		c.Node, c.MaxOutput = st.node, p.session.maxOutput()
		c.MayAlias = p.mayAlias(st)
		c.Lend = f.lender(st)
		c.In = make([]*tensor.Tensor, len(st.in))
		c.Out = make([]*tensor.Tensor, len(st.out))
		if len(st.subs) > 0 {
			c.Subgraph = f.subgraphRunner(st)
		}
		if err := f.prepare(i); err != nil {
			f.close()
			return nil, err
		}
	}
	return f, nil
}

// prepare gives a step its kernel and what that works with.
func (f *frame) prepare(i int) (err error) {
	st, c := f.plan.steps[i], &f.calls[i]
	if f.kernels[i], err = f.plan.takeKernel(st); err != nil {
		return fmt.Errorf("%s: %w", st.node, err)
	}
	f.setPool(i)
	if st.scratch >= 0 {
		c.Scratch = f.buffer(st.space, st.scratch)[:scratchOf(f.kernels[i])]
	}
	return nil
}

// setPool says on whose threads a step runs.
func (f *frame) setPool(i int) {
	f.calls[i].Pool = f.plan.pool
	if f.plan.steps[i].alone {
		f.calls[i].Pool = nil
	}
}

// makeTensor prepares the tensor of a slot whose memory is fixed or is pointed
// at the caller's for each run.
func (f *frame) makeTensor(i int) {
	s := &f.plan.slots[i]
	switch s.kind {
	case slotConst:
		f.tensors[i] = s.tensor
		return
	case slotDynamic, slotInput, slotLane:
		return
	}
	t := &tensor.Tensor{DType: s.typ.DType, Shape: s.shape}
	if root := &f.plan.slots[s.root]; root.kind == slotArena {
		t.Data = f.buffer(s.space, root.index)[s.offset:][:s.size]
	}
	f.tensors[i], f.own[i] = t, t
}

// allocate makes an arena in each space, the host's larger by so many bytes.
func (f *frame) allocate(more int) {
	f.arenas = make([][]byte, len(f.plan.arenas))
	for space := range f.arenas {
		n := f.plan.arenas[space].layout.Total
		if m := f.plan.session.spaces[space]; m != nil {
			f.arenas[space] = m.Alloc(n)
			continue
		}
		if f.host == nil {
			f.host = mmap.Alloc(n + more)
		}
		f.arenas[space] = f.host.Bytes()[:n:n]
	}
}

func (f *frame) buffer(space, i int) []byte {
	a := &f.plan.arenas[space]
	off, n := a.layout.Offsets[i], a.buffers[i].Size
	return f.arenas[space][off : off+n : off+n]
}

// bytes is what the frame keeps between runs: the host's arena may be larger than the plan asks for.
func (f *frame) bytes() int {
	n := f.spares.bytes + len(f.host.Bytes())
	for space := 1; space < len(f.arenas); space++ {
		n += len(f.arenas[space])
	}
	return n
}

func (f *frame) close() {
	f.host.Free()
	for space, b := range f.arenas {
		if m := f.plan.session.spaces[space]; m != nil {
			m.Free(b)
		}
	}
	f.arenas = nil
}

// reset drops what belongs to the caller.
func (f *frame) reset() {
	f.ctx = nil
	for _, i := range f.plan.bound {
		if f.plan.slots[i].kind == slotInput {
			f.tensors[i] = nil
		} else {
			f.own[i].Data = nil
		}
	}
	for _, i := range f.plan.computed {
		f.tensors[i] = nil
	}
	clear(f.results)
	clear(f.memory)
	f.held = 0
	f.spares.rest()
	f.outputs = nil
	f.lentOut = f.lentOut[:0]
	if f.lanes != nil {
		f.lanes.reset()
	}
	for i := range f.calls {
		c := &f.calls[i]
		c.Context = nil
		clear(c.In)
		clear(c.Out)
	}
}

// run executes the plan. If times is not nil it receives each step's duration.
// An operator that panics fails the run and spoils the frame.
func (f *frame) run(ctx context.Context, inputs, outputs []*tensor.Tensor, times []time.Duration) (err error) {
	f.at = -1
	defer func() {
		if p := recover(); p != nil {
			f.broken = true
			err = Panicked(f.atWork(), p)
		}
	}()
	f.ctx, f.outputs = ctx, outputs
	if err := f.bind(inputs, outputs); err != nil {
		return err
	}
	done := ctx.Done()
	for i := 0; i < len(f.plan.steps); i++ {
		if f.plan.stretch.has(i) {
			if err := f.lanes.run(ctx, times); err != nil {
				return err
			}
			i = f.plan.stretch.end - 1
			continue
		}
		select {
		case <-done:
			return context.Cause(ctx)
		default:
		}
		var start time.Time
		if times != nil {
			start = time.Now()
		}
		f.at = i
		if err := f.step(ctx, i); err != nil {
			return fmt.Errorf("%s: %w", f.plan.steps[i].node, err)
		}
		if times != nil {
			times[i] += time.Since(start)
		}
	}
	f.at = -1
	return f.deliver(outputs)
}

// atWork names the node of the step in progress.
func (f *frame) atWork() string {
	if f.at < 0 {
		return ""
	}
	return f.plan.steps[f.at].node.String()
}

// bind points the slots of inputs, outputs and their views at the caller's memory.
func (f *frame) bind(inputs, outputs []*tensor.Tensor) error {
	p := f.plan
	for _, i := range p.bound {
		s := &p.slots[i]
		switch s.kind {
		case slotInput:
			f.tensors[i] = inputs[s.index]
		case slotOutput:
			out := outputs[s.index]
			want := &p.slots[p.outputs[s.index].slot]
			if out == nil {
				out = tensor.New(want.typ.DType, want.shape...)
				outputs[s.index] = out
			} else if out.DType != want.typ.DType || !slices.Equal(out.Shape, want.shape) || len(out.Data) != want.size {
				return fmt.Errorf("output %q is %s%v, the tensor given for it is %s", p.session.graph.Outputs[s.index].Name, want.typ.DType, want.shape, out)
			}
			f.own[i].Data = out.Data
		case slotView:
			switch root := &p.slots[s.root]; root.kind {
			case slotInput:
				f.own[i].Data = inputs[root.index].Data[s.offset:][:s.size]
			case slotOutput:
				f.own[i].Data = f.own[s.root].Data[s.offset:][:s.size]
			}
		}
	}
	return nil
}

// makeLarge makes the large ones of the outputs that a run writes where they are.
func (p *Plan) makeLarge(outputs []*tensor.Tensor, alloc func(n int) []byte) error {
	for i, o := range p.outputs {
		s := &p.slots[o.slot]
		if outputs[i] != nil || s.kind != slotOutput || o.copied || s.size < LargeOutput {
			continue
		}
		if err := p.session.fitsBesideOthers(s.size); err != nil {
			return err
		}
		outputs[i] = &tensor.Tensor{DType: s.typ.DType, Shape: slices.Clone(s.shape), Data: alloc(s.size)[:s.size:s.size]}
	}
	return nil
}

func (f *frame) step(ctx context.Context, i int) error {
	st, c := f.plan.steps[i], &f.calls[i]
	c.Context = ctx
	for j, id := range st.in {
		if id >= 0 {
			c.In[j] = f.tensors[id]
		}
	}
	c.Out = c.Out[:len(st.out)]
	for j, id := range st.out {
		c.Out[j] = nil
		if id >= 0 {
			c.Out[j] = f.own[id]
		}
	}
	f.made = false
	f.lentOut = f.lentOut[:0]
	if err := f.compute(i); err != nil {
		return err
	}
	if slices.ContainsFunc(c.Out, func(t *tensor.Tensor) bool { return t != nil && len(t.Items) > 0 }) {
		f.escape(st)
	}
	for j, id := range st.out {
		if id < 0 {
			continue
		}
		if err := f.store(id, c.Out[j], c.In); err != nil {
			return fmt.Errorf("output %d: %w", j, err)
		}
	}
	if st.dynamic {
		clear(c.In)
		clear(c.Out)
	}
	f.drop(f.plan.last[i])
	return nil
}

// mayAlias reports whether the result of a step that only renames bytes may be its input's
// memory: each run makes that anew, and no step writes into it once it is made. Outputs
// are the caller's, who may write into them.
func (p *Plan) mayAlias(st *step) bool {
	return st.op != nil && st.op.View && st.dynamic && st.in[0] >= 0 && p.slots[st.in[0]].kind == slotDynamic && st.out[0] >= 0 && !p.slots[st.out[0]].value.IsOutput()
}

// result is memory whose size data has decided.
type result struct {
	data    []byte
	holders int  // slots
	fresh   bool // made in this run, by a kernel: nobody else knows it
}

// drop lets go of computed tensors that nothing reads any more.
func (f *frame) drop(ids []int) {
	for _, id := range ids {
		f.tensors[id] = nil
		if f.results == nil || f.results[id] == nil {
			continue
		}
		r := f.results[id]
		f.results[id] = nil
		if r.holders--; r.holders == 0 {
			f.held -= len(r.data)
			delete(f.memory, &r.data[0])
			f.spares.giveBack(r.data)
		}
	}
}

// hold keeps a tensor whose size data has decided. Memory that several share counts once,
// until the last of them goes, and that of an input whose size is planned doesn't.
func (f *frame) hold(id int, t *tensor.Tensor, in []*tensor.Tensor) error {
	f.tensors[id] = t
	if len(t.Data) == 0 {
		return nil
	}
	r := f.memory[&t.Data[0]]
	if r == nil {
		if slices.ContainsFunc(in, func(x *tensor.Tensor) bool { return x != nil && len(x.Data) > 0 && &x.Data[0] == &t.Data[0] }) {
			return nil
		}
		if f.results == nil {
			f.results, f.memory = make([]*result, len(f.tensors)), map[*byte]*result{}
		}
		r = &result{data: t.Data, fresh: f.made}
		f.memory[&t.Data[0]] = r
		f.held += len(t.Data)
	}
	r.holders++
	f.results[id] = r
	most := f.plan.session.maxHeld()
	if most > 0 && f.held+f.spares.bytes > most {
		f.spares.drop()
	}
	if most > 0 && f.held > most {
		return memoryError{error: fmt.Errorf("results whose sizes depend on data take %s at once, the limit is %s", bytesText(f.held), bytesText(most)), alone: true}
	}
	return nil
}

func (f *frame) compute(i int) error {
	st, c := f.plan.steps[i], &f.calls[i]
	switch {
	case st.joined:
		return nil
	case f.kernels[i] != nil:
		return f.kernels[i].Run(c)
	case st.dynamic && len(st.subs) == 0:
		return f.dynamic[i].run(f, st, c)
	}
	return st.op.Ref(c)
}

// store takes what a step has computed of its inputs for a slot.
func (f *frame) store(id int, got *tensor.Tensor, in []*tensor.Tensor) error {
	s := &f.plan.slots[id]
	planned := f.own[id]
	switch {
	case got == planned && got != nil:
		return nil
	case got == nil:
		return fmt.Errorf("was not computed")
	case planned == nil:
		if s.typ.DType != dtype.Invalid && s.typ.DType != got.DType && s.typ.Elem == nil {
			return fmt.Errorf("expected %s, computed %s", s.typ.Type, got)
		}
		return f.hold(id, got, in)
	case got.DType == planned.DType && slices.Equal(got.Shape, planned.Shape):
		transpose.CopyBytes(planned.Data, got.Data)
		return nil
	}
	return fmt.Errorf("inferred %s, computed %s", planned, got)
}

// deliver fills the outputs that do not own their memory.
func (f *frame) deliver(outputs []*tensor.Tensor) error {
	for i, o := range f.plan.outputs {
		if f.plan.slots[f.plan.slots[o.slot].root].kind == slotOutput && !o.copied {
			continue
		}
		t := f.tensors[o.slot]
		if t == nil {
			return fmt.Errorf("output %q was not computed", f.plan.session.graph.Outputs[i].Name)
		}
		switch out := outputs[i]; {
		case out != nil:
			if out.DType != t.DType || !slices.Equal(out.Shape, t.Shape) || len(out.Data) != len(t.Data) {
				return fmt.Errorf("output %q is %s, the tensor given for it is %s", f.plan.session.graph.Outputs[i].Name, t, out)
			}
			if out == t {
				break // it was computed there
			}
			transpose.CopyBytes(out.Data, t.Data)
			copy(out.Strings, t.Strings)
		case o.copied && t.DType.Bits() > 0:
			outputs[i] = tensor.New(t.DType, t.Shape...)
			transpose.CopyBytes(outputs[i].Data, t.Data)
		case o.copied:
			outputs[i] = t.Clone()
		default:
			outputs[i] = t
		}
	}
	return nil
}

// facts gives the facts of slots for reports.
func (p *Plan) facts(ids []int) []op.Fact {
	out := make([]op.Fact, len(ids))
	for i, id := range ids {
		if id >= 0 {
			out[i] = p.slots[id].typ
			out[i].Present = true
		}
	}
	return out
}
