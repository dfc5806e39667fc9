package token

import (
	"github.com/salver-ml/salver/internal/token/pattern"
	"github.com/salver-ml/salver/internal/token/pretokenize"
)

// preTokenizer is what a name in tokenizer.ggml.pre stands for.
type preTokenizer struct {
	cuts []string // patterns, each applied to what the ones before left

	whole          bool // words that are pieces are not merged
	wholeBreaks    bool // line breaks that are pieces are not merged
	ranks          bool // merges follow from the order of pieces
	marks          bool // characters, not bytes, with SentencePiece's mark for blanks
	addBOS, addSep bool
}

// steps compiles the patterns.
func (p *preTokenizer) steps() (steps []pretokenize.Step, err error) {
	for _, expr := range p.cuts {
		compiled, err := pattern.Compile(expr, pattern.Perl)
		if err != nil {
			return nil, err
		}
		steps = append(steps, pretokenize.Regexp{Pattern: compiled})
	}
	return steps, nil
}

// The patterns that several pre-tokenizers share: how words, numbers,
// punctuation and white space are told apart.
const (
	contractions = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	breaks       = `\s*[\r\n]+|\s+(?!\S)|\s+`

	cutGPT2    = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`
	cutLlama3  = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|` + breaks
	cutQwen2   = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|` + breaks
	cutQwen35  = contractions + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|` + breaks
	upperLower = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`
	upperOnly  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`
	cutGPT4o   = upperLower + contractions + `?|` + upperOnly + contractions + `?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|` + breaks
	cutYoutu   = upperLower + contractions + `?|` + upperOnly + contractions + `?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|` + breaks
	cutTekken  = upperLower + `|` + upperOnly + `|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|` + breaks
	cutWords   = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|" +
		`[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+`
	cutDeepSeek3 = cutWords + `[\r\n]*|` + breaks
	cutKana      = `[一-龥぀-ゟ゠-ヿ]+`
	cutThrees    = `\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))`
	cutBloom     = ` ?[^(\s|.,!?…。，、।۔،)]+`
	cutLines     = `[^\n]+|[\n]+`

	upperLowerNotHan = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+`
	upperOnlyNotHan  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*`
	cutKimi          = `\p{Han}+|` + upperLowerNotHan + contractions + `?|` + upperOnlyNotHan + contractions + `?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|` + breaks

	cutLatin = `\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+`
	cutAsian = `[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+`
)

// preTokenizers are the known names in tokenizer.ggml.pre.
var preTokenizers = map[string]preTokenizer{}

func init() {
	add := func(p preTokenizer, names ...string) {
		for _, n := range names {
			preTokenizers[n] = p
		}
	}
	cut := func(cuts ...string) preTokenizer { return preTokenizer{cuts: cuts} }

	add(cut("[\\p{P}\\$\\+<=>\\^~\\|]+", cutGPT2, `\p{N}+`, `[0-9][0-9][0-9]`), "default")
	add(cut(cutGPT2), "gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "exaone4",
		"mpt", "olmo", "jais", "trillion", "granite-docling")
	add(preTokenizer{cuts: []string{cutGPT2}, addSep: true}, "jina-v1-en", "jina-v2-code", "roberta-bpe")
	add(cut(`\p{N}`, cutGPT2), "starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2")
	add(cut("[\\p{P}\\$\\+<=>\\^~\\|`]+", cutGPT2, `[0-9][0-9][0-9]`), "falcon")

	add(preTokenizer{cuts: []string{cutLlama3}, whole: true, addBOS: true}, "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano")
	add(cut(cutLlama3), "dbrx", "smaug-bpe")
	add(preTokenizer{cuts: []string{cutLlama3}}, "chatglm-bpe")
	add(preTokenizer{cuts: []string{cutLlama3}, whole: true}, "glm4", "glm5")
	add(cut(contractions+`|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|`+
		`\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s`), "jais-2")
	add(preTokenizer{cuts: []string{`\p{N}{1,3}`, contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|` + breaks}, whole: true}, "minicpm5")

	add(cut(cutQwen2), "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2")
	add(cut(cutQwen35), "qwen35")
	add(cut(`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|`+breaks), "ufakzeka")
	add(cut(contractions+`|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|`+breaks), "seed-coder")
	add(cut(cutLines, cutQwen2), "laguna")
	add(cut(contractions+`|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`), "exaone-moe")
	add(cut(`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`), "bailingmoe", "bailingmoe2", "llada-moe")

	add(cut(cutGPT4o), "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2")
	add(preTokenizer{cuts: []string{cutGPT4o}, whole: true}, "granite-embed-multi-97m")
	add(cut(`\d{1,3}(?=(?:\d{3})*\b)`, cutGPT4o), "tiny_aya", "cohere2moe")
	add(preTokenizer{cuts: []string{cutTekken}, whole: true, addBOS: true}, "tekken")
	add(preTokenizer{cuts: []string{`[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|` + cutKana, cutYoutu}, whole: true}, "youtu")
	add(preTokenizer{cuts: []string{cutKimi}, whole: true, ranks: true}, "kimi-k2")

	add(cut(`[\r\n]`, cutLatin, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, `[一-龥ࠀ-一가-퟿]+`, `\p{N}+`), "deepseek-llm")
	add(cut(`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, `[一-龥ࠀ-一가-퟿]+`, `\p{N}`), "deepseek-coder")
	add(cut(`\p{N}{1,3}`, cutKana, cutDeepSeek3), "deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4")
	add(cut(`\p{N}{1,3}`, cutKana, cutWords+`|[\r\n]|\s+(?!\S)|\s+`, `\p{N}`), "spark2_5")
	add(cut(cutThrees, cutAsian, cutDeepSeek3), "afmoe")

	add(cut(cutBloom), "poro-chat", "bloom", "gpt3-finnish")
	add(cut(cutBloom, `\p{N}`), "viking")
	add(cut(`\p{N}+`, `(?=(\d{3})+(?!\d))`), "superbpe")
	add(preTokenizer{cuts: []string{`<sentinel:[0-9]+>`, `(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`, `([\t\n]|    |  )`, `\p{N}`, "[\\p{P}!-/:-@\\[-`{-~]", cutGPT2}, addBOS: true}, "chameleon")
	add(preTokenizer{cuts: []string{cutLines}, marks: true, wholeBreaks: true, addBOS: true}, "gemma4", "granite-embed-multi-311m")
	add(preTokenizer{cuts: []string{cutLines}, marks: true}, "sarvam-moe")
}
