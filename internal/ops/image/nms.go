package image

import (
	"cmp"
	"fmt"
	"slices"

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

// overlap is the intersection over the union.
func (b box) overlap(o box) float32 {
	w, h := min(b.x2, o.x2)-max(b.x1, o.x1), min(b.y2, o.y2)-max(b.y1, o.y1)
	if w <= 0 || h <= 0 || b.area() <= 0 || o.area() <= 0 {
		return 0
	}
	inner := float32(w * h)
	return inner / (b.area() + o.area() - inner)
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
	all := make([]box, n)
	var found []int64
	for b := range boxes.Shape[0] {
		for i := range all {
			all[i] = newBox(v[(b*n+i)*4:][:4], c.Node.Bool("center_point_box"))
		}
		for class := range classes {
			for _, i := range suppress(all, s[(b*classes+class)*n:][:n], limits) {
				found = append(found, int64(b), int64(class), int64(i))
			}
		}
	}
	copy(tensor.Of[int64](c.Output(0, dtype.Int64, len(found)/3, 3)), found)
	return nil
}

// suppress takes boxes by falling score, of equal ones the first, unless they
// overlap one that is taken.
func suppress(all []box, scores []float32, l nmsLimits) []int {
	var order []int
	for i, s := range scores {
		if !l.hasScore || s > l.score {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	var taken []int
	for _, i := range order {
		if len(taken) >= l.most {
			break
		}
		if !slices.ContainsFunc(taken, func(t int) bool { return all[i].overlap(all[t]) > l.overlap }) {
			taken = append(taken, i)
		}
	}
	return taken
}
