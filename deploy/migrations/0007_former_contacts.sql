-- Whom earlier reports of a trace name and its present one does not: what an erasure looks up, in place of a list of
-- names beside each earlier report, whose index took longer to keep than the report to write.
create table lacak.former_contacts (
    trace_id text not null references lacak.traces on delete cascade,
    person text not null,
    primary key (trace_id, person)
);
create index former_contacts_of_person on lacak.former_contacts (person);
comment on table lacak.former_contacts is 'Who was a contact in earlier reports of a trace and is none now: so an erasure finds them.';
insert into lacak.former_contacts
    select h.trace_id, named.person
    from lacak.trace_history h join lacak.traces t using (trace_id) cross join lateral unnest(h.people) as named(person)
    where named.person <> t.person and not exists (
        select from lacak.trace_contacts c where c.trace_id = h.trace_id and c.person = named.person
    )
    on conflict do nothing;
alter table lacak.trace_history drop column people;
