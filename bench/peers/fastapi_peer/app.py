"""What a team writes in an afternoon with FastAPI, SQLAlchemy and SQLite, as FastAPI's tutorial shows it.

Sync endpoint in the thread pool, one session for each request, pydantic models in and out, the contact looked up by its
indexed email or created, the activity's context in a JSON column, a commit for each request. The database is set up as
Backstory's is: WAL and synchronous=FULL, so that an answer of 200 is durable.

`PEER_DATABASE` is the file, `PEER_KEY` the API key, `PEER_POOL` the number of database connections.
"""

import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel, EmailStr, Field
from sqlalchemy import JSON, DateTime, ForeignKey, Index, String, create_engine, event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

KEY = os.environ["PEER_KEY"].encode()
engine = create_engine(
    f"sqlite:///{os.environ['PEER_DATABASE']}",
    connect_args={"check_same_thread": False, "timeout": 30},
    pool_size=int(os.environ.get("PEER_POOL", "5")),
    max_overflow=0,
    pool_timeout=60,
)
# The tutorial reads the row back after the commit. That costs a query, and with a full pool it can deadlock against the
# thread pool; keeping the values of the commit spares both.
SessionLocal = sessionmaker(autocommit=False, autoflush=False, expire_on_commit=False, bind=engine)


@event.listens_for(engine, "connect")
def durable(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


class Base(DeclarativeBase):
    pass


class Contact(Base):
    __tablename__ = "contacts"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(255), unique=True, index=True)
    name: Mapped[str | None] = mapped_column(String(255))


class Activity(Base):
    __tablename__ = "activities"
    __table_args__ = (Index("ix_activities_timeline", "contact_id", "timestamp"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id"))
    external_id: Mapped[str | None] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255))
    timestamp: Mapped[datetime] = mapped_column(DateTime)
    description: Mapped[str | None] = mapped_column(String(4096))
    link: Mapped[str | None] = mapped_column(String(2048))
    actor: Mapped[dict[str, Any]] = mapped_column(JSON)
    source: Mapped[dict[str, Any]] = mapped_column(JSON)
    object: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    context: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class ActorIn(BaseModel):
    type: str
    id: str | None = None
    name: str | None = None


class SourceIn(BaseModel):
    name: str
    id: str | None = None


class ObjectIn(BaseModel):
    type: str | None = None
    id: str | None = None
    name: str | None = None
    link: str | None = None


class ActivityIn(BaseModel):
    name: str = Field(min_length=1, max_length=255)
    timestamp: datetime | None = None
    description: str | None = Field(default=None, max_length=4096)
    link: str | None = Field(default=None, max_length=2048)
    actor: ActorIn
    source: SourceIn
    object: ObjectIn | None = None
    context: dict[str, Any] | None = None
    id: str | None = Field(default=None, max_length=255)


class ContactIn(BaseModel):
    email: EmailStr
    name: str | None = None


class PublishIn(BaseModel):
    activity: ActivityIn
    contact: ContactIn


class PublishOut(BaseModel):
    id: int
    external_id: str | None
    contact_id: int


Base.metadata.create_all(bind=engine)
app = FastAPI()
security = HTTPBasic()


def get_db() -> Iterator[Session]:
    db = SessionLocal()
    try:
        yield db
    finally:
        db.close()


def check_key(credentials: Annotated[HTTPBasicCredentials, Depends(security)]) -> None:
    if not secrets.compare_digest(credentials.username.encode(), KEY):
        raise HTTPException(status_code=status.HTTP_401_UNAUTHORIZED, detail="You have to be logged in.")


def get_or_create_contact(db: Session, contact: ContactIn) -> int:
    email = contact.email.lower()
    found = db.scalar(select(Contact.id).where(Contact.email == email))
    if found is not None:
        return found
    try:
        with db.begin_nested():
            created = Contact(email=email, name=contact.name)
            db.add(created)
            db.flush()
            return created.id
    except IntegrityError:  # another request was first
        return db.scalars(select(Contact.id).where(Contact.email == email)).one()


@app.post("/api/v2/contact-activities", response_model=PublishOut, dependencies=[Depends(check_key)])
def publish(body: PublishIn, db: Annotated[Session, Depends(get_db)]) -> Activity:
    fields = body.activity.model_dump(exclude={"id", "timestamp"})
    activity = Activity(
        **fields,
        contact_id=get_or_create_contact(db, body.contact),
        external_id=body.activity.id,
        timestamp=(body.activity.timestamp or datetime.now(UTC)).astimezone(UTC),
    )
    db.add(activity)
    db.commit()
    return activity


@app.get("/readyz")
def ready() -> dict[str, str]:
    return {"status": "ready"}
