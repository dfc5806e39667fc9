package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// bqFirst is a kernel that multiplies a tile of rows by packed panels, whose groups
// it unpacks on the way.
type bqFirst struct {
	bqAMX
	unpacks *bqUnpack
	locals  Mem
}

// Its registers beside those of bqAMX.
var (
	bqpWrite = R11 // where sums go
	bqpRead  = R12 // and are taken from
	bqpW     = R14 // packed weights
	bqpFetch = RBX // what is prefetched next
	bqpSlot  = R15 // where their values go
)

// Locals. Counters go down to 0. What advances isn't kept in the arguments, since
// the collector looks at pointers there.
const (
	bqlGroups      = iota // left to multiply
	bqlRun                // of the panel
	bqlTaken              // left to take the sums of, of the panel
	bqlPanels             // likewise
	bqlAcc                // results of the panel whose sums are taken
	bqlRewind             // bytes of q of a panel's groups
	bqlRewindShift        // of shifts
	bqlRewindS            // of s
	bqlEnd                // of the ring of values
	bqlUnpack             // groups left to unpack
	bqlUnpackRun          // of the panel
	bqlUnit               // of the superblock
	bqlFetchEnd           // of what is prefetched
	bqlRead               // bytes of packed weights, for which nothing was prefetched yet
	bqlEarly              // less than 0: enough groups are unpacked for the first to be multiplied
	bqlCount
)

const bqpRingBytes = bqxRing << 10

func (k *bqFirst) local(i int) Mem { return k.locals.Offset(8 * i) }

func (k *bqFirst) write() {
	k.text("amxFirst" + k.unpacks.f.name)
	k.locals = AllocLocal(8 * bqlCount)
	k.begin()
	k.count()
	k.unpacks.begin(k.bytes())
	MOVQ(k.arg(bqAcc), bqxTemp)
	k.startResults(bqxTemp, "first")
	JMP(LabelRef("unpack"))
	Label("group")
	DECQ(k.local(bqlGroups))
	JLT(LabelRef("last"))
	k.multiply()
	MOVQ(bqpWrite, bqxTemp)
	SUBQ(bqpRead, bqxTemp)
	ANDQ(U32(bqpRingBytes-1), bqxTemp)
	CMPQ(bqxTemp, U32(bqpRingBytes-1024))
	JLT(LabelRef("taken"))
	Label("take")
	k.takeNext()
	Label("taken")
	k.unpackNext()
	JMP(LabelRef("group"))
	Label("last")
	CMPQ(k.local(bqlGroups), I8(-1))
	JNE(LabelRef("drain"))
	k.storeSums()
	Label("drain")
	CMPQ(bqpRead, bqpWrite)
	JNE(LabelRef("take"))
	k.end()
}

// count sets registers and counters.
func (k *bqFirst) count() {
	set := func(local, arg int) {
		MOVQ(k.arg(arg), bqxTemp)
		MOVQ(bqxTemp, k.local(local))
	}
	MOVQ(U32(bqpRingBytes-1024), bqpWrite) // the first thing stored is no sum
	XORQ(bqpRead, bqpRead)
	set(bqlRun, bqUnits)
	set(bqlTaken, bqUnits)
	set(bqlUnpackRun, bqUnits)
	set(bqlPanels, bqPanels)
	set(bqlAcc, bqAcc)
	MOVQ(k.arg(bqPanels), bqxTemp)
	IMULQ(k.arg(bqUnits), bqxTemp)
	MOVQ(bqxTemp, k.local(bqlGroups))
	MOVQ(bqxTemp, k.local(bqlUnpack))
	for _, x := range []struct{ local, bytes int }{{bqlRewind, k.rowBytes() * k.rows}, {bqlRewindShift, 4 * k.rows}, {bqlRewindS, 4 * k.rows * k.extras()}} {
		IMUL3Q(U32(uint32(x.bytes)), k.arg(bqUnits), bqxTemp)
		MOVQ(bqxTemp, k.local(x.local))
	}
	MOVQ(bqxValues, bqpSlot)
	MOVQ(bqxValues, bqxTemp)
	ADDQ(k.arg(bqRing), bqxTemp)
	MOVQ(bqxTemp, k.local(bqlEnd))
	MOVQ(k.arg(bqW), bqpW)
	k.startFetching()
	MOVQ(U32(8), k.local(bqlUnit))
	MOVQ(U32(1), k.local(bqlEarly))
}

// multiply begins the sums of a group, and stores those of the one before.
func (k *bqFirst) multiply() {
	k.load(bqxValues, 0, bqxB)
	k.loadRows(0, bqxRows)
	k.storeSums()
	k.product(bqxRows, 0)
	ADDQ(U32(uint32(k.rowBytes()*k.rows)), bqxQ)
	k.advance(bqxValues, "multiplied")
	DECQ(k.local(bqlRun))
	JNE(LabelRef("within"))
	MOVQ(k.arg(bqUnits), bqxTemp)
	MOVQ(bqxTemp, k.local(bqlRun))
	SUBQ(k.local(bqlRewind), bqxQ)
	Label("within")
}

// advance moves on to the next group's values, which may be back at the start.
func (k *bqFirst) advance(p GPPhysical, label string) {
	ADDQ(U32(uint32(k.slotBytes())), p)
	CMPQ(p, k.local(bqlEnd))
	JNE(LabelRef(label))
	MOVQ(k.arg(bqValues), p)
	Label(label)
}

