package exec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/provider"
	"github.com/salver-ml/salver/internal/tensor"
)

// Options configures a session.
type Options struct {
	Pool *pool.Pool // nil runs on the caller's thread
	// Alone keeps small plans off the pool: those with no more work than this,
	// counted in floating-point operations and bytes. 0 uses it for all.
	Alone    float64
	Provider provider.Provider // nil is provider.CPU
	// Precision is what products of float32 may be computed in.
	Precision op.Precision
	// Chooser decides between kernels; nil takes the defaults.
	Chooser op.Chooser
	// Accelerators take nodes from Provider, the first ones first among equals.
	Accelerators []provider.Provider
	MaxPlans     int // plans kept for different input shapes; 0 is 16
	// MaxMemory bounds, in bytes, what one plan may need: weights, packed weights,
	// arena, inputs and outputs. 0 allows any amount.
	MaxMemory int
	// Overhead is what the process needs besides, in bytes: it counts against MaxMemory.
	Overhead int
	// OwnConstants lets the session drop constants of the graph that were computed
	// from others (ir.Value.Again) when they have been packed, and copy small ones.
	// Nothing else may read the graph's constants any more.
	OwnConstants bool
	// Packed is called while and after weights are packed: the originals of the
	// file are hardly read any more.
	Packed func()
	// PackLater lets kernels run, more slowly, before their weights are packed. Settle
	// is to be called then.
	PackLater bool
	// Untied gives the graph without the sums that op.TieSizes has found, for inputs of
	// other sizes. It is nil where the graph has none.
	Untied func() (*ir.Graph, error)
}

// Session runs one graph, for any number of goroutines at once.
type Session struct {
	graph     *ir.Graph
	pool      *pool.Pool
	alone     float64
	providers []provider.Provider // the host's last
	spaces    []provider.Memory   // nil, the host's, and then those of other providers
	spaceOf   []int               // by provider
	maxPlans  int
	stretch   int // the least gain of a stretch, in bytes
	maxMemory int
	overhead  int
	precision op.Precision
	chooser   op.Chooser
	weights   *weights
	packed    func()
	ties      []tie
	untied    *untied // nil where there are no ties

	mu     sync.Mutex
	plans  []*Plan   // most recently used first
	placed [][]int   // by space, the order in which the last plan placed its buffers
	newest *Plan     // the last one made, whose values' facts the binder has
	left   []planKey // of the shapes from which plans have moved on, the last ones
	binder *op.Binder
}

// New makes a session. The graph must be verified, its types inferred, and must
// not change any more.
func New(g *ir.Graph, o Options) *Session {
	w := newWeights(o.MaxMemory, o.Packed)
	w.defers = o.PackLater
	s := newSession(g, o, w)
	if o.Untied != nil {
		s.ties, s.untied = tiesOf(g), newUntied(s, o)
	}
	if o.OwnConstants {
		w.register(g)
		copySmall(g, map[*tensor.Tensor]bool{})
		if o.Packed != nil {
			o.Packed()
		}
	}
	return s
}

// newSession makes a session that keeps its packed weights in w.
func newSession(g *ir.Graph, o Options, w *weights) *Session {
	s := &Session{graph: g, pool: o.Pool, alone: o.Alone, maxPlans: cmp.Or(o.MaxPlans, 16), stretch: stretchLeast, maxMemory: o.MaxMemory, overhead: o.Overhead, precision: o.Precision, chooser: o.Chooser, packed: o.Packed, weights: w}
	s.setProviders(o.Accelerators, o.Provider)
	return s
}

// Graph is the graph that the session runs.
func (s *Session) Graph() *ir.Graph { return s.graph }

// Close frees packed weights and arenas. No run may be in progress.
func (s *Session) Close() {
	if u := s.withoutTies(); u != nil {
		u.closePlans()
	}
	s.closePlans()
	s.weights.free()
}

// withoutTies is the session for inputs that break a tie, nil if there is none yet.
func (s *Session) withoutTies() *Session {
	if s.untied == nil {
		return nil
	}
	return s.untied.session.Load()
}

// Settle packs the weights for which Options.PackLater lets runs do without.
func (s *Session) Settle() {
	if all := s.weights.toSettle(false); len(all) > 0 {
		s.pool.Begin()
		s.pool.Run(len(all), all)
		s.pool.End()
		s.weights.settled(all...)
	}
}

// SettleSome is Settle for a few megabytes of them; false: there are none.
func (s *Session) SettleSome() bool {
	all := s.weights.toSettle(true)
	if len(all) == 0 {
		return false
	}
	if all.some() {
		s.weights.settled(all[0])
	}
	return true
}

// Run computes the outputs for inputs in the graph's order. The outputs are new
// tensors that belong to the caller.
func (s *Session) Run(ctx context.Context, inputs []*tensor.Tensor) ([]*tensor.Tensor, error) {
	outputs := make([]*tensor.Tensor, len(s.graph.Outputs))
	if err := s.RunInto(ctx, inputs, outputs); err != nil {
		return nil, err
	}
	return outputs, nil
}

// RunInto is Run with outputs that the caller may own: where outputs[i] is not
// nil it must have the type and shape of the result and is written; where it is
// nil it is set to a new tensor.
func (s *Session) RunInto(ctx context.Context, inputs, outputs []*tensor.Tensor) error {
	return s.RunWith(ctx, inputs, outputs, nil)
}

