package llm

import (
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/token"
)

// Files is a model's file or folder that is open, but not prepared to run.
type Files struct{ src *source }

// OpenFiles reads what a model's file or folder says, and maps its weights.
func OpenFiles(path string) (*Files, error) {
	src, err := open(path)
	if err != nil {
		return nil, err
	}
	return &Files{src}, nil
}

// Config is what the model says of its dimensions.
func (f *Files) Config() *arch.Config { return f.src.config }

// Architecture is the model's family.
func (f *Files) Architecture() *arch.Architecture { return f.src.arch }

// Weights are the tensors, where they lie in the mapped files.
func (f *Files) Weights() arch.Weights { return f.src.weights }

// Tokenizer is the model's.
func (f *Files) Tokenizer() *token.Tokenizer { return f.src.tokenizer }

// ChatTemplate is the text of the model's own, or "".
func (f *Files) ChatTemplate() string { return f.src.template }

// Ends are the tokens that end an answer.
func (f *Files) Ends() []int32 { return f.src.ends }

// Release lets the system take back the memory of the mapped pages.
func (f *Files) Release() { f.src.release() }

// Close unmaps the files.
func (f *Files) Close() error { return f.src.close() }
