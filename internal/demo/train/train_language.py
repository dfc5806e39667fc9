"""Trains the demo's language models: a small Llama, and a smaller one that drafts for it.

    python train_language.py --minutes 40 --out ../models

writes tiny-chat.gguf and tiny-chat-draft.gguf, and conversations.txt to calibrate a
quantizer with. A byte-level BPE vocabulary of 1,024 tokens is learned from the same
text; weights are in Q8_0, norms in F32, and there is a chat template.
It needs torch, tokenizers and gguf, and a processor: no GPU.
"""
import argparse
import math
import os
import random
import time

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

import smalltalk

END, USER, ASSISTANT, SYSTEM = "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
SPECIAL = ["<|pad|>", END, USER, ASSISTANT, SYSTEM]
TEMPLATE = ("{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")
CONTEXT = 512
SIZES = {"tiny-chat": dict(dim=128, layers=4, heads=4, kv=2, ffn=384), "tiny-chat-draft": dict(dim=64, layers=2, heads=2, kv=1, ffn=192)}


def vocabulary(texts):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1024, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


def encode(t, turns):
    """Ids of a conversation, and which of them the model is to learn: the answers."""
    ids, learn = [], []
    for i, text in enumerate(turns):
        role = t.token_to_id(USER if i % 2 == 0 else ASSISTANT)
        body = t.encode(text).ids + [t.token_to_id(END)]
        ids += [role] + body
        learn += [False] + [i % 2 == 1] * len(body)
    return ids, learn


class Rope:
    def __init__(self, dim):
        f = 10000. ** (-torch.arange(0, dim, 2).float() / dim)
        a = torch.outer(torch.arange(CONTEXT).float(), f)
        self.cos, self.sin = a.cos(), a.sin()

    def __call__(self, x):  # [batch, heads, time, dim], pairs next to each other
        t = x.shape[2]
        a, b = x[..., 0::2], x[..., 1::2]
        c, s = self.cos[:t], self.sin[:t]
        return torch.stack((a * c - b * s, b * c + a * s), -1).flatten(-2)


class Block(nn.Module):
    def __init__(self, dim, heads, kv, ffn, rope, **_):
        super().__init__()
        self.heads, self.kv, self.size, self.rope = heads, kv, dim // heads, rope
        self.n1, self.n2 = nn.RMSNorm(dim, eps=1e-5), nn.RMSNorm(dim, eps=1e-5)
        self.q, self.k, self.v = nn.Linear(dim, dim, False), nn.Linear(dim, kv * self.size, False), nn.Linear(dim, kv * self.size, False)
        self.o = nn.Linear(dim, dim, False)
        self.gate, self.up, self.down = nn.Linear(dim, ffn, False), nn.Linear(dim, ffn, False), nn.Linear(ffn, dim, False)

    def forward(self, x):
        b, t, _ = x.shape
        h = self.n1(x)
        split = lambda y, n: y.view(b, t, n, self.size).transpose(1, 2)
        q, k, v = self.rope(split(self.q(h), self.heads)), self.rope(split(self.k(h), self.kv)), split(self.v(h), self.kv)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(a.transpose(1, 2).reshape(b, t, -1))
        h = self.n2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self, vocab, dim, layers, **sizes):
        super().__init__()
        rope = Rope(dim // sizes["heads"])
        self.embed = nn.Embedding(vocab, dim)
        self.blocks = nn.ModuleList(Block(dim, rope=rope, **sizes) for _ in range(layers))
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=.02)

    def forward(self, ids, wanted=...):
        x = self.embed(ids)
        for b in self.blocks:
            x = b(x)
        return F.linear(self.norm(x[wanted]), self.embed.weight)


def corpus(t, seed, conversations):
    """One long row of whole conversations, and which of its tokens are to be learnt."""
    r = random.Random(seed)
    ids, learn = [], []
    for _ in range(conversations):
        i, l = encode(t, smalltalk.conversation(r))
        ids.extend(i)
        learn.extend(l)
    return torch.tensor(ids), torch.tensor(learn)


def calibration(path, seed, conversations):
    """Writes conversations as the chat template does, one a line."""
    r = random.Random(seed)
    with open(path, "w") as f:
        for _ in range(conversations):
            turns = smalltalk.conversation(r)
            print("".join((ASSISTANT if i % 2 else USER) + text + END for i, text in enumerate(turns)), file=f)


