// Package lm quantizes language models tensor by tensor: GGUF files or folders
// of transformers in, GGUF files or folders with GPTQ, AWQ or compressed-tensors
// weights out.
//
//	Open        a model as a GGUF file has it; folders are converted
//	Mix         which tensors get which format, such as Q4_K_M
//	Write       rounds and streams a GGUF file
//	Importance  how much each column counts, read, or measured on a text
//	walk.go     runs the model on calibration text, product by product
//
// A model is mapped, never read whole: memory is bounded by the tensors of one
// layer.
package lm
