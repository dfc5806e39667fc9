package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// integerTiles is the part of a kernel that adds up products of bytes in tiles. A
// block is up to 16 rows by 32 columns, or 32 rows where tall: tiles 0 to 3 are its
// sums, 4 and 5 are of A, 6 and 7 of B. Such a kernel finishes a block while the
// tiles add up the next one, since they are different units of a core.
//
// The argument of the kernel is in RDI; RBX, RCX, R12 and R15 are kept. Between
// steps RAX, and R9 without offsets, are free.
type integerTiles struct {
	tall     bool
	multiply func(b, a, c Tmm)

	// between, if there is one, writes what the vector units do in a step; ahead, how
	// what comes next is fetched, if not with the same for each step.
	between, ahead func()

	// Offsets of the argument's fields.
	config, lda, far, offsets, steps, next, nextRuns, sums int
}

// contiguous says that steps follow each other and have no offsets.
const contiguous = -1

const (
	amxColumns = 32             // of a panel
	amxRowSums = 4 * amxColumns // bytes of a row of sums
	amxFetched = 512            // bytes of what comes next, at a time
)

// Registers of integerTiles.
var (
	tilesArg  = reg.RDI
	tilesA    = reg.R11 // row 0 of a step
	tilesB    = reg.RDX // the panel's step
	tilesLDA  = reg.RCX
	tilesLDB  = reg.RBX
	tilesFar  = reg.R12 // from row 0 to row 16
	tilesNext = reg.R15
)

func (k *integerTiles) arg(off int) Mem { return Mem{Base: tilesArg, Disp: off} }

// begin loads the argument and configures the tiles.
func (k *integerTiles) begin(param string) {
	Load(Param(param), tilesArg)
	MOVQ(k.arg(k.config), reg.RAX)
	LDTILECFG(At{Base: reg.RAX})
	MOVQ(k.arg(k.lda), tilesLDA)
	MOVQ(k.arg(k.far), tilesFar)
	MOVQ(k.arg(k.next), tilesNext)
	MOVQ(U32(amxRowSums), tilesLDB)
}

// eachSum does something with the sums.
func (k *integerTiles) eachSum(do func(i Tmm)) {
	do(0)
	do(1)
	if k.tall {
		do(2)
		do(3)
	}
}

// add adds the products of all steps to the sums.
func (k *integerTiles) add() {
	a, offsets, steps := reg.RAX, reg.R9, reg.R10
	if k.offsets != contiguous {
		MOVQ(k.arg(k.offsets), offsets)
	}
	MOVQ(k.arg(k.steps), steps)
	TESTQ(steps, steps)
	JEQ(LabelRef("added"))
	Label("step")
	if k.offsets != contiguous {
		MOVQ(Mem{Base: offsets}, a)
		ADDQ(tilesA, a)
		ADDQ(Imm(8), offsets)
	} else {
		MOVQ(tilesA, a)
		ADDQ(Imm(64), tilesA)
	}
	TILELOADD(At{Base: a, Index: tilesLDA}, 4)
	TILELOADD(At{Base: tilesB, Index: tilesLDB}, 6)
	k.multiply(6, 4, 0)
	TILELOADD(At{tilesB, tilesLDB, 64}, 7)
	k.multiply(7, 4, 1)
	if k.tall {
		ADDQ(tilesFar, a)
		TILELOADD(At{Base: a, Index: tilesLDA}, 5)
		k.multiply(6, 5, 2)
		k.multiply(7, 5, 3)
	}
	if k.ahead != nil {
		k.ahead()
	} else {
		k.fetch(a)
	}
	ADDQ(U32(16*amxRowSums), tilesB)
	if k.between != nil {
		k.between()
	}
	DECQ(steps)
	JNE(LabelRef("step"))
	Label("added")
}

// fetch brings some of what comes next into the second-level cache.
func (k *integerTiles) fetch(runs reg.GPPhysical) {
	TESTQ(tilesNext, tilesNext)
	JEQ(LabelRef("fetched"))
	MOVQ(k.arg(k.nextRuns), runs)
	Label("fetch")
	for i := range amxFetched / 64 {
		PREFETCHT1(Mem{Base: tilesNext, Disp: 64 * i})
	}
	ADDQ(U32(amxFetched), tilesNext)
	DECQ(runs)
	JNE(LabelRef("fetch"))
	Label("fetched")
}

// store brings the sums to memory.
func (k *integerTiles) store() {
	MOVQ(k.arg(k.sums), reg.RAX)
	k.eachSum(func(i Tmm) {
		TILESTORED(i, At{reg.RAX, tilesLDB, 16*amxRowSums*int32(i/2) + 64*int32(i%2)})
	})
}

// locals makes words on the stack.
func locals(m ...*Mem) {
	for _, m := range m {
		*m = AllocLocal(8)
	}
}

// moveLocal copies a word.
func moveLocal(from, to Mem) {
	MOVQ(from, reg.RAX)
	MOVQ(reg.RAX, to)
}