// LargeOutput is from how many bytes on RunWith asks for an output's memory.
const LargeOutput = 4 << 20

// RunWith is RunInto with memory from large, if it is set, for new outputs of
// LargeOutput bytes or more whose size is known before the run. It gives n zeroed bytes, aligned to 64.
func (s *Session) RunWith(ctx context.Context, inputs, outputs []*tensor.Tensor, large func(n int) []byte) error {
	s, err := s.takes(inputs)
	if err != nil {
		return err
	}
	p, err := s.use(inputs)
	if err != nil {
		return err
	}
	defer s.done(p)
	if len(outputs) != len(s.graph.Outputs) {
		return fmt.Errorf("the model has %d outputs, found room for %d", len(s.graph.Outputs), len(outputs))
	}
	if large != nil {
		if err := p.makeLarge(outputs, large); err != nil {
			return err
		}
	}
	f, err := p.acquire()
	if err != nil {
		return err
	}
	defer s.release(p, f)
	p.pool.Begin()
	defer p.pool.End()
	return f.run(ctx, inputs, outputs, nil)
}

// maxIdleArenas bounds, in bytes, the arenas kept for later runs of all plans
// but the one used last.
const maxIdleArenas = 64 << 20

// release keeps the frame for the plan's next run and frees arenas of plans
// that have not been used for longest while they are too many.
func (s *Session) release(p *Plan, f *frame) {
	p.release(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	total := 0
	for _, q := range s.plans {
		n := q.idleBytes()
		if total += n; total > maxIdleArenas && q != p && n > 0 {
			total -= n
			q.dropIdle()
		}
	}
}

// dropIdle frees the arenas that no run uses.
func (s *Session) dropIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.plans {
		p.dropIdle()
	}
}

// returned is from how many dropped bytes on the system gets them back at once.
const returned = 4 << 20

// PlanFor gives the plan for the inputs' types and shapes, making it if needed. It stays
// one for them.
func (s *Session) PlanFor(inputs []*tensor.Tensor) (*Plan, error) {
	s, err := s.takes(inputs)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.planFor(inputs)
	if err == nil {
		p.stays = true
	}
	return p, err
}

// use gives the plan for a run, after which done is to be called.
func (s *Session) use(inputs []*tensor.Tensor) (*Plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.planFor(inputs)
	if err == nil {
		p.users++
	}
	return p, err
}

func (s *Session) done(p *Plan) {
	s.mu.Lock()
	p.users--
	s.mu.Unlock()
}

func (s *Session) planFor(inputs []*tensor.Tensor) (*Plan, error) {
	for i, p := range s.plans {
		if p.key.fits(inputs) {
			if i > 0 {
				copy(s.plans[1:i+1], s.plans[:i])
				s.plans[0] = p
				p.stays = true // others came between, and it came back
			}
			return p, nil
		}
	}
	if err := checkInputs(s.graph, inputs); err != nil {
		return nil, err
	}
	facts := make([]op.Fact, len(inputs))
	for i, t := range inputs {
		facts[i] = op.Fact{Type: ir.TypeOf(t), Present: true}
		if declared := s.graph.Inputs[i].Type; declared.Elem != nil {
			facts[i].Elem = declared.Elem
		}
	}
	before := s.weights.bytes()
	var from *Plan
	back := s.cameBack(inputs)
	if !back {
		if from = s.movable(); from != nil {
			s.leave(from)
		}
	}
	p, err := s.compile(facts, from)
	if s.weights.drop() >= returned {
		debug.FreeOSMemory()
	}
	if err == nil && s.packed != nil && s.weights.bytes() > before {
		s.packed()
	}
	var defect *PanicError
	if IsMemoryError(err) || errors.As(err, &defect) {
		return nil, err
	}
	if err != nil {
		return nil, inputError{fmt.Errorf("with inputs %v: %w", inputs, err)}
	}
	p.key, p.stays = keyOf(inputs), back
	s.plans = slices.Insert(s.plans, 0, p)
	s.dropPlans()
	return p, nil
}

// maxPlanBytes bounds what plans take themselves, without their arenas.
const maxPlanBytes = 64 << 20

// dropPlans retires the plans that have not been used for longest while they
// are too many or too large. The one used last stays.
func (s *Session) dropPlans() {
	total := 0
	for i, p := range s.plans {
		total += p.ownBytes()
		if i > 0 && (i >= s.maxPlans || total > maxPlanBytes) {
			for _, old := range s.plans[i:] {
				old.retire()
			}
			clear(s.plans[i:])
			s.plans = s.plans[:i]
			return
		}
	}
}

// MemoryBytes is what the session holds: constants, packed weights, and what its plans
// and those of bodies keep for later runs.
func (s *Session) MemoryBytes() int64 {
	weights, idle := s.heldBytes()
	if u := s.withoutTies(); u != nil {
		w, i := u.heldBytes()
		weights, idle = max(weights, w), idle+i // constants are mostly the same
	}
	return int64(s.weights.bytes() + weights + idle)
}

// heldBytes gives the constants that runs read, and what plans keep for later ones.
func (s *Session) heldBytes() (weights, idle int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.plans {
		weights = max(weights, p.Memory().Weights)
		idle += p.idleBytes() + p.packed()
		for _, st := range p.steps {
			for _, sub := range st.subs {
				_, n := sub.session.heldBytes()
				idle += n
			}
		}
	}
	return weights, idle
}
