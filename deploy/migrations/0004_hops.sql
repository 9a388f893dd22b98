alter table lacak.trace_contacts
    add column hop integer not null default 1,
    add column risk double precision;
comment on column lacak.trace_contacts.hop is 'Steps from the case: 1 met the case, 2 met one of those.';
comment on column lacak.trace_contacts.risk is 'The risk of having been infected (backward: of having infected), 0 to 1; null where not worked out.';
