"""Files of colour rules and vaccines: what is read, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from contacts.colour_words import explain
from contacts.colourfile import ColourRulesError, read_colour_file
from contacts.colourrules import colour_rules_text, load_colour_rules, read_colour_rules
from contacts.colours import colour_of, summary
from contacts.vaccines import VaccinesError, read_vaccines
from lacak.main import cli
from tests.health_records import ADULT, DAY, FULL, HALF, ZONE, arrival, at, contact, dose, facts_of, lab

RULES = load_colour_rules()
TEXT = colour_rules_text("indonesia")[1]
VACCINES = """unknown_doses = 2
greatest_number = 9

[products.one]
doses = 1
names = ["Janssen"]
"""

WRONG = [
    # what is changed into what, the line that is named, what is said of it
    ("until_day = 14", "until_day = -1", "until_day = -1", "until_day"),
    ("until_day = 14", 'until_day = "14"', 'until_day = "14"', "write a whole number"),
    ("until_day = 14", "until_days = 14", "until_days = 14", "did you mean until_day?"),
    ('colour = "yellow"', 'colour = "orange"', 'colour = "orange"', "green"),
    ('home = "ID"\n', "", "# The colours", "lacks home"),
    ("apart_hours = 24", "apart_hours = 1.5", "apart_hours = 1.5", "write a whole number"),
    ('kinds = ["pcr"], from_day = 6', 'kinds = ["pcx"], from_day = 6', "tests = ", "see docs/colours.md"),
    ('ages = ["18-59", "60+"]', 'ages = ["18+"]', 'ages = ["18+"]', "write one of 0-5, 6-11, 12-17, 18-59, 60+"),
    ("stays = [{ hours = 168 }]", "stays = [{ hour = 168 }]", "stays = ", "did you mean hours?"),
    ("since = 2022-02-05", "since = 2021-08-15", "[[sets]]", "is not after the one before it"),
    ("since = 2021-10-14", "since = 2021-07-06", "[[quarantines]]", "is not after the one before it"),
    ("recovered_within = { months = 3 }", "recovered_within = { months = 3, days = 90 }", "[[sets]]", "either"),
    ("recovered_within = { days = 90 }\n", "", "[[sets]]", "add recovered_within"),
    ("negative_hours = { antigen = 24, pcr = 72 }\n", "", "[[sets]]", "add negative_hours"),
    ("from_day = 5, to_day = 9", "from_day = 5, to_day = 4", "[[sets]]", "before day 5"),
    ("stays = [{ hours = 192 }]", "stays = []", "[[quarantines]]", "hours = 0 is none"),
    ("version = 2022-07-17", "version = 2022-07-17 17", None, "not TOML"),
]


@pytest.mark.parametrize(("old", "new", "line", "said"), WRONG)
def test_wrong_file(old: str, new: str, line: str | None, said: str) -> None:
    """A wrong file is refused with its name, the line at fault (of a list's table: where it begins) and what to do."""
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    with pytest.raises(ColourRulesError) as error:
        read_colour_rules("own", text, "own.toml")
    message = str(error.value)
    assert message.startswith("The colour rules own.toml cannot be used: line ")
    assert said in message
    if line is not None:
        number = int(message.split("line ")[1].split(":")[0])
        assert text.splitlines()[number - 1].startswith(line)


def test_empty() -> None:
    """Rules without a set are none."""
    head = TEXT[: TEXT.index("# --- August")] + "sets = []\n"
    with pytest.raises(ColourRulesError, match="there are no rules"):
        read_colour_rules("own", head, "own.toml")


def test_own_rules(tmp_path: Path) -> None:
    """A deployment's own file overrules Lacak's of the same name; its own vaccines count for it."""
    folder = tmp_path / "colours"
    folder.mkdir()
    (folder / "indonesia.toml").write_text(TEXT.replace("until_day = 14", "until_day = 7"), "utf-8")
    vaccines = tmp_path / "vaccines" / "vaccines.toml"
    vaccines.parent.mkdir()
    vaccines.write_text(VACCINES.replace("unknown_doses = 2", "unknown_doses = 1"), "utf-8")
    own = load_colour_rules(tmp_path)
    facts = facts_of(*HALF, lab("pcr", "positive", "2021-10-02"))
    assert colour_of(facts, at("2021-10-08"), own, ZONE).until_ms == at("2021-10-09")
    assert colour_of(facts, at("2021-10-08"), RULES, ZONE).until_ms == at("2021-10-16")
    assert summary(facts, at("2021-10-08"), own).full
    assert not summary(facts, at("2021-10-08"), RULES).full
    with pytest.raises(ColourRulesError, match="there are indonesia"):
        load_colour_rules(tmp_path, "atlantis")
    vaccines.write_text(VACCINES.replace("\ndoses = 1", "\ndoses = 0"), "utf-8")
    with pytest.raises(ColourRulesError, match=r"vaccines\.toml cannot be used: line 5"):
        load_colour_rules(tmp_path)


def test_vaccines() -> None:
    """A name that stands for two courses is refused; names are found without regard to case and punctuation."""
    known = read_vaccines(VACCINES, "v.toml")
    assert [known.course(name) for name in ("janssen", "JANS-SEN", "one", "other")] == [1, 1, 1, 2]
    with pytest.raises(VaccinesError, match="'jan ssen' names two products"):
        read_vaccines(VACCINES + '\n[products.two]\ndoses = 2\nnames = ["jan ssen"]\n', "v.toml")


def test_sources() -> None:
    """Every set and every quarantine names its source, and what the table marks as disputed is marked."""
    table = read_colour_file(TEXT)
    assert all(each.source for each in (*table.sets, *table.quarantines))
    disputed = {each.since.isoformat() for each in table.sets if each.disputed}
    disputed |= {each.since.isoformat() for each in table.sets if each.contact is not None and each.contact.disputed}
    assert disputed == {"2021-08-30", "2022-02-15"}


def test_possible_contact() -> None:
    """Off as shipped; where a file says `possible_from_risk`, from that risk on."""
    assert all(each.contact is None or each.contact.possible_from_risk is None for each in RULES.table.sets)
    own = read_colour_rules("own", TEXT.replace("[sets.contact]", "[sets.contact]\npossible_from_risk = 0.3"), "own")
    for risk, expected in ((0.3, "black"), (0.29, "green"), (None, "green")):
        facts = facts_of(*FULL, contact("2021-10-20", "possible", risk))
        assert colour_of(facts, at("2021-10-21"), own, ZONE).colour == expected
        assert colour_of(facts, at("2021-10-21"), RULES, ZONE).colour == "green"


def test_words() -> None:
    """An explanation names the source, the records, the ways out with their times, and what comes then."""
    case = lab("pcr", "positive", "2022-02-20 07:00", "2022-02-20 15:00")
    found = explain(facts_of(*FULL, case), at("2022-02-21"), RULES, ZONE)
    assert found.why == "a positive test"
    assert "15 February 2022" in found.source and not found.disputed
    assert found.then is not None and found.then.colour == "green"
    assert found.facts == [(case.record_id, "pcr positive, sample 2022-02-20 07:00, result 2022-02-20 15:00")]
    assert found.changes[0] == f"As a case ({case.record_id}) black ends on 2022-03-02 00:00 if nothing is told."
    assert (
        "a negative pcr sampled from 2022-02-25 00:00 on, and a negative pcr sampled from 2022-02-26"
        in found.changes[1]
    )
    held = explain(facts_of(*FULL, contact("2022-02-20")), at("2022-02-21"), RULES, ZONE)
    assert held.disputed and held.changes[-1] == "It ends at once if an officer dismisses the contact."
    adult = explain(facts_of(*HALF, ADULT), at("2022-08-01"), RULES, ZONE)
    assert adult.changes[0].startswith("It would be green with a booster, or with a complete course and recovery less")
    assert adult.changes[1] == "It would be yellow with 2 doses, or with a complete course."
    nobody = explain(facts_of(), at("2021-07-01"), RULES, ZONE)
    assert nobody.judgement.reason == "no_rules" and nobody.changes == []
    assert (
        explain(facts_of(arrival("2021-10-20")), at("2021-10-21"), RULES, ZONE)
        .facts[0][1]
        .startswith("arrived from SG")
    )


def test_command_status(tmp_path: Path) -> None:
    """`lacak status --facts` judges one person's records of a file, at a time; a wrong line is named."""
    file = tmp_path / "facts.ndjson"
    records = [*FULL, lab("pcr", "positive", "2021-10-02 15:00", "2021-10-02 16:00"), dose("2030-01-01")]
    file.write_bytes(b"\n".join(map(msgspec.json.encode, records)) + b"\n")
    run = CliRunner().invoke(
        cli, ["status", "p1:a", "--facts", str(file), "--at", "2021-10-03", "--explain"], env={"COLUMNS": "200"}
    )
    assert run.exit_code == 0
    assert "black: a positive test" in run.output
    assert "2021-10-16 00:00, then green if nothing is told" in run.output
    assert "indonesia@2021-08-30 black.case" in run.output
    other = CliRunner().invoke(cli, ["status", "p1:b", "--facts", str(file), "--at", "2021-10-03"])
    assert other.output.startswith("unknown: nothing is known")
    told = CliRunner().invoke(cli, ["status", "p1:a", "--facts", str(file), "--at", "2021-10-03", "--json"])
    assert f'"until_ms": {at("2021-10-16")}' in told.output
    file.write_bytes(msgspec.json.encode(records[0]) + b'\n{"person": 7}\n')
    wrong = CliRunner().invoke(cli, ["status", "p1:a", "--facts", str(file)])
    assert wrong.exit_code == 1
    assert f"{file}:2: this is no health record" in wrong.output


def test_command_colours(tmp_path: Path) -> None:
    """`lacak colours` lists the sets, shows a file, and checks others with their lines."""
    listed = CliRunner().invoke(cli, ["colours", "list"], env={"COLUMNS": "80"})
    assert "2021-08-30  black, green, yellow, red  yes" in listed.output
    assert TEXT.rstrip() in CliRunner().invoke(cli, ["colours", "show", "indonesia"]).output
    assert "there are indonesia" in CliRunner().invoke(cli, ["colours", "show", "atlantis"]).output
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(TEXT, "utf-8")
    bad.write_text(TEXT.replace("until_day = 14", "until_day = 900", 1), "utf-8")
    checked = CliRunner().invoke(cli, ["colours", "check", str(good), str(bad)])
    assert checked.exit_code == 1
    assert f"{good} can be used" in checked.output
    line = next(n for n, each in enumerate(bad.read_text("utf-8").splitlines(), 1) if "900" in each)
    assert f"{bad}:{line}: " in checked.output


def test_one_day_is_a_day() -> None:
    """The table of midnights and the calendar agree at its edges."""
    from contacts.days import days_of

    days = days_of(ZONE)
    for edge in ("2020-01-01", "2040-01-01"):
        for near in range(-3, 4):
            moment = at(edge, near)
            assert days.begin(moment) == moment
            assert days.begin(moment + DAY - 1) == moment
            assert days.begin(moment, 5) == moment + 5 * DAY
    assert days.months_later(at("2021-11-30 12:00"), 3) == at("2022-02-28")
    assert days.months_later(at("2021-10-31"), 3) == at("2022-01-31")
