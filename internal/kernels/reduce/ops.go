package reduce

import (
	"fmt"
	"math"
	"unsafe"
)

// Op names a reduction.
type Op uint8

// The reductions.
const (
	Sum Op = iota
	Mean
	Max
	Min
	Prod
	L1        // Σ|x|
	L2        // √Σx²
	SumSquare // Σx²
	LogSum    // log Σx
	LogSumExp // log Σeˣ, with the maximum taken out
	numOps
)

var opNames = [numOps]string{"Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"}

func (op Op) String() string {
	if op < numOps {
		return opNames[op]
	}
	return fmt.Sprintf("reduce.Op(%d)", uint8(op))
}

type number interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// fold is how elements go into lanes.
type fold uint8

const (
	foldSum fold = iota
	foldAbs
	foldSquare
	foldMax
	foldMin
	foldProd
	numFolds
)

// fold is op's way into the lanes, and join how lanes and blocks go together.
func (op Op) fold() (first, join fold) {
	switch op {
	case Max, LogSumExp:
		return foldMax, foldMax
	case Min:
		return foldMin, foldMin
	case Prod:
		return foldProd, foldProd
	case L1:
		return foldAbs, foldSum
	case L2, SumSquare:
		return foldSquare, foldSum
	}
	return foldSum, foldSum
}

// engine holds the loops of one element type.
type engine[T number] struct {
	// block reduces at most blockLen elements.
	block [numFolds]func(x []T) T
	// rows does that to each row of n elements, for at least one row; nil: row by row.
	rows [numFolds]func(dst, x []T, n int)
	// step adds a row of elements to a row of lanes: acc[i] = fold(acc[i], x[i]).
	step [numFolds]func(acc, x []T)
	// columns takes rows of columnsOf[T] columns into acc, one row after the other, where there is a
	// kernel; nil: by steps.
	columns [numFolds]columnsFunc[T]
}

type columnsFunc[T number] func(acc, x []T, stride, rows int)

// columnsOf is how many columns a tile has: 256 bytes of them. Those of float64 are its lanes.
func columnsOf[T number]() int {
	var v T
	return 256 / int(unsafe.Sizeof(v))
}

func portableEngine[T number]() *engine[T] {
	return &engine[T]{
		block: [numFolds]func(x []T) T{sumBlock[T], absBlock[T], squareBlock[T], maxBlock[T], minBlock[T], prodBlock[T]},
		step:  portableSteps[T](),
	}
}

func portableSteps[T number]() [numFolds]func(acc, x []T) {
	return [numFolds]func(acc, x []T){sumStep[T], absStep[T], squareStep[T], maxStep[T], minStep[T], prodStep[T]}
}

func engineOf[T number]() *engine[T] {
	if e, ok := any(&current().engine).(*engine[T]); ok {
		return e
	}
	e := portableEngine[T]()
	switch e := any(e).(type) {
	case *engine[float64]:
		e.columns = current().doubles
	case *engine[int32]:
		e.columns = current().ints
	case *engine[int64]:
		e.columns = current().longs
	}
	return e
}

// finish turns the reduced value of n elements into op's result.
func finish[T number](op Op, v T, n int) T {
	switch op {
	case Mean:
		return meanOf(v, n)
	case L2:
		return T(math.Sqrt(float64(v)))
	case LogSum:
		return T(math.Log(float64(v)))
	}
	return v
}

// meanOf divides in a type that holds n: float, or 64-bit integers.
func meanOf[T number](v T, n int) T {
	switch {
	case T(1)/T(2) != 0:
		return v / T(n)
	case n == 0:
		return 0
	case v < 0:
		return T(int64(v) / int64(n))
	}
	return T(uint64(v) / uint64(n))
}
