package token

import (
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/token/model"
)

// endNames are tokens that end what a model generates, whatever its file calls
// its EOS token: the ends of turns, messages and texts. Those with plain names
// count only where the file says that they are special.
var endNames = []string{
	"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|calls|>", "<|flush|>",
	"<end_of_turn>", "<turn|>", "<|endoftext|>", "<|end_of_text|>", "<|end_of_turn|>", "<|END_OF_TURN_TOKEN|>",
	"<end_of_utterance>", "<｜end▁of▁sentence｜>", "<|eos|>", "</s>", "<eos>", "[EOS]", "[EOT]", "<EOT>", "[e~[",
}

// setEnds sets the tokens that end generation: those of ids that are there,
// and those that are known by name. All of them become special.
func (t *Tokenizer) setEnds(ids []int32) {
	t.eos = slices.DeleteFunc(ids, func(id int32) bool { return id == model.None })
	has := func(name string) bool {
		id := t.vocab.ID(name)
		return id != model.None && (t.special[id] || strings.Contains(name, "|") || strings.Contains(name, "_") || strings.Contains(name, "｜"))
	}
	for _, name := range endNames {
		switch {
		case !has(name):
		case name == "<|end|>" && (has("<|return|>") || has("<|flush|>")):
			// In these formats it ends one of several messages of a turn.
		default:
			t.eos = append(t.eos, t.vocab.ID(name))
		}
	}
	seen := map[int32]bool{}
	t.eos = slices.DeleteFunc(t.eos, func(id int32) bool {
		double := seen[id]
		seen[id] = true
		return double
	})
	for _, id := range t.eos {
		t.special[id] = true
	}
}

// setAdded makes the finders of added tokens. Their texts are looked for as they
// are, or, where the token says so, in normalized form.
func (t *Tokenizer) setAdded(tokens []addedToken) (err error) {
	t.forms = map[int32]string{}
	var raw, normalized []addedToken
	var rawTexts, normalizedTexts []string
	for _, token := range tokens {
		token.Special = token.Special || t.special[token.ID]
		if !token.Normalized {
			raw, rawTexts = append(raw, token), append(rawTexts, token.Content)
			continue
		}
		form := token.Content
		if t.normalize != nil {
			form = t.normalize(form)
		}
		normalized, normalizedTexts = append(normalized, token), append(normalizedTexts, form)
		if form != token.Content {
			t.forms[token.ID] = form
		}
	}
	if t.raw, err = newAdded(raw, rawTexts); err == nil {
		t.normalized, err = newAdded(normalized, normalizedTexts)
	}
	return err
}

// strips sets which tokens take the white space beside them: GGUF files don't
// say, so that it goes by the name of the model.
func (g *ggufMeta) strips(tokens []addedToken) {
	name, _ := g.meta["general.name"].(string)
	name = strings.ToLower(name)
	arch, _ := g.meta["general.architecture"].(string)
	pre, _ := g.meta[keyPrefix+"pre"].(string)
	mask := ""
	switch {
	case strings.HasPrefix(pre, "jina-v2-"), arch == "nomic-bert-moe", arch == "jina-bert-v3":
		mask = "<mask>"
	case strings.Contains(name, "phi-3"), strings.Contains(name, "phi3"):
		for i := range tokens {
			plain := slices.Contains([]string{"<unk>", "<s>", "<|endoftext|>"}, tokens[i].Content)
			tokens[i].RStrip = !plain
		}
	case strings.Contains(name, "modern-bert"):
		mask = "[MASK]"
	}
	for i := range tokens {
		tokens[i].LStrip = tokens[i].LStrip || mask != "" && tokens[i].Content == mask
	}
}
