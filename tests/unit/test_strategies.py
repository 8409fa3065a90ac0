import pytest
from app.domain.strategies import SlugImpossible, slugify
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("R.S.I. Strategy (14-period)", "rsi-strategy-14-period"),
        ("Café crème", "cafe-creme"),
        ("snake_case name", "snake-case-name"),
        ("  --Tabs\tand   spaces--  ", "tabs-and-spaces"),
        ("ÅNGSTRÖM", "angstrom"),
        ("a\u00a0b", "a-b"),
    ],
)
def test_a_slug_follows_the_rule(name: str, slug: str) -> None:
    assert slugify(name) == slug


@pytest.mark.parametrize("name", ["", "   ", "???", "策略", "___", "🚀"])
def test_a_name_that_leaves_nothing_has_no_slug(name: str) -> None:
    with pytest.raises(SlugImpossible, match="send a slug"):
        slugify(name)


@given(st.text())
def test_a_slug_is_plain_and_its_own_slug(name: str) -> None:
    try:
        slug = slugify(name)
    except SlugImpossible:
        return
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not slug.startswith("-")
    assert not slug.endswith("-")
    assert "--" not in slug
    assert slugify(slug) == slug
