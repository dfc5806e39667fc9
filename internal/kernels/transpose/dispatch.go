package transpose

import "github.com/salver-ml/salver/internal/cpu"

// table is one instruction-set level's kernels.
type table struct {
	tile1, tile2, tile4, tile8 tileFunc
	lines                      func(dst, src []byte) // as many bytes as dst has
}

// tables has each level's kernels; a level without its own has those below it.
var tables = []*table{{tile[uint8], tile[uint16], tile[uint32], tile[uint64], func(dst, src []byte) { copy(dst, src) }}}

func kernels() *table { return tables[min(int(cpu.Level()), len(tables)-1)] }
