"""Random usages over every model that both oracles (genai-prices, LiteLLM) may know, with their answers.

    oracle.py <directory of ../shared/prices> <how many> > answers.jsonl

One JSON object per line: what is asked, in the form that `payi prices cost` reads, and what each oracle says.
"""

import contextlib, io, json, random, sys

prices, wanted = sys.argv[1], int(sys.argv[2])
sys.path.insert(0, prices)
noise = io.StringIO()
with contextlib.redirect_stdout(noise):
    import oracle

AT = "2026-11-23T12:00:00Z"


def first_equals(match):
    if "equals" in match:
        return match["equals"]
    for clause in match.get("or", []) + match.get("and", []):
        if found := first_equals(clause):
            return found


def names():
    """Ids and first aliases of genai-prices; then LiteLLM's own names."""
    with open(f"{prices}/genai-prices_pypi_0.2.3_dump.json") as file:
        for provider in json.load(file):
            if provider["id"] in oracle.LP:
                for model in provider["models"]:
                    yield provider["id"], model["id"]
                    if alias := first_equals(model["match"]):
                        yield provider["id"], alias
    ours = {theirs: own for own, theirs in reversed(oracle.LP.items())}
    ours |= {"bedrock": "aws", "vertex_ai-anthropic_models": "google"}
    for key, entry in oracle.litellm.model_cost.items():
        provider = ours.get(entry.get("litellm_provider"))
        if provider and entry.get("mode") in ("chat", "embedding", "responses", "completion"):
            for prefix in (entry["litellm_provider"] + "/", oracle.LP[provider] + "/"):
                key = key.removeprefix(prefix)
            yield provider, key


def both(provider, model):
    answer = oracle.price({"provider": provider, "model": model, "usage": {"input_tokens": 1000, "output_tokens": 100}})
    return "cost" in answer["genai"] and "cost" in answer["litellm"]


with contextlib.redirect_stdout(noise):
    models = [name for name in dict.fromkeys(names()) if both(*name)]
chance = random.Random(20261123)
asked = []
while len(asked) < wanted:
    for provider, model in models:
        for case, usage, context in oracle.cases(provider, model, chance):
            asked.append({"case": case, "provider": provider, "model": model, "at": AT, "usage": usage, **context})
chance.shuffle(asked)
for row in asked[:wanted]:
    with contextlib.redirect_stdout(noise):
        answer = oracle.price(row)
    print(json.dumps({**row, **{key: answer[key] for key in ("genai", "litellm")}}))
