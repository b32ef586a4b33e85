"""One answer with openai-python (pip install openai).

set -a; . .run/env; python examples/chat.py "What is the capital of France?"
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
answer = client.chat.completions.create(
    model=os.environ["MODEL"],
    messages=[{"role": "user", "content": question}],
    temperature=0,
    max_tokens=32,
)
print(answer.choices[0].message.content)
