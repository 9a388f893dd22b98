-- A report is read whole, as text. As jsonb a report of 10,000 contacts took 0.15 s to write, two thirds of it to take
-- it apart; and a third of what its list of contacts took went into looking up the trace's row for each of them.
alter table lacak.traces alter column report type json using report::json;
alter table lacak.trace_history alter column report type json using report::json;
do $$ begin
    alter table lacak.traces alter column report set compression lz4;
    alter table lacak.trace_history alter column report set compression lz4;
exception when feature_not_supported then
    raise notice 'This PostgreSQL is built without lz4: reports are packed more slowly.';
end $$;
alter table lacak.trace_contacts drop constraint trace_contacts_trace_id_fkey;
create function lacak.forget_contacts() returns trigger language plpgsql as
    $$ begin delete from lacak.trace_contacts where trace_id = old.trace_id; return null; end $$;
create trigger contacts_go_with_their_trace after delete on lacak.traces
    for each row execute function lacak.forget_contacts();
