package image

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(op.Op{
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

// overlap is the intersection over the union; area and areaO are those of b and o.
func (b *box) overlap(o *box, area, areaO float32) float32 {
	w, h := min(b.x2, o.x2)-max(b.x1, o.x1), min(b.y2, o.y2)-max(b.y1, o.y1)
	if w <= 0 || h <= 0 || area <= 0 || areaO <= 0 {
		return 0
	}
	inner := float32(w * h)
	return inner / (float32(area+areaO) - inner)
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
	k := &suppression{limits: limits, n: n, classes: classes, scores: s, boxes: make([]box, boxes.Shape[0]*n), areas: make([]float32, boxes.Shape[0]*n), taken: make([][]int32, boxes.Shape[0]*classes)}
	for i := range k.boxes {
		k.boxes[i] = newBox(v[i*4:][:4], c.Node.Bool("center_point_box"))
		k.areas[i] = k.boxes[i].area()
	}
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
	limits        nmsLimits
	n, classes    int
	boxes         []box // of all images
	areas, scores []float32
	taken         [][]int32 // class by class
}

// Do chooses those of one class; it is called by the pool. It takes boxes by falling
// score, of equal ones the first, unless they overlap one that is taken.
func (k *suppression) Do(i int) {
	l := &k.limits
	if l.most == 0 {
		return
	}
	boxes, areas := k.boxes[i/k.classes*k.n:][:k.n], k.areas[i/k.classes*k.n:][:k.n]
	order := make(bestFirst, 0, k.n)
	for at, s := range k.scores[i*k.n:][:k.n] {
		if !l.hasScore || s > l.score {
			order = append(order, rankOf(s, at))
		}
	}
	order.build()
	var taken []int32
next:
	for len(order) > 0 && len(taken) < l.most {
		at := order.take()
		for _, t := range taken {
			if boxes[at].overlap(&boxes[t], areas[at], areas[t]) > l.overlap {
				continue next
			}
		}
		taken = append(taken, int32(at))
	}
	k.taken[i] = taken
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
