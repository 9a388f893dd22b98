"""Erasures applied to what is told of people: what a report, or what is remembered of a case, is without somebody."""

from __future__ import annotations

import msgspec

from contacts.cases import Episode
from contacts.matching import shared_minutes
from contacts.tracing import Dossier
from schemas.messages import Contact, SharedStay, Trace


def without(trace: Trace, person: str, before_ms: int) -> Trace:
    """The report without the stays of a person that began before a time, and without contacts of whom none is left.

    Who was reached by way of somebody who is gone goes too. A stay that began before and went on after it goes whole:
    what counts of it, and other ways, are found again when the trace is asked again, if it still stands.
    """
    contacts = [_without(trace, contact, person, before_ms) for contact in trace.contacts]
    gone = {contact.person for contact in contacts if not contact.evidence}
    kept = (contact for contact in contacts if contact.evidence and gone.isdisjoint(contact.exposed_by))
    return msgspec.structs.replace(trace, contacts=tuple(kept))


def _without(trace: Trace, contact: Contact, person: str, before_ms: int) -> Contact:
    exposer = contact.exposed_by[-1] if contact.exposed_by else trace.person

    def stays(stay: SharedStay) -> bool:
        gone = (contact.person == person and stay.contact_stay.start_ms < before_ms) or (
            exposer == person and stay.case_stay.start_ms < before_ms
        )
        return not gone

    evidence = tuple(filter(stays, contact.evidence))
    if len(evidence) == len(contact.evidence):
        return contact
    return msgspec.structs.replace(contact, evidence=evidence, minutes=shared_minutes(evidence))


def forgotten(dossier: Dossier, person: str, before_ms: int) -> Dossier:
    """What is remembered of a case without what an erasure takes away.

    Of anybody's case, decisions and interviews about the person; of the person's own, also the results with a specimen
    from before, cases that have no other, and the traces of those cases or of dates from before.
    """
    own = dossier.person == person
    dossier = msgspec.structs.replace(
        dossier,
        decisions={
            name: decision
            for name, decision in dossier.decisions.items()
            if not (own or name == person) or decision.decided_at_ms >= before_ms
        },
        interviews=tuple(
            each for each in dossier.interviews if not (own or each.contact == person) or each.start_ms >= before_ms
        ),
    )
    if not own:
        return dossier
    episodes = tuple(kept for each in dossier.episodes if (kept := _kept(each, before_ms)) is not None)
    cases = {episode.case_id for episode in episodes}
    jobs = {
        name: job
        for name, job in dossier.jobs.items()
        if job.case_id in cases or (not job.case_id and max(job.onset_ms or 0, job.specimen_ms or 0) >= before_ms)
    }
    return msgspec.structs.replace(dossier, episodes=episodes, jobs=jobs)


def _kept(episode: Episode, before_ms: int) -> Episode | None:
    """The episode with its results from then on; None when there is none."""
    positives = tuple(each for each in episode.positives if each.specimen_ms >= before_ms)
    if len(positives) == len(episode.positives) and (positives or episode.first_specimen_ms >= before_ms):
        return episode
    if not positives:
        return None
    first_ms = max(episode.first_specimen_ms, positives[0].specimen_ms)
    return msgspec.structs.replace(
        episode, positives=positives, revision=episode.revision + 1, first_specimen_ms=first_ms
    )
