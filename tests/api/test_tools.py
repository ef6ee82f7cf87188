"""api/tools: a host's tools are kept as it wrote them, for as long as its session lives."""

import json
from typing import Any

import pytest

from tests.support.deployments import SENT_AS_JSON, Pair, Parley, refusal

LIMIT = 128 * 1024


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


def refused(pair: Pair, tools: str) -> str:
    """Return why a list is refused; the one before it still holds."""
    before = pair.tools().text
    answer = pair.offer(tools)
    assert refusal(answer) == (400, "invalid_request")
    assert pair.tools().text == before
    return str(answer.json()["detail"])


def test_kept_to_the_digit_and_in_order(pair: Pair) -> None:
    assert pair.tools().text == '{"tools":[]}'
    schema = '{ "properties": {"n": {"maximum": 1.10, "default": -0.0, "minimum": 1e400}},\n "type":"object"}'
    big = '{"x":' + "9" * 5000 + ',"\\u00e9é":null}'
    first = f'{{"outputSchema":{big},"name":"b.1_-Z","inputSchema":{schema},"description":"\\ud83d\\ude00 😀 \\ud800"}}'
    second = '{"name":"a","inputSchema":{"type":"object"},"title":"","annotations":{"readOnlyHint":true,"z":1.0}}'
    answer = pair.offer(f"[{first} ,\n{second}]")
    assert (answer.status_code, answer.content) == (204, b"")
    read = pair.tools()
    assert (read.status_code, read.headers["content-type"]) == (200, "application/json")
    assert read.text == f'{{"tools":[{first},{second}]}}'


def test_schema_left_out(pair: Pair) -> None:
    assert pair.offer('[{"name":"a"}]').status_code == 204
    assert pair.tools().json() == {"tools": [{"name": "a", "inputSchema": {"type": "object"}}]}


def test_list_is_replaced(pair: Pair) -> None:
    for names in (["a", "b"], ["b"], [], ["a"]):
        assert pair.offer(json.dumps([{"name": name} for name in names])).status_code == 204
        assert [tool["name"] for tool in pair.tools().json()["tools"]] == names


def test_own_path(pair: Pair) -> None:
    url, headers = f"/api/tools?code={pair.code}", pair.host | SENT_AS_JSON
    assert pair.parley.http.put(url, content=b'{"tools":[{"name":"a"}]}', headers=headers).status_code == 204
    assert pair.parley.http.get(url).json() == pair.tools().json()


def test_number_of_tools(pair: Pair) -> None:
    tools = [{"name": f"t{number}"} for number in range(129)]
    assert pair.offer(json.dumps(tools[:128])).status_code == 204
    assert len(pair.tools().json()["tools"]) == 128
    assert refused(pair, json.dumps(tools)) == "tools: 129 are too many, at most 128."


def test_size(pair: Pair) -> None:
    """128 KiB as the list is kept, in bytes."""

    def sized(size: int) -> str:
        empty = '[{"name":"a","inputSchema":{"type":"object"},"description":"é"}]'
        return empty.replace("é", "é" + "x" * (size - len(empty.encode())))

    assert pair.offer(sized(LIMIT)).status_code == 204
    assert len(pair.tools().content) == LIMIT + len('{"tools":}')
    answer = pair.offer(sized(LIMIT + 1))
    assert refusal(answer) == (413, "payload_too_large")
    assert "131072 bytes" in answer.json()["detail"]
    assert refusal(pair.offer(sized(5_000_000 - 500_000 - 64))) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        ("1", "tools[1] must be an object."),
        ("[]", "tools[1] must be an object."),
        ("{}", "tools[1].name must be 1 to 128 letters, digits or _ . - as a string."),
        *(
            ({"name": name}, "tools[1].name must be 1 to 128 letters, digits or _ . - as a string.")
            for name in ("", "a b", "é", "x" * 129, "a\n", 1, None, ["a"])
        ),
        ({"name": "first"}, "tools[1] (first): another tool has this name."),
        ('{"name":"b","name":"c"}', 'tools[1]: "name" is there twice.'),
        *(
            ({"name": "b", field: "x"}, f'tools[1] (b): "{field}" is not a field of a tool.')
            for field in ("inputschema", "execute", "icons", "meta", "")
        ),
        *(
            ({"name": "b", field: wrong}, f"tools[1] (b).{field} must be a string.")
            for field in ("title", "description")
            for wrong in (1, None, ["a"], False)
        ),
        *(
            ({"name": "b", field: wrong}, f"tools[1] (b).{field} must be an object.")
            for field in ("inputSchema", "outputSchema", "annotations", "_meta")
            for wrong in (1, None, ["a"], "{}")
        ),
        *(
            ({"name": "b", "inputSchema": wrong}, 'tools[1] (b).inputSchema.type must be "object".')
            for wrong in ({}, {"type": "array"}, {"type": ["object"]}, {"type": None})
        ),
        *(
            (
                {"name": "b", "inputSchema": {"type": "object", "properties": wrong}},
                "tools[1] (b).inputSchema.properties must be an object of schemas.",
            )
            for wrong in (1, ["a"], {"a": "string"})
        ),
        *(
            (
                {"name": "b", "inputSchema": {"type": "object", "required": wrong}},
                "tools[1] (b).inputSchema.required must be an array of names.",
            )
            for wrong in ("a", {"a": 1}, [1])
        ),
        (
            {"name": "b", "inputSchema": {"type": "object", "properties": {"a": {"anyOf": [{"x-mcp-header": "A"}]}}}},
            "tools[1] (b).inputSchema: x-mcp-header is not supported.",
        ),
    ],
)
def test_what_is_wrong_is_named(pair: Pair, tool: Any, told: str) -> None:
    text = tool if isinstance(tool, str) else json.dumps(tool)
    assert refused(pair, f'[{{"name":"first"}},{text}]') == told


