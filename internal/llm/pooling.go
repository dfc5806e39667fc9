package llm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/llm/arch"
)

// pooling is how the vectors of a text's tokens become one, and how long a text
// may be; 0: as long as the model's context.
type pooling struct {
	kind string // mean, cls or lasttoken
	most int
}

// poolingOfGGUF reads the pooling of a GGUF file, and whether it says any.
func poolingOfGGUF(f *gguf.File, c *arch.Config) (pooling, bool) {
	kinds := []string{"mean", "mean", "cls", "lasttoken", "cls"} // none, mean, CLS, last, rank
	n, err := f.Uint(c.Architecture + ".pooling_type")
	if err != nil || n >= len(kinds) {
		return pooling{kind: "mean"}, false
	}
	return pooling{kind: kinds[n]}, n > 0
}

// poolingOfFolder reads what sentence-transformers writes beside a model: the
// modules that its output goes through. A folder without means the mean.
func poolingOfFolder(path string) (p pooling, err error) {
	p.kind = "mean"
	var modules []struct{ Name, Path, Type string }
	if err := readOptional(path, "modules.json", &modules); err != nil {
		return p, err
	}
	for _, m := range modules {
		switch kind := m.Type[strings.LastIndexByte(m.Type, '.')+1:]; kind {
		case "Transformer", "Normalize": // vectors are normalized in any case
		case "Pooling":
			if !filepath.IsLocal(m.Path) {
				return p, fmt.Errorf("modules.json: path %q is outside of the folder", m.Path)
			}
			if p.kind, err = readPooling(filepath.Join(path, m.Path)); err != nil {
				return p, err
			}
		default:
			return p, fmt.Errorf("modules.json: module %q is not supported, known are Transformer, Pooling and Normalize", m.Type)
		}
	}
	var s struct {
		Most  int  `json:"max_seq_length"`
		Lower bool `json:"do_lower_case"`
	}
	if err := readOptional(path, "sentence_bert_config.json", &s); err != nil {
		return p, err
	}
	if s.Lower {
		return p, errors.New("sentence_bert_config.json: do_lower_case is not supported: expected the tokenizer to do it")
	}
	var c struct {
		Prompt string `json:"default_prompt_name"`
	}
	if err := readOptional(path, "config_sentence_transformers.json", &c); err != nil {
		return p, err
	}
	if c.Prompt != "" {
		return p, fmt.Errorf("config_sentence_transformers.json: default_prompt_name %q is not supported: requests say their own prompts", c.Prompt)
	}
	p.most = s.Most
	return p, nil
}

// readPooling reads which of the modes is set, in its newer form or the older one.
func readPooling(folder string) (string, error) {
	raw, err := readSmall(folder, "config.json")
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: config.json is missing", folder)
	}
	if err != nil {
		return "", err
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return "", fmt.Errorf("%s: config.json: %w", folder, err)
	}
	var set []string
	if mode, ok := fields["pooling_mode"].(string); ok {
		set = append(set, mode)
	}
	for key, v := range fields {
		if mode, ok := strings.CutPrefix(key, "pooling_mode_"); ok && v == true {
			set = append(set, strings.TrimSuffix(strings.TrimSuffix(mode, "_tokens"), "_token"))
		}
	}
	if len(set) == 1 {
		switch set[0] {
		case "mean", "cls", "lasttoken":
			return set[0], nil
		}
	}
	return "", fmt.Errorf("%s: config.json: pooling %q is not supported, expected one of mean, cls and lasttoken", folder, set)
}
