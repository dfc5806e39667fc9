package op

import (
	"slices"
	"strconv"

	"github.com/salver-ml/salver/internal/ir"
)

// ZipMap is the operator of ai.onnx.ml that names the columns of scores.
const ZipMap = "ZipMap"

// IsZipMap reports whether n is one. What it computes is a tensor here, and in
// files a sequence of maps.
func IsZipMap(n *ir.Node) bool { return n != nil && n.Domain == ML && n.Op == ZipMap }

// ClassLabels are the names of the classes whose scores v holds, a column each,
// where a ZipMap gives them; otherwise nil.
func ClassLabels(v *ir.Value) []string {
	if !IsZipMap(v.Producer) {
		return nil
	}
	labels := slices.Clone(v.Producer.Strs("classlabels_strings"))
	for _, n := range v.Producer.Ints("classlabels_int64s") {
		labels = append(labels, strconv.Itoa(n))
	}
	return labels
}
