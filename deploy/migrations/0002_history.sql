create table lacak.trace_history (
    trace_id text not null references lacak.traces on delete cascade,
    position_offset bigint not null,
    position_step bigint not null,
    made timestamptz not null,
    as_of timestamptz,
    state text not null,
    contacts integer not null,
    people text[] not null,
    report jsonb not null,
    recorded timestamptz not null default clock_timestamp(),
    primary key (trace_id, position_offset, position_step)
);
create index trace_history_by_time on lacak.trace_history (trace_id, made);
create index trace_history_of_people on lacak.trace_history using gin (people);
comment on table lacak.trace_history is 'Every report of each trace that said something else than the one before: what was known when.';
comment on column lacak.trace_history.people is 'The case and the contacts, so that an erasure finds them.';
insert into lacak.trace_history (trace_id, position_offset, position_step, made, as_of, state, contacts, people, report, recorded)
    select trace_id, position_offset, position_step, recorded, as_of, state, contacts,
        array(select person union select c.person from lacak.trace_contacts c where c.trace_id = t.trace_id),
        report, recorded
    from lacak.traces t;

create table lacak.erasures (
    person text primary key,
    before timestamptz not null
);
comment on table lacak.erasures is 'Whose stays from before a time must not be written any more, however late a report of them comes.';
