"""What OpenAI's own client makes of the server at argv[1], whose models are fakes: see clients_test.go."""
import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
hi = [{"role": "user", "content": "say hi"}]
tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def equal(got, want):
    assert got == want, f"{got!r}, expected {want!r}"


def refused(kind, call, **fields):
    try:
        call()
    except kind as e:
        for name, want in fields.items():
            equal(getattr(e, name), want)
    else:
        raise AssertionError(f"no {kind.__name__}")


equal([m.id for m in client.models.list().data], ["broken", "e", "full", "m"])
equal(client.models.retrieve("m").owned_by, "salver")

# Chats, whole and in pieces.
a = client.chat.completions.create(model="m", messages=hi, n=2, seed=3, stop=["?"], logprobs=True, top_logprobs=2, user="u", metadata={"a": "b"}, store=False, service_tier="auto")
equal([c.message.content for c in a.choices], ["say hi to you", "say hi to you!"])
equal([c.finish_reason for c in a.choices], ["stop", "stop"])
equal(len(a.choices[0].logprobs.content), 13)
equal(len(a.choices[0].logprobs.content[0].top_logprobs), 2)
equal(a.usage.total_tokens, a.usage.prompt_tokens + a.usage.completion_tokens)
equal(a.usage.completion_tokens, 27)
pieces = list(client.chat.completions.create(model="m", messages=hi, stream=True, stream_options={"include_usage": True}, max_completion_tokens=6))
equal(pieces[0].choices[0].delta.role, "assistant")
equal("".join(p.choices[0].delta.content or "" for p in pieces if p.choices), "say hi")
equal([p.choices[0].finish_reason for p in pieces if p.choices][-1], "length")
equal(pieces[-1].usage.completion_tokens, 6)
with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "call"}], tools=tools) as s:
    for _ in s:
        pass
    m = s.get_final_completion().choices[0].message
equal((m.tool_calls[0].function.name, json.loads(m.tool_calls[0].function.arguments), m.content), ("f", {"x": 1}, ""))
equal(m.reasoning_content, "hm")
m = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "call"}], tools=tools, tool_choice="auto").choices[0].message
equal((m.tool_calls[0].type, m.tool_calls[0].function.name, m.reasoning_content), ("function", "f", "hm"))
a = client.chat.completions.create(model="m", tools=tools, messages=[
    {"role": "user", "content": "call"}, m, {"role": "tool", "tool_call_id": m.tool_calls[0].id, "content": [{"type": "text", "text": "42"}]}])
equal(a.choices[0].message.content, "it is 42")

# Texts.
a = client.completions.create(model="m", prompt=["say hi", "say ho"], echo=True, logprobs=1)
equal([c.text for c in a.choices], ["say hi hi", "say ho ho"])
equal(a.choices[0].logprobs.token_logprobs[0], None)
equal("".join(a.choices[0].logprobs.tokens), "<s>say hi hi")
equal("".join(p.choices[0].text for p in client.completions.create(model="m", prompt="say hi", stream=True)), " hi")

# Responses, whole and as events.
r = client.responses.create(model="m", instructions="be brief", input="say hi", store=False)
equal((r.output_text, r.status, r.usage.input_tokens > 0), ("say hi to you", "completed", True))
with client.responses.stream(model="m", input=[{"role": "user", "content": "call"}], tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}]) as s:
    kinds = [e.type for e in s]
    r = s.get_final_response()
equal(kinds[0], "response.created")
equal(kinds[-1], "response.completed")
assert "response.reasoning_text.delta" in kinds and "response.function_call_arguments.done" in kinds, kinds
equal([i.type for i in r.output], ["reasoning", "function_call"])
call = r.output[1]
equal((call.name, json.loads(call.arguments)), ("f", {"x": 1}))
r = client.responses.create(model="m", input=[{"role": "user", "content": "call"}, *r.output, {"type": "function_call_output", "call_id": call.call_id, "output": "42"}])
equal(r.output_text, "it is 42")
r = client.responses.create(model="m", input="say hi", max_output_tokens=3)
equal((r.status, r.incomplete_details.reason, r.output_text), ("incomplete", "max_output_tokens", "say"))
r = client.responses.create(model="m", input="say hi", include=["message.output_text.logprobs"], top_logprobs=2)
equal("".join(l.token for l in r.output[0].content[0].logprobs), r.output_text)
equal(len(r.output[0].content[0].logprobs[0].top_logprobs), 2)

# Vectors; the client asks for base64 by itself.
equal([e.embedding for e in client.embeddings.create(model="e", input=["ab", "c"]).data], [[3, 256, 0, 0], [2, 256, 0, 0]])
equal(client.embeddings.create(model="e", input="ab", encoding_format="float").data[0].embedding, [3, 256, 0, 0])

# Errors are of the client's kinds.
refused(openai.NotFoundError, lambda: client.chat.completions.create(model="nobody", messages=hi), code="model_not_found", param="model")
refused(openai.BadRequestError, lambda: client.completions.create(model="m", prompt="x" * 3000), code="context_length_exceeded", status_code=400)
refused(openai.BadRequestError, lambda: client.chat.completions.create(model="m", messages=hi, response_format={"type": "json_object"}), param="response_format")
refused(openai.BadRequestError, lambda: client.chat.completions.create(model="m", messages=hi, extra_body={"top_q": 1}), param="top_q")
refused(openai.RateLimitError, lambda: client.completions.create(model="full", prompt="x"), status_code=429)
refused(openai.APIError, lambda: list(client.completions.create(model="broken", prompt="say something", stream=True)), code=None)
print("ok")
