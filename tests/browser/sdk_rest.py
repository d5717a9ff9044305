"""Every method of the official SDK, but those of limits, against `payi serve`. Prints how many answered as they should."""

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import payi
from payi import Payi
from payi.lib.helpers import increment_kpi_score

client = Payi(max_retries=0)
methods = 0


def check(what, found, expected):
    global methods
    assert found == expected, f"{what}: {found!r} is not {expected!r}"
    methods += 1


def refused(what, status, code, call):
    global methods
    try:
        call()
    except payi.APIStatusError as error:
        found = (error.status_code, error.body["xproxy_error"]["code"], error.body["statusCode"])
        assert found == (status, code, status), f"{what}: {found!r}"
        methods += 1
        return
    raise AssertionError(f"{what}: not refused")


def exact(amount):
    return Decimal(repr(amount))


# Ingest: costs, units of one's own, duplicates, times.
gpt = dict(category="system.openai", resource="gpt-4o-mini", units={"text": {"input": 1000, "output": 200}})
who = dict(user_id="rest é", account_name="acme", use_case_name="rest", use_case_id="run/1", use_case_version=3,
           use_case_step="one", limit_ids=["l-1"])
at = datetime(2026, 11, 23, 10, 0, tzinfo=timezone.utc)
headers = {"xProxy-User-ID": "rest", "xProxy-Account-Name": "acme", "xProxy-UseCase-Name": "rest",
           "xProxy-UseCase-ID": "run/1", "xProxy-UseCase-Version": "3", "xProxy-UseCase-Step": "one"}
one = client.ingest.units(**gpt, event_timestamp=at, provider_response_id="resp/1", extra_headers=headers,
                          extra_query={"id": "resp/1"}, properties={"plan": "pro", "none": None})
result = one.xproxy_result
check("ingest.units", exact(result.cost.total.base), Decimal("0.00027"))
check("its sides", (exact(result.cost.input.base), exact(result.cost.output.base)), (Decimal("0.00015"), Decimal("0.00012")))
check("its attribution", (result.user_id, result.account_name, result.use_case_name, result.use_case_id, result.use_case_step),
      ("rest", "acme", "rest", "run/1", "one"))
check("its time", one.event_timestamp, at)
check("no duplicate", result.duplicate_request, False)
again = client.ingest.units(**gpt, event_timestamp=at, provider_response_id="resp/1", extra_headers=headers,
                            extra_query={"id": "resp/1"})
check("a duplicate", (again.xproxy_result.duplicate_request, again.request_id), (True, one.request_id))
strange = client.ingest.units(category="system.openai", resource="no-such-model", units={"text": {"input": 5, "output": 2}})
check("unknown units", {k: (u.input, u.output) for k, u in strange.xproxy_result.unknown_units.items()}, {"text": (5, 2)})
refused("the future", 400, "invalid_ingest_event_timestamp", lambda: client.ingest.units(
    **gpt, event_timestamp=datetime.now(timezone.utc) + timedelta(minutes=6)))
client.ingest.units(**gpt, event_timestamp=datetime.now(timezone.utc) + timedelta(minutes=4))
refused("no category", 400, "required_field_missing", lambda: client.ingest.units(**{**gpt, "category": ""}))
bulk = client.ingest.bulk(events=[{**gpt, **who, "provider_response_id": f"b{n}"} for n in range(3)]
                          + [{**gpt, "event_timestamp": "2999-01-01T00:00:00Z"}])
check("ingest.bulk", (bulk.ingest_count, bulk.total_count, bulk.error_count, bulk.errors[0].item_index,
                      bulk.errors[0].xproxy_result.xproxy_error.code), (3, 4, 1, 3, "invalid_ingest_event_timestamp"))

# Requests, by both ids.
for what, found in [
    ("requests.request_id.result", client.requests.request_id.result.retrieve(one.request_id)),
    ("requests.response_id.result", client.requests.response_id.result.retrieve("resp/1", category="system.openai")),
]:
    check(what, (found.xproxy_result.request_id, found.xproxy_result.cost), (one.request_id, result.cost))
check("requests.request_id.properties",
      client.requests.request_id.properties.update(one.request_id, properties={"plan": "max"}).request_id, one.request_id)
check("requests.response_id.properties", client.requests.response_id.properties.update(
    "resp/1", category="system.openai", properties={"k": None}).request_id, one.request_id)
refused("no such request", 404, "request_processing_error",
        lambda: client.requests.request_id.result.retrieve("01a20a45-f8c3-7ae1-9a74-aa22fdf22b06"))

# Categories and resources: prices from a time on.
price = lambda dollars: {"gpu second": {"input_price": dollars, "output_price": 0.0}}  # noqa: E731
old = client.categories.resources.create("h100", category="our gpus", units=price(0.001), start_timestamp=datetime(2026, 1, 1, tzinfo=timezone.utc))
new = client.categories.resources.create("h100", category="our gpus", units=price(0.0025), start_timestamp=datetime(2026, 6, 1, tzinfo=timezone.utc), max_input_units=9)
for month, cost, resource in [(3, "0.01", old), (7, "0.025", new)]:
    told = client.ingest.units(category="our gpus", resource="h100", units={"gpu second": {"input": 10, "output": 0}},
                               event_timestamp=datetime(2026, month, 1, tzinfo=timezone.utc)).xproxy_result
    check("a price of its time", (exact(told.cost.total.base), told.resource_id, told.unknown_units),
          (Decimal(cost), resource.resource_id, {}))
