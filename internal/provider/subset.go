package provider

import (
	"fmt"
	"hash/fnv"
	"sync"
	"unsafe"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// Subset is a provider for tests of the executor. It claims about half of all
// operators, chosen by the seed, and runs their references, but on tensors in
// memory of its own: a kernel that is handed a tensor of the host fails.
func Subset(seed uint64) Provider {
	return &subset{seed: seed, memory: &ownMemory{ranges: map[uintptr]*mmap.Buffer{}}}
}

type subset struct {
	seed   uint64
	memory *ownMemory
}

func (s *subset) Name() string { return fmt.Sprintf("subset:%d", s.seed) }

// Supports draws by the operator's name and the node's, so that of two
// operators of a kind one may be claimed and the other not.
func (s *subset) Supports(n *ir.Node, _, _ []op.Fact) bool {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s", s.seed, n.FullName(), n.Name)
	return h.Sum64()>>32&1 == 0
}

// Cost is nothing, so that the subset gets all that it supports.
func (s *subset) Cost(*ir.Node, []op.Fact, []op.Fact) float64 { return 0 }

func (s *subset) Memory() Memory { return s.memory }

func (s *subset) Compile(p *op.Prep) (op.Kernel, error) {
	o := op.Of(p.Node)
	if o == nil {
		return nil, fmt.Errorf("%s is unknown", p.Node)
	}
	return &subsetKernel{o, s.memory}, nil
}

type subsetKernel struct {
	op     *op.Op
	memory *ownMemory
}

func (k *subsetKernel) Run(c *op.Call) error {
	for i, t := range c.In {
		if t != nil && !k.memory.owns(t) {
			return fmt.Errorf("input %d is not in the provider's memory", i)
		}
	}
	planned := append([]*tensor.Tensor(nil), c.Out...)
	if err := k.op.Ref(c); err != nil {
		return err
	}
	for i, want := range planned {
		if want == nil {
			continue
		}
		if !k.memory.owns(want) {
			return fmt.Errorf("output %d is not in the provider's memory", i)
		}
		got := c.Out[i]
		if got == nil || len(got.Data) != len(want.Data) {
			return fmt.Errorf("output %d: expected %s, computed %v", i, want, got)
		}
		if got != want {
			copy(want.Data, got.Data)
			c.Out[i] = want
		}
	}
	return nil
}

// ownMemory is memory of the host that is told apart by its addresses.
type ownMemory struct {
	mu     sync.Mutex
	ranges map[uintptr]*mmap.Buffer
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func (m *ownMemory) Alloc(n int) []byte {
	b := mmap.Alloc(max(n, 1))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ranges[address(b.Bytes())] = b
	return b.Bytes()[:n]
}

func (m *ownMemory) Free(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := address(b)
	m.ranges[at].Free()
	delete(m.ranges, at)
}

func (m *ownMemory) Upload(dst, host []byte)   { copy(dst, host) }
func (m *ownMemory) Download(host, src []byte) { copy(host, src) }

// CopyCost is nothing: the seed alone decides.
func (m *ownMemory) CopyCost(int) float64 { return 0 }

// owns reports whether a tensor lies in memory that Alloc gave.
func (m *ownMemory) owns(t *tensor.Tensor) bool {
	if len(t.Data) == 0 {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := address(t.Data)
	for from, b := range m.ranges {
		if at >= from && at+uintptr(len(t.Data)) <= from+uintptr(len(b.Bytes())) {
			return true
		}
	}
	return false
}
