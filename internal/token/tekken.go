package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// tekken is the form in which Mistral writes tokenizers of its own, tekken.json: a list of
// ranks like tiktoken's, behind the special tokens.
type tekken struct {
	Config struct {
		Pattern string `json:"pattern"`
		Size    int    `json:"default_vocab_size"` // of both
		Special int    `json:"default_num_special_tokens"`
	} `json:"config"`
	Vocab []struct {
		Rank  int    `json:"rank"`
		Bytes []byte `json:"token_bytes"`
	} `json:"vocab"`
	Special []struct {
		Rank    int    `json:"rank"`
		Text    string `json:"token_str"`
		Control bool   `json:"is_control"`
	} `json:"special_tokens"`
}

// tekkenSpecial are the special tokens of files that do not list them.
var tekkenSpecial = []string{
	"<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]",
	"[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
}

// fromTekken reads tekken.json. A text gets <s> unless tokenizer_config.json says otherwise.
func fromTekken(data []byte, c *config) (*Tokenizer, error) {
	var f tekken
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	special, used := f.Config.Special, f.Config.Size-f.Config.Special
	switch {
	case f.Config.Pattern == "":
		return nil, errors.New("config.pattern says nothing of how text is cut")
	case special < 0 || used < 1 || used > len(f.Vocab):
		return nil, fmt.Errorf("config has %d tokens, %d of them special, and vocab %d: expected at least as many as are not special, and one of these", f.Config.Size, special, len(f.Vocab))
	case special > 1<<16:
		return nil, fmt.Errorf("config.default_num_special_tokens is %d, expected at most %d", special, 1<<16)
	}
	tokens, err := f.special(special)
	if err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, t := range tokens {
		if taken[t.Content] {
			return nil, fmt.Errorf("two special tokens are %q", t.Content)
		}
		taken[t.Content] = true
	}
	texts := make([]string, f.Config.Size)
	for i, v := range f.Vocab[:used] {
		if v.Rank != i || len(v.Bytes) == 0 || taken[string(v.Bytes)] {
			return nil, fmt.Errorf("vocab[%d] has the rank %d and the text %q, expected its place in the list and a text that no special token has", i, v.Rank, v.Bytes)
		}
		texts[special+i] = string(v.Bytes)
	}
	own := *c
	own.tokens = map[string]string{"bos_token": "<s>", "eos_token": "</s>"}
	maps.Copy(own.tokens, c.tokens)
	if own.addBOS == nil {
		yes := true
		own.addBOS = &yes
	}
	return fromRanks(texts, tokens, f.Config.Pattern, &own)
}

// special gives so many special tokens; those without a text are fillers.
func (f *tekken) special(n int) ([]addedToken, error) {
	tokens := make([]addedToken, n)
	for i := range tokens {
		tokens[i] = addedToken{ID: int32(i), Content: fmt.Sprintf("<SPECIAL_%d>", i), Special: true}
		if f.Special == nil && i < len(tekkenSpecial) {
			tokens[i].Content = tekkenSpecial[i]
		}
	}
	for i, s := range f.Special {
		if s.Rank < 0 || s.Rank >= n || s.Text == "" {
			return nil, fmt.Errorf("special_tokens[%d] has the rank %d and the text %q, expected some text and less than %d", i, s.Rank, s.Text, n)
		}
		tokens[s.Rank].Content, tokens[s.Rank].Special = s.Text, s.Control
	}
	return tokens, nil
}
