create view lacak.cluster_counts as
    select venue, category, starts, ends, cases, risk, rule from lacak.clusters where not withdrawn;
comment on view lacak.cluster_counts is 'Clusters that stand, without the cases in them: for dashboards.';

create view lacak.trace_counts as
    select date_trunc('day', requested) as day, direction, state, count(*) as traces, sum(contacts) as contacts
    from lacak.traces group by 1, 2, 3;
comment on view lacak.trace_counts is 'How many traces of each day, and contacts in them: for dashboards.';

create view lacak.status_counts as
    select colour, count(*) as persons from lacak.statuses group by 1;
comment on view lacak.status_counts is 'How many persons have each colour: for dashboards.';
