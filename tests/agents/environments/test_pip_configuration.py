"""pip's configuration on a node reaches uv; uv's own variables win."""

import os
from pathlib import Path

from velodrome.agents.environments.pip_configuration import (
    PackageSources,
    parse_listing,
    parse_variables,
    read_sources,
    uv_arguments,
    uv_variables,
)

MIRROR = """\
global.index-url='https://mirror.example/simple'
global.extra-index-url='https://a.example/simple https://b.example/simple'
global.find-links='/srv/wheels\\nhttps://c.example/wheels'
global.cert='/srv/ca.pem'
global.timeout='60'
"""


def test_indexes_folders_and_certificates_are_passed_on() -> None:
    variables = uv_variables(parse_listing(MIRROR), {})
    assert variables == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_FIND_LINKS": "/srv/wheels,https://c.example/wheels",
        "SSL_CERT_FILE": "/srv/ca.pem",
        "UV_HTTP_TIMEOUT": "60",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_without_configuration_only_the_index_strategy_is_set() -> None:
    sources = parse_listing("")
    assert sources == PackageSources()
    assert uv_variables(sources, {}) == {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    assert uv_arguments(sources) == ()


def test_the_install_section_wins_over_global_and_the_environment_over_both() -> None:
    listing = (
        ":env:.cert='/env.pem'\n"
        "global.cert='/global.pem'\n"
        "global.find-links='/global'\n"
        "install.find-links='/install'\n"
        "install.cert='/install.pem'\n"
        "download.find-links='/download'\n"
    )
    sources = parse_listing(listing)
    assert sources.cert == "/env.pem"
    assert sources.find_links == ("/install",)


def test_a_constraint_is_not_passed_on() -> None:
    listing = "global.constraint='/srv/constraints.txt'\n"
    assert uv_variables(parse_listing(listing), {}) == uv_variables(PackageSources(), {})


def test_an_air_gapped_node_has_no_index() -> None:
    sources = parse_listing("global.no-index='true'\nglobal.find-links='/srv/wheels'\n")
    assert uv_arguments(sources) == ("--no-index",)
    assert uv_arguments(parse_listing("global.no-index='false'\n")) == ()


def test_a_proxy_and_a_trusted_host_are_passed_on() -> None:
    listing = "user.x='1'\nglobal.proxy='http://p:3128'\nglobal.trusted-host='m.example:8080'\n"
    variables = uv_variables(parse_listing(listing), {})
    assert variables["HTTPS_PROXY"] == variables["HTTP_PROXY"] == "http://p:3128"
    assert variables["UV_INSECURE_HOST"] == "m.example:8080"


def test_the_users_uv_variables_win() -> None:
    environ = {
        "UV_INDEX_URL": "https://mine.example/simple",
        "UV_FIND_LINKS": "/mine",
        "SSL_CERT_FILE": "/mine.pem",
        "UV_INDEX_STRATEGY": "first-index",
        "https_proxy": "http://mine:1",
    }
    variables = uv_variables(parse_listing(MIRROR + "global.proxy='http://p:3128'\n"), environ)
    assert set(variables) == {"UV_INDEX", "UV_HTTP_TIMEOUT", "HTTP_PROXY"}


def test_variables_are_enough_without_pip() -> None:
    environ = {
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://a.example/simple",
        "PIP_FIND_LINKS": "/srv/wheels /srv/more",
        "PIP_NO_INDEX": "0",
        "PIP_CERT": "",
        "HOME": "/nowhere",
    }
    assert parse_variables(environ) == PackageSources(
        index_url="https://mirror.example/simple",
        extra_index_urls=("https://a.example/simple",),
        find_links=("/srv/wheels", "/srv/more"),
    )


def test_complete_hashes_come_from_the_default_index_only() -> None:
    public = parse_listing(MIRROR).public
    assert public.index_url == "https://mirror.example/simple" and public.cert == "/srv/ca.pem"
    assert public.extra_index_urls == () and public.find_links == ()


def test_the_fingerprint_follows_the_configuration() -> None:
    assert parse_listing(MIRROR).fingerprint == parse_listing(MIRROR).fingerprint
    assert parse_listing(MIRROR).fingerprint != PackageSources().fingerprint


def test_the_pip_of_this_node_is_asked(tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nfind-links =\n    /srv/one\n    /srv/two\n")
    inherited = {n: v for n, v in os.environ.items() if not n.startswith("PIP_")}
    environ = {**inherited, "PIP_CONFIG_FILE": str(config), "PIP_CERT": "/srv/ca.pem"}
    sources = read_sources(environ)
    assert sources.find_links == ("/srv/one", "/srv/two")
    assert sources.cert == "/srv/ca.pem"
