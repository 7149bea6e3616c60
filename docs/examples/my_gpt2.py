"""GPT-2 small of Hugging Face, with random weights."""

from transformers import GPT2Config, GPT2LMHeadModel

FRAMEWORK = "torch"
REQUIREMENTS = ["transformers>=4.40"]
TOKENS = 128


def make():
    return GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))


def batch(size, draw):
    tokens = draw.randint(0, 50257, (size, TOKENS))
    return {"input_ids": tokens, "labels": tokens}
