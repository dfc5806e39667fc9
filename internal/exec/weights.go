package exec

import (
	"fmt"
	"slices"
	"sync"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/provider"
	"github.com/salver-ml/salver/internal/tensor"
)

// weights keeps packed weights for the life of a session and its subgraphs',
// and knows which constants can be dropped because only packing reads them.
type weights struct {
	limit int // of packed bytes; 0 is none
	// trim, if set, is called when another step bytes have been packed: the file's
	// pages that they came from can go.
	trim func()
	step int
	// defers says that packing waits where kernels can do without.
	defers bool
	// gradual says that weights are packed between runs, which read the others' file pages.
	gradual bool
	// planning is held, where there is a limit, by who makes what may pack weights: buffers
	// beyond the limit are not filled, and gone when that is refused, so that nobody else
	// may get them.
	planning sync.Mutex

	mu       sync.Mutex
	arena    mmap.Arena
	bufs     map[packKey]*packed
	alikes   alikes
	size     int // bytes of all buffers
	filled   int // those of buffers that are filled
	trimmed  int // filled at the last trim
	waiting  unsettled
	unfilled []packKey
	derived  map[*tensor.Tensor]*derived
	stated   map[port]bool // inputs that only packing reads
	uploads  map[uploadKey]upload
}

// port is an input of a node.
type port struct {
	node  *ir.Node
	input int
}

type packKey struct {
	node *ir.Node // the first of those that pack the same
	key  string
	size int
}

// packed is a buffer that is filled once, by the first who wants it.
type packed struct {
	*op.Packing
	beyond *mmap.Buffer // that holds it beyond the limit
}

// derived is a constant that can be computed again.
type derived struct {
	again  func() (*tensor.Tensor, error)
	held   int  // compilations and fills that may read it now
	pinned bool // a kernel reads it when it runs
}

// minDerived is the size in bytes from which dropping a constant is worth it.
const minDerived = 64 << 10

// newWeights makes weights with a limit in bytes on what is packed; 0 is none.
func newWeights(limit int, trim func()) *weights {
	w := &weights{limit: limit, trim: trim, step: 16 << 20}
	if limit > 0 {
		w.step = min(w.step, max(limit/32, 1<<20))
	}
	return w
}

// register notes the constants of g and its subgraphs that can be computed
// again. From then on only sessions that share w may read their contents.
func (w *weights) register(g *ir.Graph) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.derived == nil {
		w.derived = map[*tensor.Tensor]*derived{}
	}
	w.registerAll(g)
}

func (w *weights) registerAll(g *ir.Graph) {
	for _, n := range g.Nodes {
		for _, v := range n.In {
			if v.IsConst() && v.Again != nil && w.derived[v.Const] == nil && len(v.Const.Data) >= minDerived {
				w.derived[v.Const] = &derived{again: v.Again}
			}
		}
		for _, sub := range n.Subgraphs() {
			w.registerAll(sub)
		}
	}
}

// maxCopied is the size in bytes up to which constants of the file are copied: runs then
// read biases and the like without its pages, of which the system maps a few dozen for each.
const maxCopied = 32 << 10

// copySmall copies the small constants of g and its subgraphs out of the file.
func copySmall(g *ir.Graph, seen map[*tensor.Tensor]bool) {
	for _, n := range g.Nodes {
		for _, v := range n.In {
			if v.IsConst() && v.Again == nil && len(v.Const.Data) <= maxCopied && !seen[v.Const] {
				seen[v.Const] = true
				v.Const.Data = append(tensor.Bytes(len(v.Const.Data))[:0], v.Const.Data...)
			}
		}
		for _, sub := range n.Subgraphs() {
			copySmall(sub, seen)
		}
	}
}

// compile makes a kernel. Constants that it reads at other times than while it
// packs are there from now on.
func (w *weights) compile(by compiling, p *op.Prep) (op.Kernel, error) {
	absent, err := w.hold(p)
	defer w.letGo(p)
	if err != nil {
		return nil, err
	}
	k, err := by.Compile(p)
	again := false
	for i, f := range p.In {
		if f.Const == nil {
			continue
		}
		if err == nil && k != nil && p.IsOnlyPacked(i) {
			w.state(p.Node, i)
			continue
		}
		if err := w.pin(f.Const); err != nil {
			return nil, err
		}
		again = again || slices.Contains(absent, i)
	}
	if again { // it wanted contents that were not there
		return by.Compile(p)
	}
	return k, err
}

// compileInRun is compile for a kernel that no plan counts: beyond the limit it is refused.
func (w *weights) compileInRun(by compiling, p *op.Prep) (k op.Kernel, err error) {
	defer w.alone()()
	defer func() {
		if n := w.dropUnfilled(); n > 0 {
			k, err = nil, memoryError{alone: true, error: fmt.Errorf("the sizes that the run found need %s of packed weights more, beside %s, the limit is %s", bytesText(n), bytesText(w.bytes()), bytesText(w.limit))}
		}
	}()
	return w.compile(by, p)
}

