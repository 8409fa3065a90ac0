import asyncio

import pytest
from app.core.passwords import COMMON_PASSWORDS, password_problem
from app.core.security import hash_password
from app.services.passwords import PasswordHasher, PasswordsBusy


def test_the_list_has_the_3000_most_common_passwords_that_are_long_enough_to_be_chosen() -> None:
    assert len(COMMON_PASSWORDS) == 3000
    assert all(8 <= len(word) <= 72 and word == word.lower() for word in COMMON_PASSWORDS)
    assert {"password", "12345678", "iloveyou", "qwertyuiop", "jennifer"} <= COMMON_PASSWORDS


@pytest.mark.parametrize("password", ["password", "PassWord1", "12345678", "TRUSTNO1", "Jennifer"])
def test_a_common_password_is_refused_in_whatever_case(password: str) -> None:
    problem = password_problem(password)
    assert problem is not None
    assert "3,000 most common" in problem
    assert problem == password_problem("iloveyou"), "the text repeats nothing of what was sent"


@pytest.mark.parametrize(
    "password",
    ["aaaaaaaab", "        ", "é" * 36, "a" * 72, "кот на крыше", "98765-4321", "😀" * 8],
)
def test_no_rule_says_which_characters_a_password_has(password: str) -> None:
    assert password_problem(password) is None


@pytest.mark.parametrize("password", ["", "1234567", "é" * 7, "😀" * 7])
def test_a_password_has_at_least_eight_characters_however_many_bytes_these_take(
    password: str,
) -> None:
    assert password_problem(password) == "expected at least 8 characters"


@pytest.mark.parametrize("password", ["a" * 73, "é" * 37, "a" * 200])
def test_a_password_that_bcrypt_would_cut_off_is_refused(password: str) -> None:
    assert password_problem(password) == "expected at most 72 bytes of UTF-8"


async def test_whoever_would_have_to_wait_too_long_is_told_at_once() -> None:
    hasher = PasswordHasher(rounds=8, threads=2, waiting_max=1)
    room = 3
    answers = await asyncio.gather(
        *(hasher.hash(f"password number {n}") for n in range(room + 3)), return_exceptions=True
    )
    assert [isinstance(answer, PasswordsBusy) for answer in answers] == [False] * room + [True] * 3
    assert hasher.hashes_begun == room
    assert isinstance(await hasher.hash("there is room again"), str)
    hasher.close()


async def test_every_way_to_be_wrong_costs_exactly_one_check() -> None:
    hasher = PasswordHasher(rounds=5)
    await hasher.prepare()
    known = hash_password("correct horse", rounds=5)
    for password, hashed in (
        ("wrong horse", known),
        ("wrong horse", None),
        ("wrong horse", "!"),
        ("wrong horse", ""),
        ("h" * 73, known),
    ):
        before = hasher.hashes_begun
        assert await hasher.verify(password, hashed) == (False, None)
        assert hasher.hashes_begun == before + 1, (password, hashed)
    hasher.close()
