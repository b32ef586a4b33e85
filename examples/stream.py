"""A streamed answer with openai-python, word by word, and what it cost.

set -a; . .run/env; python examples/stream.py "What is the capital of France?"
"""

import os
import ssl
import sys

import openai

client = openai.OpenAI(
    base_url=os.environ["BASE_URL"] + "/v1",
    api_key=os.environ["API_KEY"],
    http_client=openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile=os.environ["CA_FILE"])),
)
question = " ".join(sys.argv[1:]) or "What is the capital of France?"
stream = client.chat.completions.create(
    model=os.environ["MODEL"],
    messages=[{"role": "user", "content": question}],
    temperature=0,
    max_tokens=32,
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
    if chunk.usage:
        print(f"\n{chunk.usage.prompt_tokens} tokens read, {chunk.usage.completion_tokens} written")
