"""The official SDK's client against `payi serve`: creates, reads, updates, resets, lists and deletes limits.

Prints one line of JSON: what each step returned.
"""

import json

import payi

client = payi.Payi()
told = {}
told["create"] = client.limits.create(
    limit_name="n", max=5, limit_type="block", threshold=0.8, limit_id="lim 1", properties={"a": "b"})
told["again"] = client.limits.create(limit_name="n", max=5, limit_type="block", threshold=0.8, limit_id="lim 1")
try:
    client.limits.create(limit_name="n", max=7, limit_type="block", threshold=0.8, limit_id="lim 1")
except payi.ConflictError as error:
    told["another"] = error.status_code
told["retrieve"] = client.limits.retrieve(limit_id="lim 1")
told["update"] = client.limits.update(limit_id="lim 1", max=6)
try:
    client.ingest.units(category="system.openai", resource="gpt-4o-mini", units={"text": {"input": 1, "output": 1}},
                        limit_ids=["lim 1"])
except payi.BadRequestError as error:
    told["blocked"] = error.body["xproxy_error"]["code"]
client.limits.create(limit_name="soft", max=0.001, limit_id="soft")
for n in range(2):
    answer = client.ingest.units(
        category="system.openai", resource="gpt-4o-mini", units={"text": {"input": 5000, "output": 0}},
        provider_response_id=f"chatcmpl-limits-{n}", limit_ids=["soft"])
    told[f"state-{n}"] = answer.xproxy_result.limits["soft"].state
told["spent"] = client.limits.retrieve(limit_id="soft")
told["reset"] = client.limits.reset(limit_id="soft", reset_date="2026-02-01T00:00:00Z")
told["after"] = client.limits.retrieve(limit_id="soft")
client.limits.properties.update(limit_id="lim 1", properties={"a": None})
told["list"] = [limit.limit_id for limit in client.limits.list(limit=1, sort_ascending=True)]
told["delete"] = client.limits.delete(limit_id="lim 1")
try:
    client.limits.retrieve(limit_id="lim 1")
except payi.NotFoundError as error:
    told["gone"] = error.status_code


def plain(value):
    return value.to_dict() if hasattr(value, "to_dict") else value


print(json.dumps({name: plain(value) for name, value in told.items()}, default=str))
