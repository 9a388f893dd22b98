create table lacak.statuses (
    person text primary key,
    colour text not null,
    holds_since timestamptz not null,
    holds_until timestamptz,
    rule text not null,
    reason text not null,
    log_time timestamptz not null,
    doses integer not null,
    is_full boolean not null,
    booster boolean not null,
    age_band text,
    negatives jsonb not null,
    position_offset bigint not null,
    position_step bigint not null
);
comment on table lacak.statuses is 'What doors were told last of each person.';
comment on column lacak.statuses.holds_until is 'When it may change although nothing is told; null: never.';
comment on column lacak.statuses.rule is 'The rules, their date and the row: for officers and the person, never for a guard.';
comment on column lacak.statuses.negatives is 'The newest negative test of each kind: test, specimen_ms.';

create table lacak.health_records (
    person text not null,
    record_id text not null,
    fact text not null,
    told timestamptz not null,
    withdrawn boolean not null,
    record jsonb not null,
    primary key (person, record_id)
);
comment on table lacak.health_records is 'What the colours are made of, the latest told of each record; `record` is the whole message.';
comment on column lacak.health_records.fact is 'test, vaccination, recovery, person, contact or travel.';

create table lacak.declarations (
    person text not null,
    declaration_id text not null,
    starts timestamptz not null,
    ends timestamptz not null,
    told timestamptz not null,
    venue text not null,
    place text not null,
    country text not null,
    reporter text not null,
    purpose text not null,
    withdrawn boolean not null,
    primary key (person, declaration_id)
);
comment on table lacak.declarations is 'Where people say that they were, the latest told of each declaration.';
comment on column lacak.declarations.venue is 'A registered venue, of which a visit was made; empty: elsewhere, see place and country.';

create table lacak.door_events (
    event_id text primary key,
    venue text not null,
    gateway text not null,
    device text not null,
    deed text not null,
    at timestamptz not null,
    person text not null,
    detail text not null
);
create index door_events_of_venue on lacak.door_events (venue, at);
create index door_events_of_person on lacak.door_events (person, at) where person <> '';
comment on table lacak.door_events is 'What staff did at doors and with identities, for the audit.';
comment on column lacak.door_events.person is 'Whom it was about, if anybody; empty also where an erasure took it away.';
