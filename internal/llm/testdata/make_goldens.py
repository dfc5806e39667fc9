"""Writes the goldens beside it: what transformers makes of small random models.

    pip install torch transformers
    python make_goldens.py [NAME...]

The weights are not stored. Their numbers follow from their names (see `numbers`),
so that the Go test makes the same ones. A golden has the model's config.json, the
names and shapes of its tensors, a prompt, the greedy continuation, and the
logarithms of all tokens' probabilities at some positions, in float32.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

VOCABULARY, PROMPT, ANSWER = 64, 40, 6


def numbers(name, count):
    """Uniform numbers from -1 to 1: splitmix64 of the name's FNV-1a hash and the index."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & (1 << 64) - 1
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def weight(name, shape):
    """Matrices keep the size of what they multiply, norms are about 1, biases small."""
    v = numbers(name, int(np.prod(shape))).reshape(shape)
    if len(shape) == 1:
        return np.float32(0.25) * v + np.float32("norm" in name.lower() or ".ln_" in name)
    return v * np.float32(2) / np.sqrt(np.float32(shape[-1]))


BASE = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, vocab_size=VOCABULARY,
            max_position_embeddings=64, bos_token_id=None, eos_token_id=None, pad_token_id=None)
LONGROPE = dict(BASE, original_max_position_embeddings=32, rope_parameters={
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.3, 1.4], "long_factor": [1.0, 1.5, 2.5, 4.0]})
GPT2 = dict(n_embd=32, n_layer=3, n_head=4, vocab_size=VOCABULARY, n_positions=64, bos_token_id=None, eos_token_id=None)
BERT = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, vocab_size=VOCABULARY, max_position_embeddings=66)
ROPE = {"rope_theta": 10000.0}
EXPERTS = dict(BASE, moe_intermediate_size=24, num_experts_per_tok=2)

MODELS = {
    "llama": ("llama", dict(BASE, tie_word_embeddings=True)),
    "llama-biases": ("llama", dict(BASE, attention_bias=True, mlp_bias=True, head_dim=16)),
    "llama3": ("llama", dict(BASE, rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                                    "original_max_position_embeddings": 32})),
    "llama-linear": ("llama", dict(BASE, rope_parameters=dict(ROPE, rope_type="linear", factor=4.0))),
    "llama-yarn": ("llama", dict(BASE, rope_parameters=dict(ROPE, rope_type="yarn", factor=4.0, original_max_position_embeddings=16))),
    "llama-yarn-fractions": ("llama", dict(BASE, rope_parameters=dict(ROPE, rope_type="yarn", factor=4.0, original_max_position_embeddings=16, truncate=False))),
    "llama-dynamic": ("llama", dict(BASE, rope_parameters=dict(ROPE, rope_type="dynamic", factor=4.0))),
    "mistral": ("mistral", dict(BASE, sliding_window=20)),
    "qwen2": ("qwen2", dict(BASE, use_sliding_window=True, sliding_window=20, max_window_layers=1)),
    "qwen3": ("qwen3", dict(BASE, head_dim=16)),
    "gemma": ("gemma", dict(BASE, head_dim=16)),
    "gemma2": ("gemma2", dict(BASE, head_dim=16, sliding_window=20, query_pre_attn_scalar=16, attn_logit_softcapping=5.0, final_logit_softcapping=3.0)),
    "gemma2-scaled": ("gemma2", dict(BASE, num_hidden_layers=2, head_dim=16, sliding_window=20, query_pre_attn_scalar=24, layer_types=["full_attention", "sliding_attention"])),
    "gemma3": ("gemma3_text", dict(BASE, num_hidden_layers=7, head_dim=16, sliding_window=20, query_pre_attn_scalar=16,
                                   rope_parameters={"sliding_attention": dict(ROPE, rope_type="default"), "full_attention": dict(rope_theta=1e6, rope_type="linear", factor=8.0)})),
    "gemma3-vision": ("gemma3", dict(  # its text part
        text_config=dict(BASE, head_dim=16, sliding_window=20, query_pre_attn_scalar=24, layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
        vision_config=dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14, vision_use_head=False), mm_tokens_per_image=4)),
    "phi3": ("phi3", dict(BASE, sliding_window=20, rope_parameters=dict(ROPE, rope_type="default", partial_rotary_factor=0.5))),
    "phi3-long": ("phi3", LONGROPE),
    "phi3-short": ("phi3", LONGROPE),  # a prompt within the original context
    "mixtral": ("mixtral", dict(BASE, num_local_experts=5, num_experts_per_tok=2)),
    "qwen2_moe": ("qwen2_moe", dict(EXPERTS, num_experts=5, shared_expert_intermediate_size=40, mlp_only_layers=[1])),
    "qwen3_moe": ("qwen3_moe", dict(EXPERTS, num_experts=5, norm_topk_prob=True, head_dim=16)),
    "gpt2": ("gpt2", GPT2),
    "bert": ("bert", BERT),
    "roberta": ("roberta", dict(BERT, type_vocab_size=1, pad_token_id=1)),
    "bert-rerank": ("bert", dict(BERT, num_labels=1)),
    "xlm-roberta-rerank": ("xlm-roberta", dict(BERT, type_vocab_size=1, pad_token_id=1, num_labels=1)),
}