def batch(text, rows, length):
    ids, learn = text
    at = torch.randint(len(ids) - length - 1, (rows, 1)) + torch.arange(length + 1)
    return ids[at], learn[at]


def train(name, t, text, minutes, seed):
    torch.manual_seed(seed)
    model = Llama(t.get_vocab_size(), **SIZES[name])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(.9, .95), weight_decay=.05)
    start, step, shown = time.time(), 0, 0.
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        for g in optimizer.param_groups:
            g["lr"] = 3e-3 * min(1, (step + 1) / 100) * (.02 + .98 * .5 * (1 + math.cos(math.pi * done)))
        ids, learn = batch(text, 16, 160)
        learn = learn[:, 1:]
        loss = F.cross_entropy(model(ids[:, :-1], learn), ids[:, 1:][learn])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimizer.step()
        step += 1
        if time.time() - shown > 30:
            shown = time.time()
            print(f"{name}: {100 * done:.0f} %, step {step}, loss {loss.item():.4f}", flush=True)
    return model


@torch.no_grad()
def right(model, t, seed, n=200):
    """The share of held-out questions, stories left out, that are answered to the letter."""
    r, good, asked = random.Random(seed), 0, 0
    while asked < n:
        q, a = smalltalk.question(r)
        if len(a) > 60 or q.split()[0] in ("Who", "How", "Are", "What") and "I am" in a or "welcome" in a or "thank you" in a:
            continue
        ids, _ = encode(t, [q])
        ids.append(t.token_to_id(ASSISTANT))
        out = []
        while len(out) < 40 and (not out or out[-1] != t.token_to_id(END)):
            out.append(model(torch.tensor([ids + out]))[0, -1].argmax().item())
        good += t.decode([i for i in out if i != t.token_to_id(END)]) == a
        asked += 1
    return good / n


def write(path, name, model, t):
    size = SIZES[name]
    w = gguf.GGUFWriter(path, "llama")
    w.add_name(name)
    w.add_author("the salver project")
    w.add_license("Apache-2.0")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(size["dim"])
    w.add_block_count(size["layers"])
    w.add_feed_forward_length(size["ffn"])
    w.add_head_count(size["heads"])
    w.add_head_count_kv(size["kv"])
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(size["dim"] // size["heads"])
    w.add_rope_freq_base(10000.)
    w.add_vocab_size(t.get_vocab_size())
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    pieces = [t.id_to_token(i) for i in range(t.get_vocab_size())]
    w.add_token_list(pieces)
    w.add_token_types([gguf.TokenType.CONTROL if p in SPECIAL else gguf.TokenType.NORMAL for p in pieces])
    import json
    merges = json.loads(t.to_str())["model"]["merges"]
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    w.add_eos_token_id(t.token_to_id(END))
    w.add_pad_token_id(0)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)
    names = {"embed.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
    for i in range(size["layers"]):
        for ours, theirs in {"n1": "attn_norm", "n2": "ffn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output",
                             "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}.items():
            names[f"blocks.{i}.{ours}.weight"] = f"blk.{i}.{theirs}.weight"
    for ours, p in model.state_dict().items():
        x = p.numpy().astype(np.float32)
        if x.ndim == 1:
            w.add_tensor(names[ours], x)
        else:
            w.add_tensor(names[ours], gguf.quants.quantize(x, gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--minutes", type=float, default=40, help="of training the larger model; the smaller one takes a quarter")
    p.add_argument("--out", default="../models")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    r = random.Random(a.seed + 1000)
    t = vocabulary("\n".join(smalltalk.conversation(r)) for _ in range(20000))
    text = corpus(t, a.seed, 60000)
    calibration(os.path.join(a.out, "conversations.txt"), a.seed + 3000, 600)
    print(f"{len(text[0])} tokens", flush=True)
    for name, share in (("tiny-chat-draft", .25), ("tiny-chat", 1.)):
        model = train(name, t, text, a.minutes * share, a.seed)
        model.eval()
        path = os.path.join(a.out, name + ".gguf")
        write(path, name, model, t)
        print(f"{path}: {os.path.getsize(path)} bytes, {sum(x.numel() for x in model.parameters())} parameters, {100 * right(model, t, a.seed + 2000):.1f} % of held-out questions right", flush=True)


if __name__ == "__main__":
    main()
