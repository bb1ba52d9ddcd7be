"""By what a contact is known, and which contact a request is about: the rules of contract 1.1."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.identity import (
    MAX_SHARERS,
    Conflict,
    Holder,
    Identifier,
    Kind,
    Match,
    decide,
    email_key,
    external_id_key,
    facebook_key,
    given_name,
    identity_key,
    is_email,
    is_phone,
    phone_key,
    phone_only_key,
    twitter_key,
)

ANN, BEN, CID = (Holder(number, bytes([number]) * 16, True) for number in (1, 2, 3))
FIELDS = {kind: f"contact.{kind}" for kind in Kind} | {Kind.IDENTITY: "contact.identities.0"}


def item(kind: Kind, value: str = "x") -> Identifier:
    return Identifier(kind, f"{'number' if kind.is_number else kind}:{value}", value, FIELDS[kind])


def test_the_precedence_is_the_contracts() -> None:
    assert [str(kind) for kind in Kind] == [
        *("id", "unique_external_id", "identities", "email", "facebook_id", "twitter_id", "phone", "mobile")
    ]


@pytest.mark.parametrize(("stronger", "weaker"), list(combinations(Kind, 2)))
def test_the_first_that_matches_wins_and_the_other_is_a_conflict(stronger: Kind, weaker: Kind) -> None:
    first, second = item(stronger, "1"), item(weaker, "2")
    owners = {each.key: holder for each, holder in ((first, ANN), (second, BEN)) if not each.kind.is_number}
    numbers = {each.key: [holder] for each, holder in ((first, ANN), (second, BEN)) if each.kind.is_number}
    match = decide([first, second], owners, numbers)
    assert match == Match(ANN, stronger, (), (Conflict(second.field, BEN.contact_id),))


@pytest.mark.parametrize(("unknown", "known"), list(combinations(Kind, 2)))
def test_a_stronger_one_that_nobody_has_is_added(unknown: Kind, known: Kind) -> None:
    first, second = item(unknown, "1"), item(known, "2")
    owners = {} if known.is_number else {second.key: ANN}
    numbers = {second.key: [ANN]} if known.is_number else {}
    assert decide([first, second], owners, numbers) == Match(ANN, known, (first,), ())


@pytest.mark.parametrize("kind", list(Kind))
def test_nobody_has_it(kind: Kind) -> None:
    assert decide([item(kind)], {}, {}) == Match(None, "created", (item(kind),), ())


def test_what_the_contact_has_is_neither_added_nor_a_conflict() -> None:
    sent = [item(Kind.EMAIL), item(Kind.TWITTER), item(Kind.PHONE)]
    owners = {sent[0].key: ANN, sent[1].key: ANN}
    assert decide(sent, owners, {sent[2].key: [BEN, ANN]}) == Match(ANN, Kind.EMAIL, (), ())


def test_every_conflict_is_told() -> None:
    sent = [
        item(Kind.EXTERNAL_ID),
        item(Kind.EMAIL),
        item(Kind.TWITTER),
        item(Kind.PHONE),
        item(Kind.MOBILE, "m"),
    ]
    owners = {sent[0].key: ANN, sent[1].key: BEN, sent[2].key: CID}
    match = decide(sent, owners, {sent[3].key: [BEN, CID]})
    assert match.holder == ANN
    assert match.additions == (sent[4],)
    assert match.conflicts == (
        Conflict("contact.email", 2),
        Conflict("contact.twitter_id", 3),
        Conflict("contact.phone", 2),
    )


@pytest.mark.parametrize("kind", [Kind.PHONE, Kind.MOBILE])
def test_a_number_that_one_contact_holds(kind: Kind) -> None:
    assert decide([item(kind)], {}, {item(kind).key: [ANN]}) == Match(ANN, kind, (), ())


@pytest.mark.parametrize("kind", [Kind.PHONE, Kind.MOBILE])
def test_a_number_that_several_hold_goes_to_its_phone_only_contact(kind: Kind) -> None:
    sent, numbers = item(kind), {item(kind).key: [ANN, BEN]}
    first = decide([sent], {}, numbers)
    assert (first.holder, first.matched_by, first.shared) == (None, "created", sent.key)
    again = decide([sent], {phone_only_key(sent.key): CID}, numbers)
    assert (again.holder, again.matched_by, again.shared) == (CID, kind, sent.key)


def test_a_shared_number_does_not_take_somebody_who_is_known_by_more() -> None:
    sent = [item(Kind.EMAIL), item(Kind.PHONE)]
    numbers = {sent[1].key: [ANN, BEN]}
    assert decide(sent, {sent[0].key: ANN}, numbers) == Match(ANN, Kind.EMAIL, (), ())
    assert decide(sent, {}, numbers).holder is None
    assert decide(sent, {}, numbers).shared is None


KINDS = st.lists(st.sampled_from(list(Kind)), min_size=1, max_size=8).map(
    lambda kinds: sorted(kinds, key=list(Kind).index)
)


@given(st.data(), KINDS)
def test_decisions_keep_their_promises(data: st.DataObject, kinds: list[Kind]) -> None:
    sent = [item(kind, data.draw(st.sampled_from("ab"))) for kind in kinds]
    people = st.sampled_from([ANN, BEN, CID])
    owners = data.draw(st.dictionaries(st.sampled_from([each.key for each in sent]), people))
    numbers = data.draw(
        st.dictionaries(
            st.sampled_from([each.key for each in sent]), st.lists(people, unique=True, min_size=1)
        )
    )
    match = decide(sent, owners, numbers)

    def holders(each: Identifier) -> Sequence[Holder]:
        if each.kind.is_number:
            return numbers.get(each.key, [])
        return [owners[each.key]] if each.key in owners else []

    for added in match.additions:
        # Never taken from anybody; a number is shared by whoever is new.
        assert not holders(added) or (added.kind.is_number and match.holder is None)
    for conflict in match.conflicts:
        assert match.holder is not None
        assert conflict.contact_id != match.holder.contact_id
    if match.shared is None and match.holder is not None:
        (found, *_) = (each for each in sent if len(holders(each)) == 1)
        assert (match.holder, match.matched_by) == (holders(found)[0], found.kind)
        told = {each.field for each in match.additions} | {each.field for each in match.conflicts}
        assert told == {each.field for each in sent if match.holder not in holders(each)}


# How identifiers are compared.


@given(st.sampled_from(["Rachel@Example.com", "rachel@example.com", " RACHEL@EXAMPLE.COM "]))
def test_emails_match_without_case(email: str) -> None:
    assert email_key(email) == email_key("rachel@example.com")


def test_emails_match_however_an_accent_is_written() -> None:
    assert email_key("Jos\u00e9@example.com") == email_key("jose\u0301@EXAMPLE.com")
    assert email_key("jose@example.com") != email_key("jos\u00e9@example.com")


def test_other_ids_match_exactly_and_kinds_do_not_mix() -> None:
    keys = [key("A") for key in (external_id_key, facebook_key, twitter_key, email_key, phone_only_key)]
    assert len(set(keys)) == len(keys)
    for key in (external_id_key, facebook_key, twitter_key):
        assert len({key("A"), key("a"), key(" A"), key("Á")}) == 4


@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_identities_are_unambiguous(source: str, value: str, other_source: str, other_value: str) -> None:
    same = (source, value) == (other_source, other_value)
    assert (identity_key(source, value) == identity_key(other_source, other_value)) == same


def test_identities_with_separators() -> None:
    assert identity_key("a:1", "2") != identity_key("a", "1:2")
    assert identity_key("1:a", "b") != identity_key("1", "a:b")


@pytest.mark.parametrize(
    "written",
    [
        "+447700900123",
        "+44 7700 900123",
        "+44 (0)7700 900123",
        "+4407700900123",
        "+44-7700-900-123",
        "+44.7700.900.123",
        "tel:+447700900123",
        "＋４４ ７７００ ９００１２３",
        "+٤٤٧٧٠٠٩٠٠١٢٣",
    ],
)
def test_a_number_has_one_key_however_it_is_written(written: str) -> None:
    assert phone_key(written) == "+447700900123"


def test_numbers_without_a_country() -> None:
    assert phone_key("07700 900123", "GB") == "+447700900123"
    assert phone_key("07700 900123") == phone_key("(07700) 900-123") == "07700900123"
    assert phone_key("٠٧٧٠٠ ٩٠٠١٢٣") == "07700900123"
    assert phone_key("+44 7700 900123", "US") == "+447700900123"


def test_an_extension_is_another_number() -> None:
    assert (
        phone_key("+44 20 7946 0000 ext. 12") == phone_key("+442079460000x12") != phone_key("+442079460000")
    )


@pytest.mark.parametrize("written", ["", " ", "none", "n/a", "+", "++", "-", "☎", "ext."])
def test_a_number_needs_a_digit(written: str) -> None:
    assert not is_phone(written)


@given(st.text(max_size=30) | st.text("0123456789+-() ext", max_size=30), st.sampled_from([None, "GB", "US"]))
def test_what_may_be_sent_has_a_key_in_every_region(text: str, region: str | None) -> None:
    if is_phone(text):
        assert phone_key(text, region)
        assert phone_key(phone_key(text)) == phone_key(text)


@pytest.mark.parametrize(
    "text",
    [
        "a@b",
        "rachel@example.com",
        " rachel@example.com ",
        "o'brien+tag@mail.example.co.uk",
        "用户@例子.公司",
        '"quoted@local"@example.com',
        r'"with\"quote@"@example.com',
        'first."second@third".fourth@example.com',
        "!#$%&'*+/=?^_`{|}~-@example.com",
        "a@[192.168.0.1]",
    ],
)
def test_emails(text: str) -> None:
    assert is_email(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "a@", "@b", "rachel", "rachel example.com", "a b@c", "a@b c", "a\n@b", "a@b\x01"),
        *("a\u00a0b@c", "a@@b.example", "a@b@c.example", "@a@b.example"),
        *('"a"@"b@c.example', 'a"b@c.example', '"a@b.example'),
        '""' * 120 + "@",  # and that at once
    ],
)
def test_no_emails(text: str) -> None:
    assert not is_email(text)


def test_names_of_new_contacts() -> None:
    email, twitter = item(Kind.EMAIL, "rachel.green@example.com"), item(Kind.TWITTER, "@rachel")
    assert given_name("Rachel", [email]) == ("Rachel", True)
    assert given_name(None, [twitter, email]) == ("rachel.green", False)
    assert given_name("", [twitter]) == ("@rachel", False)
    assert given_name(None, [item(Kind.PHONE, "+44 7700 900123")]) == ("+44 7700 900123", False)


def test_a_switchboard_number_makes_no_conflict() -> None:
    """Only the first holders are looked at, so nobody can say that the contact is not among the others."""
    holders = [Holder(number, bytes([number]), True) for number in range(1, MAX_SHARERS + 1)]
    known = Holder(77, b"known", True)
    sent = [
        Identifier(Kind.EMAIL, "email:a@example.com", "a@example.com", "contact.email"),
        Identifier(Kind.PHONE, "+4420794600", "+4420794600", "contact.phone"),
    ]
    match = decide(sent, {"email:a@example.com": known}, {"+4420794600": holders})
    assert match.holder == known
    assert match.conflicts == ()
    assert decide(sent, {"email:a@example.com": known}, {"+4420794600": holders[:2]}).conflicts


def test_vanity_numbers_stay_apart() -> None:
    assert phone_key("1-800-FLOWERS") != phone_key("1-800-CONTACTS")
    assert phone_key("1-800-FLOWERS") == phone_key("1 (800) flowers")
