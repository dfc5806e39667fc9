package op

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
)

// RefusedError is the error of an operator that is known and left out on
// purpose, as opposed to one that is not supported.
type RefusedError struct{ Node, Reason string }

// Error names the node and the reason.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: refused: %s", e.Node, e.Reason)
}

const (
	generation = "it is a whole text generation loop; serve the decoder itself, the server generates"
	training   = "it belongs to training"
	mapTypes   = "its input is a map, which no tensor holds; export the pipeline from the vector on that it makes of the map"
)

// refused says why operators are left out, by domain and name; an empty name
// stands for the whole domain.
var refused = map[key]string{
	{"com.microsoft.nchwc", ""}:        "onnxruntime's optimizer wrote it for the processor that it ran on; save the model at a lower optimization level than layout",
	{"com.microsoft.experimental", ""}: "its domain is experimental",
	{"ai.onnx.preview", ""}:            "its domain is a preview",
	{"ai.onnx.training", ""}:           training,
	{"ai.onnx.preview.training", ""}:   training,
	{Microsoft, "EPContext"}:           "it holds what one vendor's compiler made for one device; use the model that it was made from",
	{Microsoft, "BeamSearch"}:          generation,
	{Microsoft, "WhisperBeamSearch"}:   generation,
	{Microsoft, "GreedySearch"}:        generation,
	{Microsoft, "Sampling"}:            generation,
	{Microsoft, "YieldOp"}:             training,
	{Microsoft, "BitmaskDropoutGrad"}:  training,
	{Microsoft, "DropoutGrad"}:         training,
	{Microsoft, "GeluGrad"}:            training,
	{ML, "CastMap"}:                    mapTypes,
	{ML, "DictVectorizer"}:             mapTypes,
}

// refusal gives the error of an operator that is left out on purpose, or nil.
func refusal(n *ir.Node) error {
	for _, k := range []key{{n.Domain, n.Op}, {n.Domain, ""}} {
		if why, ok := refused[k]; ok {
			return &RefusedError{n.String(), why}
		}
	}
	return nil
}
