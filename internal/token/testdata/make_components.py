"""Writes components.json: small tokenizers of every kind of component, and what
the tokenizers library makes of some texts with them.

    pip install tokenizers==0.23.3
    python make_components.py > components.json
"""
import json
from tokenizers import AddedToken, Regex, Tokenizer, decoders as D, models as M, normalizers as N, pre_tokenizers as P, processors as X, trainers as T

TEXTS = [
    "Hello, world!  It's   1234 o'clock.",
    " leading and trailing ",
    "a\tb\r\nc\n\n  d",
    "Größe Äpfel ﬁn ½ Ⅷ İstanbul ΑΣ",
    "日本語と한국어 mixed中文x",
    "👍🏽 e\u0301 n\u0303 \u200b\ufeffz",
    "x2y33z444 3.14-15_16",
    "\u00a0nbsp\u3000wide\u2028sep",
    "<s> [MASK] mask <s>Hello</s>  [MASK]",
    "aaaa---bbb...",
    "▁under▁score",
    "",
    " ",
]


def bpe(normalizer=None, pre=None, decoder=None, post=None, alphabet=None, added=(), edit=None, **model):
    t = Tokenizer(M.BPE(**model))
    if normalizer: t.normalizer = normalizer
    if pre: t.pre_tokenizer = pre
    if decoder: t.decoder = decoder
    trainer = T.BpeTrainer(vocab_size=400, min_frequency=1, show_progress=False, special_tokens=["<unk>"], initial_alphabet=alphabet or [],
                           **{k: v for k, v in model.items() if k in ("continuing_subword_prefix", "end_of_word_suffix")})
    t.train_from_iterator(TEXTS, trainer)
    if post: t.post_processor = post
    t.add_tokens(list(added))
    return rebuilt(t, edit)


def rebuilt(t, edit):
    j = json.loads(t.to_str())
    if edit: edit(j)
    return j


def unigram(edit=None, pre=None, **trainer):
    t = Tokenizer(M.Unigram())
    t.pre_tokenizer = pre or P.Metaspace()
    t.decoder = D.Metaspace()
    t.train_from_iterator(TEXTS * 3, T.UnigramTrainer(vocab_size=150, show_progress=False, special_tokens=["<unk>"], unk_token="<unk>", **trainer))
    return rebuilt(t, edit)


def wordpiece(normalizer, pre=None, **kw):
    t = Tokenizer(M.WordPiece(unk_token="[UNK]", **kw))
    t.normalizer, t.pre_tokenizer, t.decoder = normalizer, pre or P.BertPreTokenizer(), D.WordPiece()
    t.train_from_iterator(TEXTS, T.WordPieceTrainer(vocab_size=200, min_frequency=1, show_progress=False, special_tokens=["[UNK]", "[CLS]", "[SEP]"]))
    t.post_processor = X.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return rebuilt(t, None)


def fallback(j):
    vocab = j["model"]["vocab"]
    for a in j["added_tokens"]: vocab.setdefault(a["content"], a["id"])
    for b in range(256): vocab["<0x%02X>" % b] = len(vocab)
    j["model"]["byte_fallback"] = True
    j["model"]["fuse_unk"] = True


def without(chars):
    """Takes characters, and all that is made of them, out of a vocabulary."""
    def edit(j):
        m = j["model"]
        bad = lambda s: any(c in s for c in chars)
        m["merges"] = [x for x in m["merges"] if not bad(x[0] + x[1])]
        kept = [k for k in sorted(m["vocab"], key=m["vocab"].get) if not bad(k)]
        m["vocab"] = {k: i for i, k in enumerate(kept)}
        for i, a in enumerate(j["added_tokens"]): a["id"] = m["vocab"].get(a["content"], len(kept) + i)
    return edit


def both(*edits):
    def edit(j):
        for e in edits: e(j)
    return edit


def setting(**kw):
    return lambda j: j["model"].update(kw)


SPECIAL = [AddedToken("<s>", special=True, normalized=False), AddedToken("</s>", special=True, normalized=False)]
MASK = AddedToken("[MASK]", lstrip=True, rstrip=True, special=True)
GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

