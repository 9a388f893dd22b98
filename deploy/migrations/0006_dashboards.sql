-- What dashboards may read: views without people, and a role that can see these and nothing else.
create schema dashboards;
comment on schema dashboards is 'What Grafana reads: counts of places, never a person, a case or a device.';

create view dashboards.venues as
    select distinct on (venue) venue, coalesce(nullif(name, ''), venue) as name, category, region, capacity, within
    from lacak.venues where valid_from <= now() order by venue, valid_from desc;
comment on view dashboards.venues is 'The registry as it is in force now; a place without a name goes by its id.';

create view dashboards.occupancy as
    select o.venue, coalesce(v.name, o.venue) as name, coalesce(v.category, 'other') as category,
        coalesce(v.region, '') as region, v.within, o.inside, o.allowed, v.capacity,
        o.inside::double precision / nullif(o.allowed, 0) as share, o.assumed_end_share, o.log_time
    from lacak.occupancy o left join dashboards.venues v using (venue);
comment on view dashboards.occupancy is 'How many are inside each place, as last told; `share` of those allowed, 1 is full.';

create view dashboards.windows as
    select w.venue, coalesce(v.name, w.venue) as name, coalesce(v.category, 'other') as category,
        coalesce(v.region, '') as region, w.window_start, w.entries, w.exits, w.assumed_exits, w.peak, w.mean
    from lacak.windows w left join dashboards.venues v using (venue);
comment on view dashboards.windows is 'Entries, exits, peak and mean of each place and window.';

create view dashboards.clusters as
    select c.venue, coalesce(v.name, c.venue) as name, c.category, coalesce(v.region, '') as region,
        c.starts, c.ends, c.cases, c.risk, c.rule, c.raised, c.changed
    from lacak.clusters c left join dashboards.venues v using (venue) where not c.withdrawn;
comment on view dashboards.clusters is 'Where and when several cases were together: how many, never which.';

create view dashboards.deeds as
    select venue, date_trunc('hour', at) as hour, deed, count(*) as times
    from lacak.door_events group by venue, date_trunc('hour', at), deed;
comment on view dashboards.deeds is 'How often staff did what at each door, by the hour.';

do $$
begin
    if not exists (select from pg_roles where rolname = 'lacak_dashboards') then
        create role lacak_dashboards nologin;
        comment on role lacak_dashboards is 'Reads the schema dashboards. Grafana''s own user is made a member of it.';
    end if;
exception
    when duplicate_object or unique_violation then null; -- another database of this server was a moment quicker
    when insufficient_privilege then
        raise notice 'The role lacak_dashboards cannot be made by this user: docs/dashboards.md has the statements.';
end $$;
do $$
begin
    if exists (select from pg_roles where rolname = 'lacak_dashboards') then
        grant usage on schema dashboards to lacak_dashboards;
        grant select on all tables in schema dashboards to lacak_dashboards;
    end if;
end $$;
