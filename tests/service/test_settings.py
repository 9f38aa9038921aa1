"""The configuration: strict, and safe when it says nothing."""

import os
from pathlib import Path

import pytest

from service.errors import StartRefused
from service.settings import Settings, load_settings


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "sonia.yaml"
    path.write_text(text)
    return load_settings(path)


def test_absent_sections_mean_their_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == Settings()
    assert loaded(tmp_path, "turn: {memory_timeout_s: 1}").auth.enabled


@pytest.mark.parametrize(
    "text",
    [
        "auht: {}",
        "auth: {enable: false}",
        "auth: {enabled: 'no'}",
        "auth: {enabled: off}",
        "auth: {rotation_window_s: -1}",
        "auth: {stream_recheck_s: 0}",
        "auth: {enabled: true, enabled: false}",
        "http: {cors: {origins: ['*'], credentials: true}}",
        "http: {cors: {origins: [ops.example]}}",
        "http: {cors: {origins: ['https://ops.example/']}}",
        "http: {cors: {origins: ['https://*.ops.example']}}",
        "storage: {busy_timeout_s: 1}",
        "storage: {batch_max: 65}",
        "[]",
        "auth: [",
        "{[a]: b}",
        "{{a: b}: c}",
        "? [a]\n: b",
        "!!python/object:os.system {}",
        "!!int x: 1",
        "!!set {a, b}",
        "? !!binary aGk=\n: b",
        "auth: &a [*a]",
        "&a {auth: *a}",
        "&a {*a : 1}",
        "audit: {checkpoint_every: " + 5000 * "9" + "}",
        "audit: {checkpoint_every: .inf}",
        "audit: {checkpoint_every: 1e999999999}",
        "auth: {rotation_window_s: 1e999999999}",
        pytest.param("auth: " + 400 * "[", id="deep"),
        pytest.param("auth: " + 400 * "[" + 400 * "]", id="deep and closed"),
        pytest.param("auth: " + 60_000 * "[", id="deeper than anybody waits for"),
        pytest.param(20_000 * "{a: ", id="mappings in brackets"),
        pytest.param(20_000 * "- ", id="lists by indentation"),
        pytest.param(20_000 * "? ", id="keys of keys"),
        pytest.param("# " + 70_000 * "x", id="long"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(StartRefused, match=r"sonia\.yaml: "):
        loaded(tmp_path, text)


def test_no_file_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=r"sonia\.yaml: .*No such file"):
        load_settings(tmp_path / "sonia.yaml")


def test_a_pipe_is_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "sonia.yaml")
    with pytest.raises(StartRefused, match="it is no regular file"):
        load_settings(tmp_path / "sonia.yaml")


@pytest.mark.parametrize("text", ["# auth:\n#   enabled: false\n", "\n  # é\n", "  \n", "# no end"])
def test_comments_alone_mean_all_defaults(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path, text) == Settings()


@pytest.mark.parametrize("text", ["# \x00\n", "\t# x\nauth\n", "\ufeff\x01"])
def test_what_only_looks_like_a_comment_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(StartRefused, match=r"sonia\.yaml: "):
        loaded(tmp_path, text)


def test_yaml_is_read_as_1_2(tmp_path: Path) -> None:
    assert loaded(tmp_path, "tools: {workspace: 'on'}").tools.workspace == "on"
    assert loaded(tmp_path, "tools: {workspace: off}").tools.workspace == "off"
    assert loaded(tmp_path, "audit: {checkpoint_every: 017}").audit.checkpoint_every == 17
