#!/usr/bin/env python3
"""The OpenAPI document is true: every operation that it names is called on a real server, every answer (status, type, body) is
checked against it, bodies made from its schemas are taken, and bodies that break them are refused in the promised form."""
import copy
import json
import urllib.parse

import jsonschema
from harness import ADMIN, check, main, serving

AUTH = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}


class Api:
    """Calls by operationId; every answer is judged by the document."""

    def __init__(self, server):
        self.server = server
        status, _, text = server.request("GET", "/openapi.json", port=server.control_port)
        check(status == 200, f"/openapi.json: {status}")
        self.document = json.loads(text)
        self.operations = {}
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                check(operation["operationId"] not in self.operations, f"two operations {operation['operationId']}")
                self.operations[operation["operationId"]] = (method.upper(), path, operation)
        self.seen = {name: set() for name in self.operations}

    def validate(self, value, schema):
        whole = dict(schema, components=self.document["components"])
        jsonschema.Draft202012Validator(whole, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(value)

    def schema(self, name):
        return self.document["components"]["schemas"][name]

    def call(self, name, params=(), query=None, body=None, headers=None, raw=None):
        method, template, operation = self.operations[name]
        path = template
        for value in params:
            start, end = path.index("{"), path.index("}")
            path = path[:start] + urllib.parse.quote(value, safe="") + path[end + 1:]
        if query:
            path += "?" + urllib.parse.urlencode(query)
        data = raw if raw is not None else None if body is None else json.dumps(body)
        status, got, text = self.server.request(method, path, data, AUTH if headers is None else headers,
                                                port=self.server.control_port)
        self.judge(name, operation, status, got, text)
        return status, text

    def judge(self, name, operation, status, headers, text):
        responses = operation["responses"]
        told = responses.get(str(status), responses["default"])
        self.seen[name].add(str(status) if str(status) in responses else "default")
        check("x-request-id" in headers, f"{name}: no X-Request-Id")
        if "content" not in told:
            check(text == b"", f"{name} {status}: a body where none is promised: {text[:200]!r}")
            return
        (kind, content), = told["content"].items()
        check(headers["content-type"].split(";")[0] == kind, f"{name} {status}: {headers['content-type']}, not {kind}")
        if kind == "application/json":
            try:
                self.validate(json.loads(text), content["schema"])
            except jsonschema.ValidationError as wrong:
                check(False, f"{name} {status}: {wrong.message} at {list(wrong.absolute_path)} in {text[:500]!r}")

    def ok(self, *args, **kwargs):
        status, text = self.call(*args, **kwargs)
        check(status in (200, 201, 204), f"{args}: {status} {text[:300]!r}")
        return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()

    def refused(self, want, *args, **kwargs):
        status, text = self.call(*args, **kwargs)
        code = json.loads(text)["code"]
        check(code == want, f"{args}: {status} {code}, not {want}")


def prepare(api):
    api.ok("user_put", ["ada"], body={"name": "Ada"})
    api.ok("course_put", ["c1"], body={"title": "Organ building"})
    api.ok("lesson_put", ["c1", "l1"], body={"title": "The pipe", "bucket": "media", "prefix": "c/1/", "entry": "x.m3u8"})
    api.ok("grant_put", ["ada", "c1"], body={"from": "2020-01-01T00:00:00Z", "until": 4102444800})


def every_operation_answers_as_the_document_says():
    with serving() as s:
        api = Api(s)
        check(api.document["openapi"].startswith("3.1."), api.document["openapi"])
        for name, schema in api.document["components"]["schemas"].items():
            jsonschema.Draft202012Validator.check_schema(schema)
            check("description" in schema, f"{name} has no description")
        for name in ("healthz", "readyz", "metrics", "openapi"):
            api.ok(name, headers={})
        api.ok("status")
        prepare(api)
        prepare(api)
        for name, params in (("user_get", ["ada"]), ("course_get", ["c1"]), ("lesson_get", ["c1", "l1"]), ("grant_get", ["ada", "c1"]),
                             ("grant_list", ["ada"]), ("lesson_list", ["c1"]), ("user_list", []), ("course_list", [])):
            api.ok(name, params)
        api.ok("grant_put", ["ada", "c1"], body={})
        api.ok("grant_get", ["ada", "c1"])
        url = api.ok("playback_post", body={"user": "ada", "course": "c1", "lesson": "l1"})["url"]
        for token in (url, url.split("/t/")[1].split("/")[0], url + "x", "AAAA", url.replace("/c/1/", "/c/2/"), url.replace("/t/AQ", "/t/AR"),
                      url[:60] + ("A" if url[60] != "A" else "B") + url[61:], url.replace("/c/1/", "/c/../")):
            api.ok("explain", query={"token": token})
        creator = api.ok("creator_post", body={"name": "Grace"})["id"]
        api.ok("creator_get", [creator])
        api.ok("creator_list")
        key = api.ok("key_post", [creator])["access_key"]
        api.ok("key_bucket_put", [creator, key, "media"], body={"rights": ["read", "write"]})
        api.ok("key_bucket_put", [creator, key, "shut"], body={"rights": []})
        api.ok("key_list", [creator])
        api.ok("key_bucket_delete", [creator, key, "media"])
        api.ok("key_delete", [creator, key])
        api.ok("signing_list")
        api.ok("signing_post")
        api.ok("signing_rotate")
        api.ok("signing_retire", ["1"])
        api.ok("signing_delete", ["1"])
        api.ok("signing_list")
        api.ok("explain", query={"token": url})
        for name, params in (("grant_delete", ["ada", "c1"]), ("lesson_delete", ["c1", "l1"]), ("course_delete", ["c1"]), ("user_delete", ["ada"])):
            api.ok(name, params)
        for name, (_, path, operation) in api.operations.items():
            if "security" in operation:
                api.refused("unauthorized", name, ["x"] * path.count("{"), headers={})
                api.refused("unauthorized", name, ["x"] * path.count("{"), headers={"Authorization": "Bearer wrong"})
            promised = set(operation["responses"]) - {"default"}
            check(promised <= api.seen[name], f"{name}: never seen {promised - api.seen[name]}")


# ---- bodies made from the schemas

def example(api, schema, largest):
    """A value that the schema allows: its smallest or its largest."""
    if "$ref" in schema:
        schema = api.schema(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema and "properties" not in schema:
        return example(api, schema["anyOf"][-1 if largest else 0], largest)
    if "enum" in schema:
        return schema["enum"][-1 if largest else 0]
    kind = schema["type"]
    if kind == "object":
        wanted = schema["properties"] if largest else {k: v for k, v in schema["properties"].items() if k in schema["required"]}
        return {name: example(api, value, largest) for name, value in wanted.items()}
    if kind == "array":
        return schema["items"].get("enum", [])[:schema.get("maxItems", 2)] if largest else []
    if kind == "integer":
        return schema["maximum"] if largest else schema["minimum"]
    if kind == "null":
        return None
    if schema.get("format") == "date-time":
        return "9999-12-31T23:59:59Z" if largest else "1970-01-01T00:00:01Z"
    if schema.get("pattern", "").startswith("^(?!"):
        return "~" * 128 if largest else "a"
    if "pattern" in schema:
        return "a" * 63 if largest else "a-0"
    return "\u00e9" * min(schema["maxLength"], 400) if largest else "x" * schema["minLength"]


def broken(body, schema):
    """Bodies that are each wrong in one way."""
    for name in schema["required"]:
        less = copy.deepcopy(body)
        less.pop(name, None)
        yield f"without {name}", less
    for name, rule in schema["properties"].items():
        for value in (17.5, {}, True, ["x", "x", "x"], "\u0007" * 2000):
            if isinstance(value, str) and "maxLength" not in rule and "pattern" not in rule and "enum" not in rule:
                continue
            yield f"{name} = {str(value)[:20]!r}", dict(body, **{name: value})
        if "null" not in json.dumps(rule):
            yield f"{name} = null", dict(body, **{name: None})
    yield "an unknown member", dict(body, surprise=1)
    yield "no object", [body]


PLACES = {"user_put": ["ada"], "course_put": ["c1"], "lesson_put": ["c1", "l1"], "grant_put": ["ada", "c1"], "creator_post": [],
          "playback_post": []}
FITTING = {"lesson_put": {"prefix": "c/1/", "entry": "x"}, "grant_put": {"from": 1}, "playback_post": {"user": "ada", "course": "c1", "lesson": "l1"}}


def bodies_are_taken_and_refused_as_the_schemas_say():
    with serving() as s:
        api = Api(s)
        prepare(api)
        creator = api.ok("creator_post", body={"name": "Grace"})["id"]
        key = api.ok("key_post", [creator])["access_key"]
        places = dict(PLACES, key_bucket_put=[creator, key, "media"])
        with_body = {name for name, (_, _, operation) in api.operations.items() if "requestBody" in operation}
        check(with_body == set(places), f"{with_body ^ set(places)}")
        tried = 0
        for name, params in places.items():
            wrapped = api.operations[name][2]["requestBody"]["content"]["application/json"]["schema"]
            schema = api.schema(wrapped["$ref"].rsplit("/", 1)[1])
            for largest in (False, True):
                body = dict(example(api, wrapped, largest), **FITTING.get(name, {}))
                api.validate(body, wrapped)
                api.ok(name, params, body=body)
                for why, bad in broken(body, schema):
                    try:
                        api.validate(bad, wrapped)
                        continue  # allowed after all
                    except jsonschema.ValidationError:
                        pass
                    status, text = api.call(name, params, body=bad)
                    check(status == 400 and json.loads(text)["code"] in ("field_invalid", "body_invalid"), f"{name}, {why}: {status} {text!r}")
                    tried += 1
            for raw in ("{", "null", "[", "{\"a\":1}{", "\x00", "{\"title\":\"\\ud800\"}"):
                status, text = api.call(name, params, raw=raw)
                check(status == 400, f"{name} {raw!r}: {status}")
        check(tried > 60, f"only {tried} bodies were tried")


def ids_are_taken_and_refused_as_the_pattern_says():
    with serving() as s:
        api = Api(s)
        rule = next(p for p in api.operations["user_put"][2]["parameters"] if p["in"] == "path")["schema"]
        for value in ("a", "A-Z.a_z~0@9:x", "~" * 128, "...", "u.", "-", "a" * 129, ".", "..", "a b", "a/b", "\u00e9", "a\u0000", "a;b", "a%", "+", "*"):
            try:
                api.validate(value, rule)
                allowed = True
            except jsonschema.ValidationError:
                allowed = False
            status, text = api.call("user_put", [value], body={})
            check((status in (200, 201)) == allowed, f"{value!r}: {status} {text[:100]!r}, the document says {allowed}")
            if allowed:
                check(api.ok("user_get", [value])["user"] == value, value)
            else:
                check(status == 400 and json.loads(text)["code"] == "id_invalid", f"{value!r}: {status} {text[:100]!r}")


def lessons_are_taken_and_refused_as_the_patterns_say():
    with serving() as s:
        api = Api(s)
        api.ok("course_put", ["c1"], body={"title": "x"})
        rule = api.operations["lesson_put"][2]["requestBody"]["content"]["application/json"]["schema"]
        prefixes = ("c/", "c", "a/b/", "/c/", "c//", "../", "./", "c/../", "c/..", "c/...", "c;/", "c\\", "c\n/", "\u0085/", "\u00e9/", " ", "..a/", "a/.b/", "/")
        entries = (None, "", "x", "x/y", "/x", "x/", "../x", "x/./y", ".x", "x//y", "a;b", "\u007f", "\u266b.mp3")
        taken = 0
        for prefix in prefixes:
            for entry in entries:
                body = {"title": "t", "bucket": "media", "prefix": prefix, **({} if entry is None else {"entry": entry})}
                try:
                    api.validate(body, rule)
                    allowed = True
                except jsonschema.ValidationError:
                    allowed = False
                status, text = api.call("lesson_put", ["c1", "l1"], body=body)
                check((status in (200, 201)) == allowed, f"{prefix!r} {entry!r}: {status} {text[:200]!r}, the document says {allowed}")
                taken += allowed
        check(20 < taken < 150, f"{taken} of {len(prefixes) * len(entries)} were taken")


def pages_follow_each_other():
    with serving() as s:
        api = Api(s)
        for n in range(23):
            api.ok("course_put", [f"c{n:03}"], body={"title": f"Course {n}"})
        got, after = [], None
        for _ in range(10):
            page = api.ok("course_list", query={"limit": 5, **({"after": after} if after else {})})
            got += [row["course"] for row in page["courses"]]
            after = page["next"]
            if after is None:
                break
        check(got == [f"c{n:03}" for n in range(23)], f"{got}")
        for bad in ({"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"after": "a b"}, {"limit": -1}):
            api.refused("query_invalid", "course_list", query=bad)


if __name__ == "__main__":
    main(every_operation_answers_as_the_document_says, bodies_are_taken_and_refused_as_the_schemas_say,
         ids_are_taken_and_refused_as_the_pattern_says, lessons_are_taken_and_refused_as_the_patterns_say,
         pages_follow_each_other)
