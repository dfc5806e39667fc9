package onnx

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// foreign lists formats of other frameworks by their first bytes, with the
// command that exports such a model to ONNX.
var foreign = []struct {
	name   string
	offset int
	magic  string
	export string
}{
	{"a ZIP archive: a PyTorch checkpoint (.pt, .pth), an exported program (.pt2) or a TorchServe archive (.mar)", 0, "PK\x03\x04",
		"in Python, torch.onnx.export(model.eval(), args, \"model.onnx\", dynamo=True); unpack a .mar first"},
	{"a TensorFlow Lite model", 4, "TFL3", "python -m tf2onnx.convert --tflite model.tflite --output model.onnx"},
	{"an HDF5 file, probably a Keras model", 0, "\x89HDF\r\n\x1a\n", fromKeras},
	{"a TensorRT engine", 0, "ptrt", "keep the ONNX file that trtexec --onnx read: an engine cannot be converted back"},
	{"a TensorRT engine", 0, "ftrt", "keep the ONNX file that trtexec --onnx read: an engine cannot be converted back"},
	{"an OpenVINO model (XML)", 0, "<?xml", "export the source model to ONNX; OpenVINO IR cannot be converted back"},
	{"a gzip archive", 0, "\x1f\x8b", "unpack it first"},
	{"a JSON file", 0, "{", "give the .onnx file itself"},
}

// fromKeras makes ONNX of a model that Keras can load.
const fromKeras = "in Python, model.export(\"saved\") and then python -m tf2onnx.convert --saved-model saved --output model.onnx"

// isKeras: a ZIP archive (APPNOTE 4.3.7) whose first file is of Keras 3.
func isKeras(b []byte) bool {
	const name = 30 // where it stands
	return len(b) > name && bytes.HasPrefix(b, []byte("PK\x03\x04")) &&
		(bytes.HasPrefix(b[name:], []byte("metadata.json")) || bytes.HasPrefix(b[name:], []byte("config.json")))
}

// recognise refuses files of other formats, saying how to get an ONNX model.
func recognise(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("not an ONNX model: the file is empty")
	}
	if isKeras(b) {
		return fmt.Errorf("this is a Keras model, not ONNX; export it: %s", fromKeras)
	}
	for _, f := range foreign {
		if len(b) >= f.offset+len(f.magic) && string(b[f.offset:f.offset+len(f.magic)]) == f.magic {
			return fmt.Errorf("this is %s, not ONNX; export it: %s", f.name, f.export)
		}
	}
	switch {
	case b[0] == 0x80 && len(b) > 1 && b[1] >= 2 && b[1] <= 5:
		return fmt.Errorf("this is a Python pickle (a PyTorch checkpoint?), not ONNX, and pickles run code when read; export it: torch.onnx.export(model.eval(), args, \"model.onnx\", dynamo=True)")
	case bytes.HasPrefix(b, []byte("GGUF")):
		return fmt.Errorf("this is a GGUF file, not ONNX: language models are taken by the commands serve, run, bench, perplexity and tokenize")
	case isSavedModel(b):
		return errSavedModel
	case bytes.HasPrefix(b, []byte("version https://git-lfs")):
		return fmt.Errorf("this is a pointer of Git LFS, not the model itself; fetch that: git lfs pull")
	case b[0] == '<':
		return fmt.Errorf("this is a page or document (%q…), not ONNX: a download that went wrong? Fetch the .onnx file itself", b[:min(len(b), 15)])
	case len(b) > 9 && b[8] == '{' && b[6] == 0 && b[7] == 0:
		return fmt.Errorf("this is a safetensors file: weights without a graph; of a language model give the folder that has config.json beside it, and export others to ONNX: optimum-cli export onnx --model FOLDER OUTPUT")
	}
	return nil
}

var errSavedModel = errors.New("this is a TensorFlow SavedModel, not ONNX; export it: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx")

// isSavedModel: saved_model.pb begins with saved_model_schema_version = 1 and
// then a MetaGraphDef, whose first field is a MetaInfoDef. In an ONNX file that
// would be IR version 1, which is not read, and a producer with a line feed.
func isSavedModel(b []byte) bool {
	if len(b) < 5 || b[0] != 0x08 || b[1] != 0x01 || b[2] != 0x12 {
		return false
	}
	_, n := protowire.ConsumeVarint(b[3:])
	return n > 0 && len(b) > 3+n && b[3+n] == 0x0a || bytes.Contains(b[:min(len(b), 1<<16)], []byte("saved_model"))
}
