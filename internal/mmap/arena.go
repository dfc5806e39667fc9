package mmap

import "sync"

// An Arena gives buffers that are freed together. Those of a quarter of a megabyte and
// more, and smaller ones once there is room, lie one after the other in huge pages, which
// each alone would fill in part, and leave its last bytes in small ones.
type Arena struct {
	mu    sync.Mutex
	slabs []slab
	own   []*Buffer // that lie elsewhere
	used  int64     // of slabs
}

// slab is a mapping, and what of it is not given yet.
type slab struct{ free, region []byte }

const (
	slabBytes  = 32 << 20
	mostOfSlab = slabBytes / 4 // of a buffer; larger ones leave little in small pages
	leastShare = 4 << 10
)

// Alloc gives n zeroed bytes, aligned to Align. They are taken from the system when they
// are first touched, and count as InUse.
func (a *Arena) Alloc(n int) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n < leastShare || n < minMapped && len(a.slabs) == 0 || n > mostOfSlab {
		return a.alone(n)
	}
	size := (n + Align - 1) &^ (Align - 1)
	for i := range a.slabs {
		if len(a.slabs[i].free) >= size {
			return a.take(i, n, size)
		}
	}
	free, region, ok := mapAnonymous(slabBytes)
	if !ok {
		return a.alone(n)
	}
	a.slabs = append(a.slabs, slab{free, region})
	return a.take(len(a.slabs)-1, n, size)
}

func (a *Arena) take(i, n, size int) []byte {
	s := &a.slabs[i]
	b := s.free[:n:n]
	s.free = s.free[size:]
	a.used += int64(n)
	inUse.Add(int64(n))
	return b
}

func (a *Arena) alone(n int) []byte {
	b := Alloc(n)
	a.own = append(a.own, b)
	return b.Bytes()
}

// Free gives all buffers back. Nothing may use them afterwards.
func (a *Arena) Free() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range a.own {
		b.Free()
	}
	for _, s := range a.slabs {
		_ = unmap(s.region) // which was mapped, so this can't fail
	}
	inUse.Add(-a.used)
	a.own, a.slabs, a.used = nil, nil, 0
}