// alone waits until nobody else makes what counts against the limit, if there is one, and
// gives what lets others do so again.
func (w *weights) alone() (done func()) {
	if w.limit == 0 {
		return func() {}
	}
	w.planning.Lock()
	return w.planning.Unlock
}

// compiling is the part of a provider that makes kernels.
type compiling interface {
	Compile(p *op.Prep) (op.Kernel, error)
}

// hold keeps the constants of p as they are until letGo. Those that an earlier
// kernel of the node read while it packed alone may be absent; others are made
// present.
func (w *weights) hold(p *op.Prep) (absent []int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, f := range p.In {
		d := w.derived[f.Const]
		if d == nil {
			continue
		}
		d.held++
		switch {
		case f.Const.Data != nil || err != nil:
		case w.stated[port{p.Node, i}]:
			absent = append(absent, i)
		default:
			err = d.restore(f.Const)
		}
	}
	return absent, err
}

// state notes that only packing reads an input.
func (w *weights) state(n *ir.Node, i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stated == nil {
		w.stated = map[port]bool{}
	}
	w.stated[port{n, i}] = true
}

func (w *weights) letGo(p *op.Prep) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range p.In {
		if d := w.derived[f.Const]; d != nil {
			d.held--
		}
	}
}

// pin makes the contents of a constant present for good.
func (w *weights) pin(t *tensor.Tensor) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.derived[t]
	if d == nil {
		return nil
	}
	d.pinned = true
	return d.restore(t)
}

// restore computes the contents again if they are absent.
func (d *derived) restore(t *tensor.Tensor) error {
	if t.Data != nil {
		return nil
	}
	again, err := d.again()
	if err == nil {
		t.Data = again.Data
	}
	return err
}

// drop forgets the contents of constants that only packing reads, and gives
// their bytes. The collector frees them.
func (w *weights) drop() (bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for t, d := range w.derived {
		if !d.pinned && d.held == 0 {
			bytes += len(t.Data)
			t.Data = nil
		}
	}
	return bytes
}

// isDropped reports whether a constant's contents are dropped once it is packed.
func (w *weights) isDropped(t *tensor.Tensor) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.derived[t]
	return d != nil && !d.pinned
}

// held is how many bytes the derived constants have now.
func (w *weights) held() (bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for t, d := range w.derived {
		if !d.pinned {
			bytes += len(t.Data)
		}
	}
	return bytes
}

// serve lets the kernel of p pack weights.
func (w *weights) serve(p *op.Prep) {
	p.Pack = func(key string, size int, fill func([]byte)) []byte {
		if ofSizes(p) {
			b := tensor.Bytes(size)
			w.present(p, func() { fill(b) })
			return b
		}
		own := w.filler(p, 1, func(b []byte, _, _ int) { fill(b) })
		b, within, _ := w.buffer(p.Node, key, size, 1, own)
		if within {
			b.FillBy(own)
		}
		return b.Data
	}
	if w.defers {
		p.Later = func(key string, size, parts int, fill op.Fill) *op.Packing {
			return w.later(p, key, size, parts, fill)
		}
	}
}

// filler fills a buffer of so many parts from the constants of p.
func (w *weights) filler(p *op.Prep, parts int, fill op.Fill) op.Fill {
	return func(b []byte, from, to int) {
		w.present(p, func() { fill(b, from, to) })
		if to == parts {
			w.maybeTrim(len(b))
		}
	}
}

// present does something while all constants of p have their contents.
func (w *weights) present(p *op.Prep, do func()) {
	_, err := w.hold(p)
	defer w.letGo(p)
	if err != nil {
		panic(err) // it went well when the model was loaded
	}
	w.restoreAll(p)
	do()
}

// ofSizes reports whether a constant of p is not the graph's: it follows from the sizes
// of one plan, or is cut by them. What is packed of it is of no use to another.
func ofSizes(p *op.Prep) bool {
	for i := range p.Node.In {
		if isOfSizes(p, i) {
			return true
		}
	}
	return false
}

func isOfSizes(p *op.Prep, i int) bool {
	c := p.In[i].Const
	return c != nil && c != p.Node.In[i].Const
}

// packedOfSizes is about how many bytes a kernel has packed of such constants.
func packedOfSizes(p *op.Prep) (n int) {
	for i := range p.Node.In {
		if isOfSizes(p, i) && p.IsOnlyPacked(i) {
			n += len(p.In[i].Const.Data)
		}
	}
	return n
}

// later gives a buffer that is filled in Settle. Constants that may be dropped are not
// there to be read meanwhile.
func (w *weights) later(p *op.Prep, key string, size, parts int, fill op.Fill) *op.Packing {
	if ofSizes(p) {
		return nil
	}
	for _, f := range p.In {
		if w.isDropped(f.Const) {
			return nil
		}
	}
	b, within, made := w.buffer(p.Node, key, size, parts, w.filler(p, parts, fill))
	if within && made {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.waiting = append(w.waiting, b)
	}
	return b.Packing
}

