package image

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "NonMaxSuppression", Versions: []int{10, 11}, Doc: "the best boxes of each class that do not overlap better ones",
		In:    op.Ports("boxes:float32", "scores:float32", "max_output_boxes_per_class:int64?", "iou_threshold:float32?", "score_threshold:float32?"),
		Out:   op.Ports("selected_indices:int64"),
		Attrs: op.Attrs{"center_point_box": op.Default(ir.Int(0))},
		Infer: func(c *op.Infer) error {
			c.Set(0, dtype.Int64, shape.Shape{shape.Unknown(), shape.Const(3)})
			return nil
		},
		Ref: nmsRef, Cases: nmsCases{},
	})
}

// box is a rectangle by its corners, lowest first.
type box struct{ x1, y1, x2, y2 float32 }

// newBox reads y1, x1, y2, x2 of two opposite corners, or x, y, width, height
// around the centre.
func newBox(v []float32, centre bool) box {
	if centre {
		w, h := v[2]/2, v[3]/2
		return box{v[0] - w, v[1] - h, v[0] + w, v[1] + h}
	}
	return box{min(v[1], v[3]), min(v[0], v[2]), max(v[1], v[3]), max(v[0], v[2])}
}

func (b box) area() float32 { return (b.x2 - b.x1) * (b.y2 - b.y1) }

// A sizedBox is a box and its area.
type sizedBox struct {
	box
	size float32
}

// overlap is the intersection over the union.
func (b *sizedBox) overlap(o *sizedBox) float32 {
	// Most boxes are beside each other, who knows on which side: one branch. Where a coordinate is NaN
	// the rest decides, as min and max keep it.
	if atMost(b.x2, o.x1)|atMost(o.x2, b.x1)|atMost(b.y2, o.y1)|atMost(o.y2, b.y1) != 0 {
		return 0
	}
	w, h := min(b.x2, o.x2)-max(b.x1, o.x1), min(b.y2, o.y2)-max(b.y1, o.y1)
	if w <= 0 || h <= 0 || b.size <= 0 || o.size <= 0 {
		return 0
	}
	inner := float32(w * h)
	return inner / (float32(b.size+o.size) - inner)
}

// atMost is 1 where a ≤ b, else 0.
func atMost(a, b float32) int {
	if a <= b {
		return 1
	}
	return 0
}

type nmsLimits struct {
	most     int
	overlap  float32
	score    float32
	hasScore bool
}

func newNMSLimits(c *op.Call) (l nmsLimits, err error) {
	for i := 2; i < 5; i++ {
		if t := c.Input(i); t != nil && t.Len() != 1 {
			return l, fmt.Errorf("input %d: expected one element, found %s", i, t)
		}
	}
	if t := c.Input(2); t != nil {
		l.most = int(max(tensor.Of[int64](t)[0], 0))
	}
	if t := c.Input(3); t != nil {
		if l.overlap = tensor.Of[float32](t)[0]; l.overlap < 0 || l.overlap > 1 {
			return l, fmt.Errorf("iou_threshold is %v, expected 0 to 1", l.overlap)
		}
	}
	if t := c.Input(4); t != nil {
		l.score, l.hasScore = tensor.Of[float32](t)[0], true
	}
	return l, nil
}

func nmsRef(c *op.Call) error {
	boxes, scores := c.In[0], c.In[1]
	if boxes.Rank() != 3 || scores.Rank() != 3 || boxes.Shape[2] != 4 || boxes.Shape[0] != scores.Shape[0] || boxes.Shape[1] != scores.Shape[2] {
		return fmt.Errorf("expected boxes [batch,n,4] and scores [batch,classes,n], found %s and %s", boxes, scores)
	}
	limits, err := newNMSLimits(c)
	if err != nil {
		return err
	}
	n, classes := boxes.Shape[1], scores.Shape[1]
	v, s := tensor.Of[float32](boxes), tensor.Of[float32](scores)
	k := &suppression{limits: limits, n: n, classes: classes, corners: v, centre: c.Node.Bool("center_point_box"), scores: s, taken: make([][]int32, boxes.Shape[0]*classes)}
	c.Pool.Run(len(k.taken), k)
	total := 0
	for _, taken := range k.taken {
		total += len(taken)
	}
	out := tensor.Of[int64](c.Output(0, dtype.Int64, total, 3))
	for i, taken := range k.taken {
		for _, at := range taken {
			out[0], out[1], out[2] = int64(i/classes), int64(i%classes), int64(at)
			out = out[3:]
		}
	}
	return nil
}

// suppression chooses the boxes of each class of each image.
type suppression struct {
	limits     nmsLimits
	n, classes int
	corners    []float32 // of all images
	centre     bool      // as newBox has it
	scores     []float32
	taken      [][]int32 // class by class
}

// Do chooses those of one class; it is called by the pool. It takes boxes by falling
// score, of equal ones the first, unless they overlap one that is taken.
func (k *suppression) Do(i int) {
	l := &k.limits
	if l.most == 0 {
		return
	}
	order := k.ranked(k.scores[i*k.n:][:k.n])
	order.build()
	corners := k.corners[i/k.classes*k.n*4:][:k.n*4]
	var taken []int32
	var boxes []sizedBox // that are taken
next:
	for len(order) > 0 && len(taken) < l.most {
		at := order.take()
		b := sizedBox{box: newBox(corners[at*4:][:4], k.centre)}
		b.size = b.area()
		for t := range boxes {
			if b.overlap(&boxes[t]) > l.overlap {
				continue next
			}
		}
		taken, boxes = append(taken, int32(at)), append(boxes, b)
	}
	k.taken[i] = taken
}

// ranked lists the boxes whose scores are beyond the limit.
func (k *suppression) ranked(scores []float32) bestFirst {
	if !k.limits.hasScore {
		order := make(bestFirst, len(scores))
		for at, s := range scores {
			order[at] = rankOf(s, at)
		}
		return order
	}
	const piece = 64
	var (
		order   bestFirst
		passed  [piece]bool
		limit   = []float32{k.limits.score}
		greater = elemwise.CompareRow(elemwise.Greater)
	)
	for at := 0; at < len(scores); at += piece {
		n := min(piece, len(scores)-at)
		greater(passed[:n], scores[at:at+n], limit, 1, 0)
		clear(passed[n:])
		for j := 0; j < piece; j += 8 {
			set := binary.LittleEndian.Uint64((*[8]byte)(unsafe.Pointer(&passed[j]))[:])
			for ; set != 0; set &= set - 1 {
				at := at + j + bits.TrailingZeros64(set)/8
				order = append(order, rankOf(scores[at], at))
			}
		}
	}
	return order
}

// rankOf orders by falling score, a NaN last, then by place: greater is better.
func rankOf(score float32, at int) uint64 {
	key := uint32(0)
	if score == score {
		bits := math.Float32bits(score + 0) // no -0
		key = bits ^ (uint32(int32(bits)>>31) | 1<<31)
	}
	return uint64(key)<<32 | uint64(math.MaxUint32-uint32(at))
}

// bestFirst is a heap, since most of the boxes are never asked for.
type bestFirst []uint64

func (h bestFirst) build() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}

func (h bestFirst) sink(i int) {
	v := h[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1] > h[child] {
			child++
		}
		if h[child] <= v {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = v
}

// take removes the best and gives its place.
func (h *bestFirst) take() int {
	v := *h
	best, last := v[0], len(v)-1
	v[0] = v[last]
	if *h = v[:last]; last > 0 {
		h.sink(0)
	}
	return int(math.MaxUint32 - uint32(best))
}