def build(kind, settings):
    config = AutoConfig.for_model(kind, **settings)
    if "num_labels" in settings:
        config.architectures = [{"bert": "Bert", "xlm-roberta": "XLMRoberta"}[kind] + "ForSequenceClassification"]
        model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    elif kind in ("bert", "roberta"):
        model = AutoModel.from_config(config, attn_implementation="eager")
    else:
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return model.eval().float()


def fill(model, folder):
    """Gives the model its weights by the names of its file, and returns their shapes."""
    from safetensors.numpy import load_file, save_file

    model.save_pretrained(folder)
    path = Path(folder) / "model.safetensors"
    tensors = {name: weight(name, t.shape) for name, t in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return type(model).from_pretrained(folder, attn_implementation="eager").eval().float(), {name: list(t.shape) for name, t in tensors.items()}


def rounded(values):
    return [float(f"{v:.6g}") for v in values.tolist()]


def decoder(model, golden, prompt):
    ids = [int(v) for v in (numbers("prompt", prompt) + 1) / 2 * (VOCABULARY - 1)]
    golden["prompt"], golden["answer"] = list(ids), []
    for _ in range(ANSWER):
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
        golden["answer"].append(int(logits[-1].argmax()))
        ids.append(golden["answer"][-1])
    # float64 after the model: the test's own rounding is not the model's.
    logprobs = torch.log_softmax(logits.double(), -1)
    golden["positions"] = [p for p in (0, 5, 17) if p < prompt] + [prompt // 2, prompt - 1, prompt + 2, prompt + 4]
    golden["logprobs"] = [rounded(logprobs[p]) for p in golden["positions"]]


def encoder(model, golden):
    texts = [[2, 17, 9, 40, 5, 3], [2, 33, 3], [2] + [int(v) for v in (numbers("text", 40) + 1) * 25 + 8] + [3]]
    golden["texts"], golden["vectors"] = texts, []
    for ids in texts:
        out = model(torch.tensor([ids]))
        golden["vectors"].append(rounded(out.last_hidden_state[0].double().mean(0)))


def reranker(model, golden):
    bert = model.config.model_type == "bert"
    query, golden["scores"] = [17, 9, 40, 5], []
    golden["query"], golden["documents"] = query, [[33, 12], [8, 50, 51, 52, 9], [20]]
    for d in golden["documents"]:
        ids = [2] + query + [3] + ([] if bert else [3]) + d + [3]
        types = [0] * (len(query) + 2) + [1] * (len(d) + 1) if bert else [0] * len(ids)
        golden["scores"].append(float(torch.sigmoid(model(torch.tensor([ids]), token_type_ids=torch.tensor([types])).logits[0, 0])))


@torch.no_grad()
def main():
    import tempfile

    here = Path(__file__).parent
    for name in sys.argv[1:] or MODELS:
        kind, settings = MODELS[name]
        with tempfile.TemporaryDirectory() as folder:
            model, shapes = fill(build(kind, settings), folder)
            golden = {"config": json.loads((Path(folder) / "config.json").read_text()), "tensors": shapes}
        if "num_labels" in settings:
            reranker(model, golden)
        elif kind in ("bert", "roberta"):
            encoder(model, golden)
        else:
            decoder(model, golden, 20 if name == "phi3-short" else PROMPT)
        lines = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items())
        (here / f"{name}.json").write_text("{\n" + lines + "\n}\n")
        print(name)


main()