categories = [c.category for c in client.categories.list(limit=5)]
check("categories.list", [c for c in categories if not c.startswith("system.")], ["our gpus"])
check("those of the book", {"system.openai", "system.anthropic", "system.aws.bedrock"} <= set(categories), True)
mini = [r for r in client.categories.list_resources("system.openai", limit=50) if r.resource == "gpt-4o-mini" and r.active]
check("a resource of the book", [exact(r.units["text"].input_price) for r in mini], [Decimal("1.5E-7")])
refused("the book's are nobody's to change", 400, "request_processing_error", lambda: client.categories.delete("system.openai"))
check("categories.list_resources", sorted(r.resource_id for r in client.categories.list_resources("our gpus", limit=1)),
      sorted([old.resource_id, new.resource_id]))
check("categories.resources.list", [r.max_input_units for r in client.categories.resources.list("h100", category="our gpus")], [None, 9])
check("categories.resources.retrieve", client.categories.resources.retrieve(
    new.resource_id, category="our gpus", resource="h100").start_timestamp, datetime(2026, 6, 1, tzinfo=timezone.utc))
check("categories.resources.delete", client.categories.resources.delete(
    old.resource_id, category="our gpus", resource="h100").active, False)
check("categories.delete_resource", [r.resource_id for r in client.categories.delete_resource("h100", category="our gpus")], [new.resource_id])
client.categories.resources.create("a100", category="our gpus", units=price(0.001))
check("categories.delete", [r.resource for r in client.categories.delete("our gpus")], ["a100"])
refused("a resource that is gone", 404, "category_resource_not_found", lambda: client.categories.delete("our gpus"))

# Use cases: definitions, versions, limits of instances.
cases = client.use_cases.definitions
made = cases.create(name="re/st", description="what a caller would like", limit_config={"max": 5.0, "threshold": 0.8})
check("definitions.create", (made.name, made.limit_config.max, made.logging_enabled), ("re/st", 5.0, True))
refused("twice", 400, "use_case_already_exists", lambda: cases.create(name="re/st", description="d"))
refused("no name", 400, "invalid_use_case_name", lambda: cases.create(name="", description="d"))
refused("no description", 400, "invalid_use_case_description", lambda: cases.create(name="x", description=""))
for name in "abc":
    cases.create(name=name, description=name)
check("definitions.list", [c.name for c in cases.list(limit=2)], ["a", "b", "c", "re/st"])
check("definitions.list, filtered", [c.name for c in cases.list(use_case_name="re/st")], ["re/st"])
check("definitions.update", cases.update("re/st", description="other").description, "other")
check("definitions.version.increment", cases.version.increment("re/st").name, "re/st")
check("definitions.retrieve", (cases.retrieve("re/st").description, cases.retrieve("re/st").to_dict()["type_version"]), ("other", 2))
check("definitions.limit_config.delete", cases.limit_config.delete("re/st").to_dict().get("limit_config"), None)
check("definitions.limit_config.create", cases.limit_config.create("re/st", max=2.5, limit_type="allow").limit_config.max, 2.5)

# KPIs and instances.
cases.kpis.create("re/st", name="stars", description="d", kpi_type="number", goal=4.5)
check("definitions.kpis.list", [k.name for k in cases.kpis.list("re/st")], ["stars"])
check("definitions.kpis.update", cases.kpis.update("stars", use_case_name="re/st", goal=5.0).goal, 5.0)
check("definitions.kpis.retrieve", cases.kpis.retrieve("stars", use_case_name="re/st").kpi_type, "number")
instance = client.use_cases.create("re/st")
check("use_cases.create", (instance.use_case_name, instance.type_version), ("re/st", 2))
own = client.limits.retrieve(limit_id=instance.limit_id).limit
check("its own limit", (own.max, own.limit_type, own.totals.requests.total), (2.5, "allow", 0))
run = {"xProxy-UseCase-Name": "re/st", "xProxy-UseCase-ID": instance.use_case_id}
check("its calls' limit", client.ingest.units(**gpt, extra_headers=run).xproxy_result.limits[instance.limit_id].state, "ok")
check("what it came to", exact(client.limits.retrieve(limit_id=instance.limit_id).limit.totals.cost.total.base), Decimal("0.00027"))
check("use_cases.retrieve", client.use_cases.retrieve(instance.use_case_id, use_case_name="re/st"), instance)
check("an instance of events", client.use_cases.retrieve("run/1", use_case_name="rest").type_version, 3)
check("use_cases.properties.update", client.use_cases.properties.update(
    instance.use_case_id, use_case_name="re/st", properties={"a": "1", "b": None}).use_case_id, instance.use_case_id)
check("use_cases.kpis.update", client.use_cases.kpis.update(
    "stars", use_case_name="re/st", use_case_id=instance.use_case_id, score=2.0), None)
check("increment_kpi_score", increment_kpi_score(client, "stars", "re/st", instance.use_case_id, 3), True)
check("use_cases.kpis.list", [(k.kpi_name, k.score) for k in client.use_cases.kpis.list(
    instance.use_case_id, use_case_name="re/st")], [("stars", 5.0)])
check("use_cases.delete", client.use_cases.delete(instance.use_case_id, use_case_name="re/st").use_case_id, instance.use_case_id)
refused("an instance that is gone", 404, "use_case_instance_not_found",
        lambda: client.use_cases.retrieve(instance.use_case_id, use_case_name="re/st"))
check("definitions.kpis.delete", cases.kpis.delete("stars", use_case_name="re/st").name, "stars")
check("definitions.delete", cases.delete("re/st").name, "re/st")
refused("a definition that is gone", 404, "use_case_not_found", lambda: cases.retrieve("re/st"))
print(json.dumps({"checks": methods}))
