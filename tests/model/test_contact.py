"""A contact as it is answered: the key set of the contract."""

from __future__ import annotations

from msgspec.structs import replace

from backstory.model.contact import Contact

KEYS = (
    "id active name first_name last_name email phone mobile twitter_id facebook_id unique_external_id address"
    " description job_title language time_zone company_id view_all_tickets other_companies other_emails"
    " social_handler contact_type tags custom_fields avatar csat_rating preferred_source created_at updated_at"
).split()
CONTACT = Contact(
    id=7,
    key=b"k" * 16,
    name="Rachel Ann Green",
    named=True,
    email="rachel@example.com",
    phone=None,
    mobile=None,
    twitter_id=None,
    facebook_id=None,
    unique_external_id=None,
    address=None,
    description=None,
    job_title=None,
    language="en",
    time_zone=None,
    deleted=False,
    created_at=1_715_934_615_999_999,
    updated_at=1_715_934_616_000_001,
    other_emails=("r@example.org",),
)


def test_the_answer_has_exactly_the_documented_keys() -> None:
    answer = CONTACT.answer()
    assert list(answer) == KEYS
    assert (answer["first_name"], answer["last_name"]) == ("Rachel", "Ann Green")
    assert (answer["created_at"], answer["updated_at"]) == ("2024-05-17T08:30:15Z", "2024-05-17T08:30:16Z")
    assert answer["other_emails"] == ["r@example.org"]


def test_a_deleted_one_says_so() -> None:
    assert list(replace(CONTACT, deleted=True).answer()) == [*KEYS, "deleted"]


def test_a_single_name_has_no_last_name() -> None:
    answer = replace(CONTACT, name="Rachel").answer()
    assert (answer["first_name"], answer["last_name"]) == ("Rachel", None)