ws = P.WhitespaceSplit()
cases = {
    "plain": lambda: bpe(unk_token="<unk>"),
    "no decoder": lambda: bpe(pre=ws),
    "byte level": lambda: bpe(pre=P.ByteLevel(add_prefix_space=False), decoder=D.ByteLevel(), alphabet=P.ByteLevel.alphabet()),
    "byte level, prefix": lambda: bpe(pre=P.ByteLevel(add_prefix_space=True), decoder=D.ByteLevel(), alphabet=P.ByteLevel.alphabet(), added=SPECIAL),
    "byte level, gaps in the alphabet": lambda: bpe(pre=P.ByteLevel(add_prefix_space=False), decoder=D.ByteLevel()),
    "byte level, gaps and unknown": lambda: bpe(pre=P.ByteLevel(add_prefix_space=False), decoder=D.ByteLevel(), unk_token="<unk>", edit=without("xĠ")),
    "byte level as a normalizer": lambda: bpe(normalizer=N.ByteLevel(), decoder=D.ByteLevel(), alphabet=P.ByteLevel.alphabet()),
    "byte level before digits": lambda: bpe(pre=P.Sequence([P.ByteLevel(add_prefix_space=False), P.Digits(individual_digits=True)]), decoder=D.ByteLevel(), alphabet=P.ByteLevel.alphabet()),
    "gpt-4": lambda: bpe(pre=P.Sequence([P.Split(Regex(GPT4), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)]), decoder=D.ByteLevel(), alphabet=P.ByteLevel.alphabet(), edit=setting(ignore_merges=True)),
    "ignore merges": lambda: bpe(pre=ws, edit=lambda j: j["model"].update(ignore_merges=True, merges=j["model"]["merges"][:5])),
    "split removed": lambda: bpe(pre=P.Split(Regex(r"\s+"), "removed")),
    "split previous": lambda: bpe(pre=P.Split(Regex(r"\p{P}|\s"), "merged_with_previous")),
    "split next": lambda: bpe(pre=P.Split(Regex(r"\p{P}|\s"), "merged_with_next")),
    "split contiguous": lambda: bpe(pre=P.Split(Regex(r"\p{P}|\s"), "contiguous")),
    "split inverted": lambda: bpe(pre=P.Split(Regex(r"\w+"), "removed", invert=True)),
    "split inverted previous": lambda: bpe(pre=P.Split(Regex(r"[\p{L}&&[^a-m]]+|^\d|\d$"), "merged_with_previous", invert=True)),
    "split at nothing": lambda: bpe(pre=P.Split(Regex(r"(?=(\d{2})+(?!\d))"), "isolated")),
    "split repeated bound": lambda: bpe(pre=P.Split(Regex(r"\p{N}{1,2}+|."), "isolated")),
    "split lines": lambda: bpe(pre=P.Split(Regex(r"^.|.$|(?m:x.)"), "isolated")),
    "split string": lambda: bpe(pre=P.Split("a.", "isolated")),
    "split lookbehind": lambda: bpe(pre=P.Split(Regex(r"(?<=[a-z])(?=\d)|(?<!\d)4"), "isolated")),
    "whitespace": lambda: bpe(pre=P.Whitespace()),
    "digits": lambda: bpe(pre=P.Digits(individual_digits=False)),
    "digits one by one": lambda: bpe(pre=P.Digits(individual_digits=True)),
    "punctuation": lambda: bpe(pre=P.Punctuation("contiguous")),
    "delimiter": lambda: bpe(pre=P.CharDelimiterSplit("a")),
    "scripts": lambda: bpe(pre=P.UnicodeScripts()),
    "scripts of words": lambda: bpe(pre=P.Sequence([P.WhitespaceSplit(), P.UnicodeScripts(), P.Digits(individual_digits=True)])),
    "fixed length": lambda: bpe(pre=P.FixedLength(3)),
    "metaspace": lambda: bpe(pre=P.Metaspace(), decoder=D.Metaspace(), added=SPECIAL),
    "metaspace first": lambda: bpe(pre=P.Metaspace(prepend_scheme="first"), decoder=D.Metaspace(prepend_scheme="first"), added=SPECIAL),
    "metaspace never": lambda: bpe(pre=P.Metaspace(prepend_scheme="never"), decoder=D.Metaspace(prepend_scheme="never"), added=SPECIAL),
    "metaspace whole": lambda: bpe(pre=P.Metaspace(split=False), decoder=D.Metaspace(split=False)),
    "llama": lambda: bpe(normalizer=N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), unk_token="<unk>", added=SPECIAL, edit=both(without("日👍"), fallback),
                         decoder=D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])),
    "unknown, fused": lambda: bpe(pre=ws, unk_token="<unk>", edit=both(without("lo1日"), setting(fuse_unk=True))),
    "unknown, apart": lambda: bpe(pre=ws, unk_token="<unk>", edit=without("lo1日")),
    "unknown, none": lambda: bpe(pre=ws, edit=without("lo1日")),
    "suffix": lambda: bpe(pre=ws, end_of_word_suffix="</w>", decoder=D.BPEDecoder("</w>")),
    "prefix": lambda: bpe(pre=ws, continuing_subword_prefix="##", decoder=D.WordPiece()),
    "nfc": lambda: bpe(normalizer=N.NFC(), pre=ws),
    "nfd, accents": lambda: bpe(normalizer=N.Sequence([N.NFD(), N.StripAccents()]), pre=ws),
    "nfkc, lower": lambda: bpe(normalizer=N.Sequence([N.NFKC(), N.Lowercase()]), pre=ws),
    "nfkd": lambda: bpe(normalizer=N.NFKD(), pre=ws),
    "nmt": lambda: bpe(normalizer=N.Nmt()),
    "strip": lambda: bpe(normalizer=N.Strip()),
    "replace": lambda: bpe(normalizer=N.Sequence([N.Replace(Regex(r" {2,}"), "·"), N.Replace("l", "L$1")])),
    "added": lambda: bpe(normalizer=N.Lowercase(), pre=ws, added=SPECIAL + [MASK, AddedToken("Hello", single_word=True), AddedToken("mask", single_word=True, normalized=False), AddedToken("O", lstrip=True)]),
    "added, in blanks": lambda: bpe(pre=ws, added=[AddedToken(" ", rstrip=True, normalized=False), AddedToken("\r\n", lstrip=True, rstrip=True, normalized=False), AddedToken("45", lstrip=True, single_word=True, normalized=False)]),
    "added, in two passes": lambda: bpe(pre=ws, added=[AddedToken("2y", normalized=False), AddedToken("x2"), AddedToken(" w"), AddedToken(",", rstrip=True, normalized=False)]),
    "split words": lambda: bpe(pre=P.Split(Regex(r"[^\w\s]|[\h]{2}"), "isolated")),
    "roberta": lambda: bpe(pre=P.ByteLevel(add_prefix_space=False), decoder=D.ByteLevel(), alphabet=P.ByteLevel.alphabet(), post=X.RobertaProcessing(("<unk>", 0), ("H", 44))),
    "post sequence": lambda: bpe(pre=ws, post=X.Sequence([X.BertProcessing(("a", 5), ("b", 6)), X.TemplateProcessing(single="x:0 y $A", special_tokens=[("x", 7), ("y", 8)])])),
    "ctc": lambda: bpe(decoder=D.CTC(pad_token="-", word_delimiter_token="a")),
    "strip decoder": lambda: bpe(pre=ws, decoder=D.Sequence([D.Strip("a", 1, 0), D.Replace("l", "LL")])),
    "strip decoder, ends": lambda: bpe(decoder=D.Sequence([D.Fuse(), D.Strip(" ", 0, 1)])),
    "bert": lambda: wordpiece(N.BertNormalizer()),
    "bert cased": lambda: wordpiece(N.BertNormalizer(lowercase=False, strip_accents=True, handle_chinese_chars=False)),
    "wordpiece, short words": lambda: wordpiece(N.BertNormalizer(clean_text=False), pre=ws, max_input_chars_per_word=5),
    "unigram": lambda: unigram(),
    "unigram, bytes": lambda: unigram(edit=lambda j: (j["model"]["vocab"].extend([["<0x%02X>" % b, -20.5] for b in range(256)]), j["model"].update(byte_fallback=True))),
    "unigram, unknown": lambda: unigram(edit=lambda j: j["model"].update(vocab=[v for v in j["model"]["vocab"] if not any(c in v[0] for c in "lo日本")])),
    "word level": lambda: {**bpe(pre=ws), "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<unk>": 0, "Hello,": 1, "b": 2, "x2y33z444": 3}}},
}

out = []
for name, make in cases.items():
    j = make()
    t = Tokenizer.from_str(json.dumps(j))
    ids = [t.encode(x).ids for x in TEXTS]
    plain = [t.encode(x, add_special_tokens=False).ids for x in TEXTS]
    out.append({"name": name, "tokenizer": j, "ids": ids, "plain": plain if plain != ids else None, "decoded": [t.decode(i) if i else "" for i in ids]})
print('{"texts":', json.dumps(TEXTS) + ',\n"cases":[')
print(",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in out))
print("]}")
