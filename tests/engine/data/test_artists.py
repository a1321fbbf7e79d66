"""Names in a cell about artists."""

from __future__ import annotations

import pytest
from merkit.engine.data.artists import artist_keys


@pytest.mark.parametrize(
    ("cell", "keys"),
    [
        ("Arijit Singh", ["arijit singh"]),
        ("Arijit Singh; Shreya  Ghoshal;Arijit Singh; ", ["arijit singh", "shreya ghoshal"]),
        ("लता मंगेशकर\uff1bKishore Kumar", ["लता मंगेशकर", "kishore kumar"]),
        ("A feat. B", ["a", "b"]),
        ("A (Feat. B); C", ["a", "b", "c"]),
        ("A [ft.B] [Live]", ["a", "b"]),
        ("Krsna Ft Badshah", ["krsna", "badshah"]),
        ("A featuring B & C", ["a", "b & c"]),
        ("Little Feat", ["little feat"]),
        ("Little Feat & Friends", ["little feat & friends"]),
        ("Little Feat and Friends feat B", ["little feat and friends", "b"]),
        ("Little Feat (Live)", ["little feat (live)"]),
        ("Little Feat - Topic", ["little feat - topic"]),
        ("Little Feat / X", ["little feat / x"]),
        ("Little Feat + X", ["little feat + x"]),
        ("Little Feat with X", ["little feat with x"]),
        ("A feat Without", ["a", "without"]),
        ("Soft. Kraftwerk", ["soft. kraftwerk"]),
        ("Earth, Wind & Fire", ["earth, wind & fire"]),
        ("AC/DC", ["ac/dc"]),
        ("Brown, Ruth", ["brown, ruth"]),
        ("Harry Connick; Jr.", ["harry connick; jr."]),
        (
            "Frank Sinatra; Sammy Davis; Jr.; Dean Martin",
            ["frank sinatra", "sammy davis; jr.", "dean martin"],
        ),
        ("Various Artists", []),
        (" <Unknown>", []),
        ("N/A; nan", []),
        ("Unknown; Ann", ["ann"]),
        ("Unknown Mortal Orchestra", ["unknown mortal orchestra"]),
        ("['Arijit Singh', 'Pritam']", ["arijit singh", "pritam"]),
        ("['Lil Wayne', \"Destiny's Child\"]", ["lil wayne", "destiny's child"]),
        ("[\"Destiny's Child\", 'Nas']", ["destiny's child", "nas"]),
        ("['Guns N&#39; Roses', 'Nas &amp; Co']", ["guns n' roses", "nas & co"]),
        ("[&#39;Nas&#39;]", ["nas"]),
        ("[]", []),
        ("['a', {[]: 1}, 'c']", ["['a', {[]: 1}, 'c']"]),
        ("['A'] ['B']", ["['a'] ['b']"]),
        ("A, feat. B", ["a", "b"]),
        ("A - feat. B", ["a", "b"]),
        ("Guns N&#39; Roses; Simon &amp; Garfunkel", ["guns n' roses", "simon & garfunkel"]),
        ("V.A.", []),
        ("unknown artists", []),
        ("<unknown artist>", []),
        ("<Unknown>", []),
        ("[no artist]; [unknown]", []),
        ("(Various Artists)", []),
        ("NA", []),
        ("N.A.; n.a", []),
        ("na; Ann", ["ann"]),
        ("Nana", ["nana"]),
        ("N.A.S.A.", ["n.a.s.a."]),
        ("[Alexandros]", ["[alexandros]"]),
        ("-", []),
        (" ; ", []),
        ("", []),
    ],
)
def test_names(cell: str, keys: list[str]):
    assert list(artist_keys(cell)) == keys


def test_a_list_that_nests_deeply_is_a_name():
    cell = f"['a', {'-' * 50_000}1, 'b']"
    assert artist_keys(cell) == (cell,)
