"""What Ollama's own client makes of the server at argv[1], whose models are fakes: see clients_test.go."""
import sys

import ollama

client = ollama.Client(host=sys.argv[1])
hi = [{"role": "user", "content": "say hi"}]


def equal(got, want):
    assert got == want, f"{got!r}, expected {want!r}"


equal([m.model for m in client.list().models], ["broken", "e", "full", "m"])
equal(client.show("m").capabilities, ["completion", "tools"])
a = client.chat(model="m", messages=hi, options={"temperature": 0, "num_predict": 100, "stop": ["?"]}, keep_alive="5m")
equal((a.message.content, a.done, a.done_reason, a.eval_count), ("say hi to you", True, "stop", 13))
equal("".join(p.message.content for p in client.chat(model="m", messages=hi, stream=True)), "say hi to you")


def f(x: int) -> int:
    """Gives a number.

    Args:
        x: a number
    """
    return x


a = client.chat(model="m", messages=[{"role": "user", "content": "call"}], tools=[f], think=True)
equal((a.message.tool_calls[0].function.name, dict(a.message.tool_calls[0].function.arguments), a.message.thinking), ("f", {"x": 1}, "hm"))
a = client.chat(model="m", messages=[{"role": "user", "content": "call"}, a.message, {"role": "tool", "content": "42", "tool_name": "f"}], tools=[f])
equal(a.message.content, "it is 42")
equal(client.generate(model="m", prompt="say hi").response, "say hi to you")
equal("".join(p.response for p in client.generate(model="m", prompt="say hi", raw=True, stream=True)), " hi")
equal(client.generate(model="m").done_reason, "load")
equal(client.embed(model="e", input=["ab", "c"]).embeddings, [[3, 256, 0, 0], [2, 256, 0, 0]])
for call in (lambda: client.chat(model="nobody", messages=hi), lambda: client.chat(model="m", messages=hi, format="json"),
             lambda: list(client.generate(model="broken", prompt="say something", raw=True, stream=True))):
    try:
        call()
    except ollama.ResponseError as e:
        assert str(e), e
    else:
        raise AssertionError("no error")
print("ok")
