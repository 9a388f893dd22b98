create table lacak.clusters (
    cluster_id text primary key,
    venue text not null,
    category text not null,
    starts timestamptz not null,
    ends timestamptz not null,
    cases integer not null,
    case_ids text[] not null,
    slot_cases integer[] not null,
    risk double precision not null,
    rule text not null,
    withdrawn boolean not null default false,
    raised timestamptz not null default clock_timestamp(),
    changed timestamptz not null default clock_timestamp(),
    position_offset bigint not null,
    position_step bigint not null
);
create index clusters_of_venue on lacak.clusters (venue, starts);
create index clusters_of_case on lacak.clusters using gin (case_ids);
create index clusters_by_time on lacak.clusters (starts desc);
comment on table lacak.clusters is 'Where and when several cases were together; those withdrawn stay, marked so.';
comment on column lacak.clusters.case_ids is 'The cases, none of a withdrawn cluster: who looks at them says so in the audit.';
comment on column lacak.clusters.slot_cases is 'How many cases each slot has, from the first to the last.';
comment on column lacak.clusters.rule is 'What raised it: rules and version, category, visits counted.';
comment on column lacak.clusters.raised is 'When it was first written here; changed: when last.';

create table lacak.told_clusters (
    venue text primary key,
    position_offset bigint not null,
    position_step bigint not null
);
comment on table lacak.told_clusters is 'The newest message written of each venue''s clusters: an older one is ignored.';
