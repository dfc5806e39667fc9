package reduce

import "github.com/salver-ml/salver/internal/cpu"

// kernels is what an instruction-set level provides.
type kernels struct {
	engine[float32]
	// Columns of other types, by fold; nil: in steps.
	doubles     [numFolds]columnsFunc[float64]
	ints        [numFolds]columnsFunc[int32]
	longs       [numFolds]columnsFunc[int64]
	squareDiff  func(x []float32, mean float32) float32
	runningSums []sumTile // the widest first
	least       leastFunc // of rows of bytes; nil: as int32
	// places has for the greatest and the least of rows of up to 8, 16, 24 and 32 elements a function that gives where they are; nil: one by one.
	places [2][mostPlaces / 8]placesFunc
}

func current() *kernels { return forLevel(cpu.Level()) }

// portable is the specification of the other kernels.
var portable = kernels{engine: *portableEngine[float32](), squareDiff: squareDiffBlock}