// unsettled are buffers that wait to be filled.
type unsettled []*packed

// Do fills one. Where that panics the buffer stays empty: a kernel that can't do without
// it tries again, within a run, which fails over it.
func (u unsettled) Do(i int) {
	defer func() { _ = recover() }()
	u[i].Fill()
}

// some fills a part of the first, and reports whether that can be done with now.
func (u unsettled) some() (done bool) {
	defer func() { done = recover() != nil || done }()
	return u[0].FillSome()
}

func (w *weights) toSettle(gradual bool) unsettled {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gradual = gradual && len(w.waiting) > 0
	return slices.Clone(w.waiting)
}

// settled notes that buffers have been filled.
func (w *weights) settled(done ...*packed) {
	w.mu.Lock()
	w.waiting = slices.DeleteFunc(w.waiting, func(b *packed) bool { return slices.Contains(done, b) })
	last := len(w.waiting) == 0
	w.mu.Unlock()
	if last {
		w.trimRest()
	}
}

// restoreAll makes the constants of p present; they are held already.
func (w *weights) restoreAll(p *op.Prep) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range p.In {
		if d := w.derived[f.Const]; d != nil {
			if err := d.restore(f.Const); err != nil {
				panic(err) // it went well when the model was loaded
			}
		}
	}
}

// buffer gives the buffer of a node's key, and says whether it was made now. Beyond the limit
// buffers are made but not filled, which takes no memory: the plan that wants them is
// going to be refused.
func (w *weights) buffer(n *ir.Node, key string, size, parts int, fill op.Fill) (b *packed, within, made bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := packKey{w.alikes.of(n), key, size}
	if b, ok := w.bufs[k]; ok {
		return b, w.limit == 0 || w.size <= w.limit, false
	}
	if w.bufs == nil {
		w.bufs = map[packKey]*packed{}
	}
	b = &packed{}
	w.bufs[k] = b
	w.size += size
	var data []byte
	if within = w.limit == 0 || w.size <= w.limit; within {
		data = w.arena.Alloc(size)
	} else {
		b.beyond = mmap.Reserve(size)
		data = b.beyond.Bytes()
		w.unfilled = append(w.unfilled, k)
	}
	b.Packing = op.NewPacking(data, parts, fill)
	return b, within, true
}

// maybeTrim notes that a buffer has been filled. Between runs the file's pages stay until
// all is packed: each run would have to get those of all other weights again.
func (w *weights) maybeTrim(bytes int) {
	w.mu.Lock()
	w.filled += bytes
	due := w.trim != nil && !w.gradual && w.filled-w.trimmed >= w.step
	if due {
		w.trimmed = w.filled
	}
	w.mu.Unlock()
	if due {
		w.trim()
	}
}

// trimRest is for when all has been packed.
func (w *weights) trimRest() {
	w.mu.Lock()
	due := w.trim != nil && w.filled > w.trimmed
	w.trimmed = w.filled
	w.mu.Unlock()
	if due {
		w.trim()
	}
}

// dropUnfilled forgets the buffers that were made beyond the limit, and gives their bytes.
func (w *weights) dropUnfilled() (bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.unfilled {
		bytes += k.size
		w.size -= k.size
		w.bufs[k].beyond.Free()
		delete(w.bufs, k)
	}
	w.unfilled = nil
	return bytes
}

func (w *weights) free() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.bufs {
		b.beyond.Free()
	}
	w.arena.Free()
	for _, up := range w.uploads {
		up.memory.Free(up.tensor.Data)
	}
	w.bufs, w.alikes, w.waiting, w.uploads, w.size, w.filled, w.trimmed = nil, alikes{}, nil, nil, 0, 0, 0
}

// bytes is the size of all packed weights.
func (w *weights) bytes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

type uploadKey struct {
	tensor *tensor.Tensor
	space  int
}

// upload copies a constant into a provider's memory, once.
func (w *weights) upload(t *tensor.Tensor, space int, m provider.Memory) (*tensor.Tensor, error) {
	if err := w.pin(t); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	k := uploadKey{t, space}
	if up, ok := w.uploads[k]; ok {
		return up.tensor, nil
	}
	up := upload{memory: m, tensor: &tensor.Tensor{DType: t.DType, Shape: t.Shape, Data: m.Alloc(len(t.Data))}}
	m.Upload(up.tensor.Data, t.Data)
	if w.uploads == nil {
		w.uploads = map[uploadKey]upload{}
	}
	w.uploads[k] = up
	w.size += len(t.Data)
	return up.tensor, nil
}

// upload is a constant in a provider's memory.
type upload struct {
	memory provider.Memory
	tensor *tensor.Tensor
}
