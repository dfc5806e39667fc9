// Package ptq quantizes ONNX graphs after training.
//
// Static quantization has three steps, so that the second, which runs the model,
// is done once for any number of the third:
//
//	Prepare    brings the graph into the form that is quantized
//	Calibrate  sees activations on samples
//	Apply      makes a quantized copy of the graph
package ptq
