create schema if not exists lacak;

create table lacak.cluster (
    only_one boolean primary key default true check (only_one),
    cluster_id text not null
);
comment on table lacak.cluster is 'The Kafka cluster whose positions stand in this database.';

create table lacak.applied_positions (
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    log_time_ms bigint,
    primary key (topic, partition)
);
comment on table lacak.applied_positions is 'Up to where the recorder has written each topic, in the same transaction as the rows.';
comment on column lacak.applied_positions.log_time_ms is 'For windows: every window that ended by then is here.';

create table lacak.venues (
    venue text not null,
    valid_from timestamptz not null,
    name text not null,
    category text not null,
    region text not null,
    capacity integer,
    within text,
    primary key (venue, valid_from)
);
comment on table lacak.venues is 'The registry: what holds of a place from a date on.';

create table lacak.occupancy (
    venue text primary key,
    inside integer not null,
    allowed integer,
    assumed_end_share double precision not null,
    log_time timestamptz not null,
    position_offset bigint not null,
    position_step bigint not null
);
comment on table lacak.occupancy is 'How many are inside each venue, as last told.';
comment on column lacak.occupancy.assumed_end_share is 'Share of those inside whose end is only assumed, 0 to 1.';

create table lacak.all_windows (
    venue text not null,
    window_start timestamptz not null,
    entries integer not null,
    exits integer not null,
    assumed_exits integer not null,
    peak integer not null,
    presence_ms bigint not null,
    mean double precision not null,
    position_offset bigint not null,
    position_step bigint not null,
    primary key (venue, window_start)
);
comment on table lacak.all_windows is 'Windows with those withdrawn (all zero), which must stay so that an older row cannot bring them back.';

create view lacak.windows as
    select venue, window_start, entries, exits, assumed_exits, peak, presence_ms, mean
    from lacak.all_windows
    where entries <> 0 or exits <> 0 or peak <> 0 or presence_ms <> 0;
comment on view lacak.windows is 'Entries, exits, peak and mean of each venue and window, as they stand.';

create table lacak.cases (
    case_id text primary key,
    person text not null,
    specimen timestamptz not null,
    onset timestamptz,
    isolated timestamptz,
    withdrawn boolean not null,
    revision integer not null,
    position_offset bigint not null,
    position_step bigint not null
);
create index cases_of_person on lacak.cases (person);
comment on table lacak.cases is 'Episodes of persons with positive tests, as last revised.';

create table lacak.traces (
    trace_id text primary key,
    case_id text not null,
    person text not null,
    direction text not null,
    profile text not null,
    state text not null,
    revision integer not null,
    officer text not null,
    purpose text not null,
    requested timestamptz not null,
    window_start timestamptz not null,
    window_end timestamptz not null,
    as_of timestamptz,
    contacts integer not null,
    report jsonb not null,
    recorded timestamptz not null default clock_timestamp(),
    position_offset bigint not null,
    position_step bigint not null
);
create index traces_of_person on lacak.traces (person);
create index traces_by_time on lacak.traces (requested desc);
comment on table lacak.traces is 'Each trace''s report as it is now; `report` is the whole message of the topic traces.';

create table lacak.trace_contacts (
    trace_id text not null references lacak.traces on delete cascade,
    person text not null,
    minutes double precision not null,
    rule text not null,
    grade text not null,
    decided_by text,
    shared_stays integer not null,
    primary key (trace_id, person)
);
create index trace_contacts_of_person on lacak.trace_contacts (person);
comment on table lacak.trace_contacts is 'The contacts of each trace, as a list to work on; the evidence is in the report.';

create table lacak.audit (
    entry bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    officer text not null,
    purpose text not null,
    action text not null,
    person text,
    trace_id text
);
comment on table lacak.audit is 'Who looked at or decided about whom, and why. Rows are only ever added.';
create function lacak.refuse_change() returns trigger language plpgsql as
    $$ begin raise exception 'the audit is only ever added to'; end $$;
create trigger audit_is_append_only before update or delete or truncate on lacak.audit
    for each statement execute function lacak.refuse_change();
