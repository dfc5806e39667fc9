package llm

import (
	"sync"
	"sync/atomic"

	"github.com/salver-ml/salver/internal/llm/kv"
	"github.com/salver-ml/salver/internal/mmap"
)

// pages makes the memory of the caches a huge page at a time, before it is used: a step
// would otherwise wait until two for each layer are cleared, for which a system that has
// to ask its host for them takes a third of a second. The first ones are small until then,
// as the first token of a process needs some bytes of each cache.
type pages struct {
	used atomic.Int64 // slots that tokens had, up to the last one; 0: no step was computed

	mu     sync.Mutex
	caches []cachePages
	page   int // the next one to be made, of cache next
	next   int
}

type cachePages struct {
	data []byte
	slot int // bytes of a token
}

// add has the pages of a cache of so many blocks made. One that fills no huge page is
// left to the system.
func (p *pages) add(data []byte, blocks int) {
	if len(data) < mmap.HugePage {
		return
	}
	mmap.SmallPages(data[:mmap.HugePage])
	p.caches = append(p.caches, cachePages{data, len(data) / (blocks * kv.BlockTokens)})
}

// use notes the last slot of a step.
func (p *pages) use(last int32) {
	if n := int64(last) + 1; n > p.used.Load() {
		p.used.Store(n)
	}
}

// some makes a page: the first one of each cache, once there was a step, and others
// up to a quarter more than what was used; false: there is none to make.
func (p *pages) some() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	used := int(p.used.Load())
	for used > 0 && len(p.caches) > 0 {
		c, at := p.caches[p.next], p.page*mmap.HugePage
		wanted := at < len(c.data) && at < max(used*5/4*c.slot, 1)
		if !wanted && p.next == 0 {
			return false
		}
		if p.next++; p.next == len(p.caches) {
			p.page, p.next = p.page+1, 0
		}
		switch {
		case !wanted: // another cache has smaller slots
		case at == 0:
			mmap.HugePages(c.data[:mmap.HugePage])
			return true
		default:
			mmap.PopulateWrite(c.data[at:min(at+mmap.HugePage, len(c.data))])
			return true
		}
	}
	return false
}
