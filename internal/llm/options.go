package llm

import (
	"cmp"
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/llm/kv"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/provider"
)

// Options says how a model is prepared and served. Zeros have defaults.
type Options struct {
	Name     string // of the model; the file's without extension
	Pool     *pool.Pool
	Provider provider.Provider
	Level    int // of optimization
	// Precision is what products with weights that are plain floats may be computed
	// in; block-quantized weights have an arithmetic of their own. One that this
	// machine can't is an error.
	Precision op.Precision

	Context   int        // tokens of a sequence, at most; 0: as the model was trained
	CacheType dtype.Type // of keys and values, Float32 or Float16; Float16 by default
	// CacheBytes bounds the keys and values of all sequences together; 0 is room for
	// four sequences of full length, but no more than DefaultCacheBytes.
	CacheBytes int
	// CacheTokens asks for room for so many tokens, where CacheBytes is 0.
	CacheTokens int
	// MaxMemory bounds, in bytes, what a step may need with weights and cache, all
	// models and Overhead included; 0 is no limit, but for a cache larger than the machine.
	MaxMemory  int
	Overhead   int // bytes that the process needs besides, which count against MaxMemory
	StepTokens int // tokens of one step, at most; 512
	Sequences  int // at once; 64
	Queue      int // requests that wait, at most; 1024
	NoPrefixes bool
	// Template is a chat template in the place of the model's own.
	Template string
}

// DefaultCacheBytes bounds the cache that a model gets unasked.
const DefaultCacheBytes = 2 << 30

func (o *Options) defaults(c *arch.Config) {
	if o.Context == 0 || o.Context > c.Context {
		o.Context = c.Context
	}
	if o.CacheType == dtype.Invalid {
		o.CacheType = dtype.Float16
	}
	o.StepTokens, o.Sequences, o.Queue = cmp.Or(o.StepTokens, 512), cmp.Or(o.Sequences, 64), cmp.Or(o.Queue, 1024)
}

// blocks is how many blocks the cache has.
func (o *Options) blocks(c *arch.Config) (int, error) {
	each := bytesOfBlock(c.Layers, c.KVHeads, c.HeadDim, o.CacheType)
	most := blocksFor(o.Context) * o.Sequences
	if o.CacheBytes > 0 {
		n := min(o.CacheBytes/each, most)
		if n < 2 {
			return 0, fmt.Errorf("a cache of %d bytes holds %d blocks of %d tokens, which take %d bytes each: give it at least %d", o.CacheBytes, n, kv.BlockTokens, each, 2*each)
		}
		return n, nil
	}
	if o.CacheTokens > 0 {
		return max(blocksFor(o.CacheTokens), 2), nil
	}
	return min(max(min(4*blocksFor(o.Context), DefaultCacheBytes/each), 2), most), nil
}

// cache is how many blocks the cache has, and their bytes, for which there is memory.
func (o *Options) cache(c *arch.Config) (blocks, bytes int, err error) {
	if blocks, err = o.blocks(c); err != nil {
		return 0, 0, err
	}
	bytes = blocks * bytesOfBlock(c.Layers, c.KVHeads, c.HeadDim, o.CacheType)
	return blocks, bytes, o.fits(bytes)
}

// fits refuses a cache for which there is no memory.
func (o *Options) fits(cache int) error {
	limit := o.MaxMemory
	if limit == 0 {
		total, _ := cpu.Memory()
		limit = int(total)
	}
	if held := int(mmap.InUse()) + o.Overhead; limit > 0 && cache > limit-held {
		return fmt.Errorf("the cache of keys and values needs %d MiB beside the %d MiB that are held already, the limit is %d MiB: give it less, or the model a shorter context", cache>>20, held>>20, limit>>20)
	}
	return nil
}

// session are the options of the model's session.
func (o *Options) session(src *source) exec.Options {
	return exec.Options{Pool: o.Pool, Provider: o.Provider, Precision: o.Precision, Packed: src.release, PackLater: true, OwnConstants: true, MaxPlans: 64,
		MaxMemory: o.MaxMemory, Overhead: o.Overhead}
}
