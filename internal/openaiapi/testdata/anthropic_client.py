"""What Anthropic's own client makes of the server at argv[1], whose models are fakes: see clients_test.go."""
import sys

import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="none", max_retries=0)
hi = [{"role": "user", "content": "say hi"}]
tools = [{"name": "f", "description": "gives a number", "input_schema": {"type": "object"}}]


def equal(got, want):
    assert got == want, f"{got!r}, expected {want!r}"


a = client.messages.create(model="m", max_tokens=100, messages=hi, system="be brief", metadata={"user_id": "u"}, extra_body={"temperature": 0.5, "top_k": 5})
equal((a.content[0].text, a.stop_reason, a.usage.output_tokens), ("say hi to you", "end_turn", 13))
a = client.messages.create(model="m", max_tokens=6, messages=hi)
equal((a.content[0].text, a.stop_reason), ("say hi", "max_tokens"))
a = client.messages.create(model="m", max_tokens=60, messages=hi, stop_sequences=[" to"])
equal((a.content[0].text, a.stop_reason, a.stop_sequence), ("say hi", "stop_sequence", " to"))
with client.messages.stream(model="m", max_tokens=100, messages=hi) as s:
    equal("".join(s.text_stream), "say hi to you")
    equal(s.get_final_message().usage.output_tokens, 13)
ask = [{"role": "user", "content": [{"type": "text", "text": "call", "cache_control": {"type": "ephemeral"}}]}]
with client.messages.stream(model="m", max_tokens=200, messages=ask, tools=tools, tool_choice={"type": "auto"}) as s:
    for _ in s:
        pass
    a = s.get_final_message()
equal([b.type for b in a.content], ["thinking", "tool_use"])
equal((a.content[0].thinking, a.content[1].name, a.content[1].input, a.stop_reason), ("hm", "f", {"x": 1}, "tool_use"))
b = client.messages.create(model="m", max_tokens=200, messages=ask, tools=tools)
equal((b.content[1].name, b.content[1].input), ("f", {"x": 1}))
c = client.messages.create(model="m", max_tokens=200, tools=tools, messages=[
    *ask, {"role": "assistant", "content": b.content}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": b.content[1].id, "content": "42"}]}])
equal(c.content[0].text, "it is 42")
assert client.messages.count_tokens(model="m", messages=hi).input_tokens > 10
for kind, call in ((anthropic.NotFoundError, lambda: client.messages.create(model="nobody", max_tokens=1, messages=hi)),
                   (anthropic.BadRequestError, lambda: client.messages.create(model="m", max_tokens=1, messages=hi, tool_choice={"type": "any"})),
                   (anthropic.RateLimitError, lambda: client.messages.create(model="full", max_tokens=1, messages=hi)),
                   (anthropic.APIStatusError, lambda: list(client.messages.create(model="broken", max_tokens=9, messages=hi, stream=True)))):
    try:
        call()
    except kind:
        pass
    else:
        raise AssertionError(f"no {kind.__name__}")
print("ok")
