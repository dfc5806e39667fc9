// Package report says what a quantizer did to each layer, why, and what it cost
// in accuracy and won in size and time.
package report

import (
	"github.com/salver-ml/salver/internal/quant"
	"github.com/salver-ml/salver/internal/quant/calib"
)

// Report is about one model.
type Report struct {
	Model  string `json:"model"`
	Method string `json:"method"` // static, dynamic, weight-only, gptq, awq, …
	// Calibrator, Samples: how ranges were chosen and from how much; of static quantization.
	Calibrator string   `json:"calibrator,omitempty"`
	Samples    int      `json:"samples,omitempty"`
	Steps      []string `json:"steps,omitempty"` // taken to win accuracy back, with what they found
	Layers     []Layer  `json:"layers"`          // in the order in which the model computes them
	Warnings   []string `json:"warnings,omitempty"`

	BytesBefore int64 `json:"bytes_before"` // of the model's weights
	BytesAfter  int64 `json:"bytes_after"`
	// Measures are figures of the whole model by name: sqnr_db, top1_before,
	// top1_after, kld, perplexity_before, seconds_before, seconds_after.
	Measures map[string]float64 `json:"measures,omitempty"`
}

// Layer is a node with weights, or one whose activations were quantized.
type Layer struct {
	Name      string  `json:"name"`
	Op        string  `json:"op"`
	Precision string  `json:"precision"`        // int8, int4 g128, float32, Q4_K, …
	Reason    string  `json:"reason,omitempty"` // why it was left, raised or changed
	Bits      float64 `json:"bits,omitempty"`   // for each weight, with scales
	SQNR      float64 `json:"sqnr_db"`          // of its weights, or what Method says
	// Output: SQNR of its output in the quantized model, with the errors of all layers before it.
	Output *float64 `json:"output_sqnr_db,omitempty"`
	// Alone: SQNR of the model's outputs if this layer alone is quantized, and its
	// part in the noise of all layers measured so.
	Alone *float64 `json:"alone_sqnr_db,omitempty"`
	Share float64  `json:"share,omitempty"`
	// Input: what the activation that it reads was mapped to.
	Range     *quant.Range     `json:"range,omitempty"`
	Scale     float32          `json:"scale,omitempty"`
	Zero      int32            `json:"zero_point,omitempty"`
	Histogram *calib.Histogram `json:"histogram,omitempty"`
}