// storeSums puts sums into the ring.
func (k *bqFirst) storeSums() {
	LEAQ(Mem{Base: bqxSpill, Index: bqpWrite, Scale: 1}, bqxTemp)
	k.store(bqxTemp, 0)
	ADDQ(U32(1024), bqpWrite)
	ANDQ(U32(bqpRingBytes-1), bqpWrite)
}

// takeNext adds the contribution of the next group.
func (k *bqFirst) takeNext() {
	LEAQ(Mem{Base: bqxSpill, Index: bqpRead, Scale: 1}, bqxTemp)
	k.take(0, func(row int) Mem { return Mem{Base: bqxTemp, Disp: 64 * row} })
	ADDQ(U32(1024), bqpRead)
	ANDQ(U32(bqpRingBytes-1), bqpRead)
	ADDQ(U32(uint32(4*k.rows)), bqxShift)
	if k.extras() > 0 {
		ADDQ(U32(uint32(4*k.rows*k.extras())), bqxS)
	}
	k.advance(bqxScales, "scaled")
	DECQ(k.local(bqlTaken))
	JNE(LabelRef("incomplete"))
	MOVQ(k.local(bqlAcc), bqxTemp)
	k.storeResults(bqxTemp)
	DECQ(k.local(bqlPanels))
	JEQ(LabelRef("incomplete"))
	ADDQ(U32(uint32(64*k.rows)), bqxTemp)
	MOVQ(bqxTemp, k.local(bqlAcc))
	k.startResults(bqxTemp, "next")
	MOVQ(k.arg(bqUnits), bqxTemp)
	MOVQ(bqxTemp, k.local(bqlTaken))
	SUBQ(k.local(bqlRewindShift), bqxShift)
	SUBQ(k.local(bqlRewindS), bqxS)
	Label("incomplete")
}

// unpackNext unpacks a group if there is one left: the one after that which is
// multiplied next, so that its values have reached the cache by then.
func (k *bqFirst) unpackNext() {
	Label("unpack")
	CMPQ(k.local(bqlUnpack), Imm(0))
	JEQ(LabelRef("group"))
	k.fetch()
	k.unpacks.group(&k.bqAMX)
	k.advance(bqpSlot, "unpacked")
	DECQ(k.local(bqlUnpack))
	JEQ(LabelRef("group"))
	super := k.unpacks.f.headerBytes() > 0
	if super {
		DECQ(k.local(bqlUnit))
		JNE(LabelRef("sameunit"))
		MOVQ(U32(8), k.local(bqlUnit))
		SUBQ(Imm(8), k.local(bqlUnpackRun))
	} else {
		DECQ(k.local(bqlUnpackRun))
	}
	JNE(LabelRef("samepanel"))
	MOVQ(k.arg(bqUnits), bqxTemp)
	MOVQ(bqxTemp, k.local(bqlUnpackRun))
	ADDQ(k.arg(bqGap), bqpW)
	Label("samepanel")
	if super {
		k.unpacks.header()
		ADDQ(U32(uint32(k.unpacks.f.headerBytes())), k.local(bqlRead))
		Label("sameunit")
	}
	DECQ(k.local(bqlEarly))
	JGE(LabelRef("unpack"))
}

// While some pages of packed weights are read, lines of the next ones are prefetched into
// the second-level cache, of each page in turn: the processor's own prefetching follows
// each, and goes no farther than 20 lines in a page. Of one page at a time they come at
// half of the rate of memory. A turn takes as many lines as there are pages.
const (
	bqpPage  = 4 << 10
	bqpPages = 4
	bqpTurn  = 64 * bqpPages
	bqpSpan  = bqpPages * bqpPage
)

// startFetching begins where the weights are within some pages.
func (k *bqFirst) startFetching() {
	MOVQ(bqpW, bqxTemp)
	ADDQ(k.arg(bqFetch), bqxTemp)
	MOVQ(bqxTemp, k.local(bqlFetchEnd))
	MOVQ(bqpW, bqxTemp)
	ANDQ(U32(bqpTurn-1), bqxTemp)
	MOVQ(bqxTemp, k.local(bqlRead))
	MOVQ(bqpW, bqxTemp)
	ANDQ(U32(bqpSpan-1), bqxTemp)
	MOVQ(bqpW, bqpFetch)
	SUBQ(bqxTemp, bqpFetch)
	SHRQ(Imm(uint64(bits.Len(bqpTurn-1))), bqxTemp)
	SHLQ(Imm(6), bqxTemp)
	LEAQ(Mem{Base: bqpFetch, Index: bqxTemp, Scale: 1, Disp: bqpSpan}, bqpFetch)
}

// fetch prefetches as much as the next group has.
func (k *bqFirst) fetch() {
	ADDQ(U32(uint32(k.unpacks.f.groupBytes())), k.local(bqlRead))
	Label("fetch")
	CMPQ(k.local(bqlRead), U32(bqpTurn))
	JLT(LabelRef("fetched"))
	SUBQ(U32(bqpTurn), k.local(bqlRead))
	CMPQ(bqpFetch, k.local(bqlFetchEnd))
	JAE(LabelRef("fetched"))
	for i := range bqpPages {
		PREFETCHT1(Mem{Base: bqpFetch, Disp: i * bqpPage})
	}
	ADDQ(Imm(64), bqpFetch)
	TESTQ(U32(bqpPage-1), bqpFetch)
	JNE(LabelRef("fetch"))
	ADDQ(U32(bqpSpan-bqpPage), bqpFetch)
	JMP(LabelRef("fetch"))
	Label("fetched")
}