def test_long_name_of_a_field_is_cut(pair: Pair) -> None:
    assert (
        refused(pair, f'[{{"name":"b","{"f" * 1000}":1}}]') == f'tools[0] (b): "{"f" * 64}" is not a field of a tool.'
    )


def test_schemas_that_are_booleans(pair: Pair) -> None:
    """JSON Schema has them: everything fits true."""
    assert pair.offer('[{"name":"a","inputSchema":{"type":"object","properties":{"b":true}}}]').status_code == 204


def test_list_is_wrong(pair: Pair) -> None:
    for tools in ("{}", "1", "null", '"[]"'):
        assert refused(pair, tools) == "tools must be an array."
    for body, told in (("{}", "tools is missing: an array."), ('{"tools":[],"x":1}', '"x" is not a field here.')):
        answer = pair.parley.http.put(f"{pair.url}/tools", content=body, headers=pair.host | SENT_AS_JSON)
        assert refusal(answer) == (400, "invalid_request")
        assert answer.json()["detail"].startswith(told)
    assert refusal(pair.offer("[")) == (400, "invalid_json")


def test_only_the_host_registers(pair: Pair) -> None:
    url, other = f"{pair.url}/tools", Pair(pair.parley)
    tools: dict[str, list[str]] = {"tools": []}
    assert refusal(pair.parley.http.put(url, json=tools)) == (401, "host_token_required")
    for token in (other.host, {"Authorization": "Bearer x"}):
        assert refusal(pair.parley.http.put(url, json=tools, headers=token)) == (403, "host_token_wrong")
    assert pair.parley.http.get(url, headers=pair.host).status_code == 200
    assert refusal(pair.parley.http.post(url, json=tools, headers=pair.host)) == (405, "method_not_allowed")


def test_gone_with_the_session(pair: Pair) -> None:
    store = pair.parley.store
    pair.offer('[{"name":"a"}]')
    assert store.names("tools:*") == [f"tools:{pair.code}"]
    pair.parley.http.delete(pair.url, headers=pair.host)
    assert store.names("tools:*") == []
    for answer in (pair.tools(), pair.offer("[]")):
        assert refusal(answer) == (410, "session_ended")
    store.db.delete(f"{store.prefix}session:{pair.code}")
    for answer in (pair.tools(), pair.offer("[]")):
        assert refusal(answer) == (404, "session_not_found")


def test_live_as_long_as_the_session(pair: Pair) -> None:
    store = pair.parley.store
    names = [f"{store.prefix}{kind}:{pair.code}" for kind in ("session", "tools")]
    store.db.expire(names[0], 60)
    pair.offer('[{"name":"a"}]')
    assert abs(store.db.pttl(names[0]) - store.db.pttl(names[1])) < 50
    pair.parley.http.patch(pair.url, headers=pair.host)
    assert store.db.pttl(names[1]) > 590_000
    assert abs(store.db.pttl(names[0]) - store.db.pttl(names[1])) < 50


def test_cost(pair: Pair) -> None:
    """Each call is one call to the store; a list that is refused is none."""
    faults = pair.parley.store.faults
    pair.offer("[]")
    for call, cost in ((lambda: pair.offer('[{"name":"a"}]'), 1), (pair.tools, 1), (lambda: pair.offer("[1]"), 0)):
        before = faults.calls
        call()  # type: ignore[no-untyped-call]
        assert faults.calls - before == cost
